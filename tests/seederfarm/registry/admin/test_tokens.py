"""Tokens in the admin: shown once, and only where there is something that takes them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from farmwire.join import JoinToken
from seederfarm.registry import services
from seederfarm.registry.models import (
    ApiToken,
    EnrolmentToken,
)

from .client import act, text_of
from .client import client as client

pytestmark = pytest.mark.usefixtures("database")


def test_a_new_api_token_is_shown_once(client: Client) -> None:
    user = User.objects.get()
    given = {"name": "ci", "user": user.pk, "scopes": ["read", "drives"]}
    shown = client.post(reverse("admin:registry_apitoken_add"), given)
    assert "no-store" in shown["Cache-Control"]
    reported = text_of(shown)
    found = re.search(r"sft_[\w-]{40,}", reported)
    assert found is not None
    token = services.find_api_token(found[0])
    assert token is not None and token.name == "ci"
    assert token.scopes == ["drives", "read"]
    again = client.get(reverse("admin:registry_apitoken_changelist"))
    assert found[0] not in again.text
    act(client, "admin:registry_apitoken_changelist", "revoke", ApiToken.objects.get())
    assert services.find_api_token(found[0]) is None


def test_an_api_token_needs_a_scope_that_there_is(client: Client) -> None:
    url, user = reverse("admin:registry_apitoken_add"), User.objects.get()
    for scopes in ([], ["everything"]):
        assert client.post(url, {"name": "ci", "user": user.pk, "scopes": scopes}).status_code == 200
    with pytest.raises(ValidationError, match="no scope"):
        services.issue_api_token(user, "ci", scopes=["everything"], actor=user)
    assert not ApiToken.objects.exists()


def test_a_token_for_a_worker_is_shown_once_as_the_command_to_run(client: Client) -> None:
    url = reverse("admin:registry_enrolmenttoken_add")
    given = {"name": "pi", "zone": "attic", "tags": "SSD, arm", "hours": "168", "broker": "http://x"}
    assert "Not the address of a Redis" in text_of(client.post(url, given))
    given["broker"] = "rediss://:p@farm.example.org/0"
    shown = client.post(url, given)
    assert "no-store" in shown["Cache-Control"]
    found = re.search(r"echo (sfj1_[\w-]+) \| \S+ worker run --join -", text_of(shown))
    assert found is not None
    token = JoinToken.from_text(found[1])
    assert token.broker == given["broker"]
    row = EnrolmentToken.objects.get()
    assert (row.name, row.zone, row.tags, row.approved) == ("pi", "attic", ["arm", "ssd"], False)
    assert row.expires_at - row.created_at > timedelta(days=6)
    assert services.use_enrolment(token.secret, node_id="y" * 52, name="x") is not None
    assert token.secret not in client.get(reverse("admin:registry_enrolmenttoken_changelist")).text
    assert client.get(reverse("admin:registry_enrolmenttoken_delete", args=(row.pk,))).status_code == 403
