"""The Django app of the pages."""

from __future__ import annotations

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """The pages, the API and the file gateway. They have no models of their own."""

    name = "dashboard"
    verbose_name = "Dashboard"
