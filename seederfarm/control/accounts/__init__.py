"""Accounts of the broker for workers and tokens, joining, budgets."""
