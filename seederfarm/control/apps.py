"""Connects the control plane to the registry's signals, in every process that runs Django."""

from __future__ import annotations

from django.apps import AppConfig


class ControlConfig(AppConfig):
    """Connects the registry's signals to tasks of control."""

    name = "seederfarm.control"
    label = "control"

    def ready(self) -> None:
        from . import signal_handlers

        signal_handlers.connect()
