"""Flower, Celery's monitor, behind the login of the pages."""
