"""The one Django app with models."""

from __future__ import annotations

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "seederfarm.registry"
    label = "registry"
    verbose_name = "Seeder Farm"

    def ready(self) -> None:
        from . import checks  # noqa: F401  registers the system checks
