"""The one Django app with models."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import pre_delete


class RegistryConfig(AppConfig):
    name = "seederfarm.registry"
    label = "registry"
    verbose_name = "Seeder Farm"

    def ready(self) -> None:
        from . import checks  # noqa: F401  registers the system checks
        from .models import Source
        from .services.sources import keep_listed

        pre_delete.connect(keep_listed, sender=Source, dispatch_uid="registry.sources")
