"""The operator's console: Django's admin with django-unfold. Acts through services."""

from __future__ import annotations

from . import access, drives, history, login, replicas, sources, workers

__all__ = ["access", "drives", "history", "login", "replicas", "sources", "workers"]
