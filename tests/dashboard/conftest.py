"""A farm to look at, and people who look: anonymous, viewer, operator, administrator."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.dispatch import Signal
from django.test import Client

from seederfarm.registry import signals

from ..seederfarm.registry.factories import make_user
from ..support.databases import FarmDatabase


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("drives_changed", "workers_changed", "reverify_wanted"):
        monkeypatch.setattr(signals, name, Signal())


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(database: FarmDatabase) -> Client:
    return logged_in(make_user("vera", is_staff=False, is_superuser=False))


@pytest.fixture
def operator(database: FarmDatabase) -> Client:
    user = make_user("otto", is_staff=False, is_superuser=False)
    rights = ["add_drive", "change_drive", "change_alert"]
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return logged_in(user)


@pytest.fixture
def administrator(database: FarmDatabase) -> Client:
    return logged_in(make_user("anna"))
