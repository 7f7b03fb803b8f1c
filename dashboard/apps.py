"""The Django app of the pages."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in


class DashboardConfig(AppConfig):
    """The pages, the API and the file gateway. They have no models of their own."""

    name = "dashboard"
    verbose_name = "Dashboard"

    def ready(self) -> None:
        user_logged_in.connect(_begin, dispatch_uid="dashboard.seen")


def _begin(user: Any, **_signal: Any) -> None:
    from seederfarm.registry.services import seen

    seen.begin(user)
