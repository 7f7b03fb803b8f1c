"""A farm to look at, and people who look: anonymous, viewer, operator, administrator."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.dispatch import Signal
from django.test import Client

from seederfarm.registry import roles, signals
from seederfarm.registry.services import next_plan

from ..seederfarm.registry.factories import make_user
from ..support.databases import FarmDatabase


@pytest.fixture(autouse=True)
def no_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("drives_changed", "workers_changed", "reverify_wanted"):
        monkeypatch.setattr(signals, name, Signal())


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    cache.clear()
    next_plan.clear()


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(database: FarmDatabase) -> Client:
    return logged_in(member("vera", roles.VIEWER))


@pytest.fixture
def operator(database: FarmDatabase) -> Client:
    return logged_in(member("otto", roles.OPERATOR))


@pytest.fixture
def administrator(database: FarmDatabase) -> Client:
    return logged_in(make_user("anna"))


def member(name: str, role: str, *, is_staff: bool = False) -> User:
    """An account with this role."""
    if not Group.objects.filter(name=role).exists():  # a flushed database has no groups
        roles.sync_roles()
    user = make_user(name, is_staff=is_staff, is_superuser=False)
    user.groups.add(Group.objects.get(name=role))
    return user
