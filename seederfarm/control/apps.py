"""Connects the control plane to the registry's signals and gives it the planner, in every process that runs
Django."""

from __future__ import annotations

from django.apps import AppConfig


class ControlConfig(AppConfig):
    """Connects the registry's signals to tasks of control."""

    name = "seederfarm.control"
    label = "control"

    def ready(self) -> None:
        from ..registry.services.next_plan import provide
        from . import signal_handlers
        from .reconcile.preview import preview

        signal_handlers.connect()
        provide(preview)
