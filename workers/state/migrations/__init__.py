"""Alembic's environment (`env.py`) and the steps from one schema to the next (`versions`)."""
