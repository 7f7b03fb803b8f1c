"""Roles: groups that every farm has. Viewers look, operators act, admins manage users and tokens as well.

`migrate` makes them and gives them the permissions of this table, those of new models included. Other rights
belong into groups of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

VIEWER: Final = "viewer"
OPERATOR: Final = "operator"
ADMIN: Final = "admin"
VIEW: Final = "registry.view_drive"
"""The permission that pages need: an account that has it is a viewer at least."""
SEE_FLOWER: Final = "registry.change_worker"
"""The permission to look at Flower: operators and admins. It shows arguments of tasks."""
TOKENS: Final = ("apitoken", "enrolmenttoken")
"""Models that let others in."""
INTERNAL: Final = ("alertwatch", "controlpulse", "planstate", "assignmentstate", "challenge", "seendrives")
"""Models that no person looks at."""

_REGISTRY: Final = Q(content_type__app_label="registry") & ~Q(content_type__model__in=INTERNAL)
_OPEN: Final = _REGISTRY & ~Q(content_type__model__in=TOKENS)
_VIEWS: Final = Q(codename__startswith="view_")
_USERS: Final = Q(content_type__app_label="auth") & (Q(content_type__model="user") | Q(codename="view_group"))
ROLES: Final[Mapping[str, Q]] = {
    VIEWER: _OPEN & _VIEWS,
    OPERATOR: _OPEN,
    ADMIN: _REGISTRY | _USERS,
}
"""Name of each group, and its permissions."""


def sync_roles(**_signal: Any) -> None:
    """Make the groups, with these permissions and no others. After `migrate`."""
    for name, which in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.set(Permission.objects.filter(which))
