"""The packages are for machines with a token of this farm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from farmwire.join import queue_id, secret_digest
from seederfarm.installer.bundle import bundle
from seederfarm.registry import services
from seederfarm.registry.models import EnrolmentToken, Worker
from seederfarm.registry.services.tokens import issue_enrolment, revoke_enrolment

pytestmark = pytest.mark.usefixtures("database")


def fetch(secret: str) -> tuple[int, bytes]:
    answer = Client().get(f"/join/{queue_id(secret_digest(secret))}/bundle.tar")
    return answer.status_code, answer.content


def revoked(secret: str) -> None:
    revoke_enrolment(EnrolmentToken.objects.get(), "cli")


def expired(secret: str) -> None:
    EnrolmentToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def retired(secret: str) -> None:
    services.use_enrolment(secret, node_id="y" * 52, name="pi")
    Worker.objects.update(state=Worker.State.RETIRED)


def test_a_new_token_and_one_whose_worker_is_in_the_farm_get_the_packages() -> None:
    secret = issue_enrolment(actor="cli").secret
    assert fetch(secret) == (200, bundle().data)
    services.use_enrolment(secret, node_id="y" * 52, name="pi")
    EnrolmentToken.objects.update(expires_at=timezone.now() - timedelta(days=30))
    assert fetch(secret) == (200, bundle().data), "the same command updates it"


@pytest.mark.parametrize(
    ("change", "reason"),
    [(revoked, b"was revoked"), (expired, b"expired at 20"), (retired, b"was retired")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_other_tokens_get_the_reason_in_one_line(change: Callable[[str], None], reason: bytes) -> None:
    secret = issue_enrolment(actor="cli").secret
    change(secret)
    status, text = fetch(secret)
    assert status == 403 and reason in text and text.count(b"\n") == 1


def test_an_unknown_token_gets_nothing_and_the_installer_is_for_anyone() -> None:
    issue_enrolment(actor="cli")
    status, text = fetch("forged")
    assert status == 403 and b"does not know the token" in text
    answer = Client().get("/join/install.sh")
    assert answer.status_code == 200 and answer.content.startswith(b"#!/bin/sh\n")
    assert bundle().sha256.encode() in answer.content
    assert Client().post("/join/install.sh").status_code == 405
