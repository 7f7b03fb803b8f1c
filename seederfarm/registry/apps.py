"""The one Django app with models."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_delete


class RegistryConfig(AppConfig):
    """Django's application of the registry."""

    name = "seederfarm.registry"
    label = "registry"
    verbose_name = "Seeder Farm"

    def ready(self) -> None:
        from . import checks  # noqa: F401  registers the system checks
        from .models import Source
        from .roles import sync_roles
        from .services.sources import keep_listed

        pre_delete.connect(keep_listed, sender=Source, dispatch_uid="registry.sources")
        # After Django's own receiver, which makes the permissions
        post_migrate.connect(sync_roles, sender=self, dispatch_uid="registry.roles")
