"""Clients by scope. Users have the rights that an operator has."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from django.contrib.auth.models import Permission, User

from dashboard.api import access
from dashboard.api.limits import TokenLimit
from seederfarm.registry.services import issue_api_token

from ...seederfarm.registry.factories import make_user
from ...support.databases import FarmDatabase
from .client import ApiClient

RIGHTS = (
    "view_drive", "add_drive", "change_drive", "change_worker", "add_source", "change_source",
    "delete_source", "change_alert",
)  # fmt: skip


@pytest.fixture(autouse=True)
def fresh_limit(monkeypatch: pytest.MonkeyPatch) -> TokenLimit:
    limit = TokenLimit()
    monkeypatch.setattr(access, "limit", limit)
    return limit


def token_for(user: User, *scopes: str, name: str = "ci") -> str:
    return issue_api_token(user, name, scopes=scopes, actor="cli").secret


def make_operator(name: str = "otto", rights: Sequence[str] = RIGHTS) -> User:
    user = make_user(name, is_staff=False, is_superuser=False)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


@pytest.fixture
def otto(database: FarmDatabase) -> User:
    return make_operator()


@pytest.fixture
def reader(otto: User) -> ApiClient:
    return ApiClient(token_for(otto, "read"))


@pytest.fixture
def writer(otto: User) -> ApiClient:
    """With every scope."""
    return ApiClient(token_for(otto, "read", "drives", "workers", "sources", "alerts"))
