"""Rules, silences and channels of alerts by the API."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from seederfarm.registry.models import AlertDelivery, Tag

from ...seederfarm.registry.factories import make_drive, make_worker
from .client import ApiClient

pytestmark = pytest.mark.usefixtures("database")
HOOK = {
    "name": "hook",
    "kind": "webhook",
    "target": "https://me:pass@chat.example/x",
    "secret": "s3cret-of-the-hook",
}


def test_silences_are_made_listed_and_ended(writer: ApiClient, reader: ApiClient) -> None:
    drive, worker = make_drive("tides"), make_worker("pi")
    end = (timezone.now() + timedelta(hours=1)).isoformat()
    Tag.objects.create(name="sound")
    given = {"drive": drive.z32, "worker": "pi", "tag": "sound", "rule": "copy.proof", "ends_at": end}
    answer = writer("POST", "alerts/silences", given)
    assert answer.status == 201
    assert (answer.body["drive"]["hex"], answer.body["worker"]["id"]) == (drive.key, worker.node_id)
    assert [item["rule"] for item in reader("GET", "alerts/silences").body["items"]] == ["copy.proof"]
    for wrong, status in (
        ({"ends_at": end}, 422), ({"rule": "x", "ends_at": end}, 422), ({"rule": "copy.proof"}, 422),
        ({"worker": "nobody", "ends_at": end}, 404), ({"drive": "x", "ends_at": end}, 422),
        ({"rule": "copy.proof", "ends_at": "2020-01-01T00:00:00Z"}, 422),
    ):  # fmt: skip
        assert writer("POST", "alerts/silences", wrong).status == status, wrong
    path = f"alerts/silences/{answer.body['id']}"
    assert reader("DELETE", path).status == 403
    assert writer("DELETE", path).status == 204
    assert writer("DELETE", path).status == 404
    assert reader("GET", "alerts/silences").body == {"items": [], "next": None}


def test_rules_are_changed_within_their_limits(writer: ApiClient, reader: ApiClient) -> None:
    hook = writer("POST", "alerts/channels", HOOK).body["id"]
    path = "alerts/rules/worker.disk_forecast"
    changed = writer("PATCH", path, {"threshold": 14, "channels": [hook]})
    assert (changed.body["threshold"], changed.body["channels"]) == (14, [hook])
    assert writer("PATCH", path, {"channels": None, "threshold": None}).body["channels"] is None
    assert len(reader("GET", "alerts/rules").body["items"]) > 15
    for given in ({"threshold": 0}, {"channels": [hook + 1]}, {"colour": 1}, {"opens_after": -1}):
        assert writer("PATCH", path, given).status == 422, given
    assert writer("PATCH", "alerts/rules/drive.forked", {"enabled": False}).status == 422
    assert writer("PATCH", "alerts/rules/no.such", {}).status == 404


def test_channels_are_added_tested_changed_and_deleted(writer: ApiClient, reader: ApiClient) -> None:
    made = writer("POST", "alerts/channels", HOOK)
    assert (made.status, made.body["has_secret"], made.body["works"]) == (201, True, None)
    shown = str(reader("GET", "alerts/channels").body)
    assert "s3cret" not in shown and "pass" not in shown
    path = f"alerts/channels/{made.body['id']}"
    assert writer("POST", f"{path}/test").status == 202
    assert AlertDelivery.objects.get().kind == "test"
    assert writer("PATCH", path, {"enabled": False}).body["enabled"] is False
    assert writer("POST", f"{path}/test").status == 409
    assert writer("POST", "alerts/channels", {**HOOK, "name": "b", "target": "ftp://x"}).status == 422
    assert writer("POST", "alerts/channels", HOOK).status == 422
    short = writer("POST", "alerts/channels", {**HOOK, "name": "c", "secret": "x" * 15})
    assert short.status == 422 and short.body["errors"][0]["field"] == "body.secret"
    assert writer("POST", "alerts/channels", {**HOOK, "name": "d", "secret": ""}).status == 201
    assert reader("DELETE", path).status == 403
    assert writer("DELETE", path).status == 204
    assert writer("PATCH", path, {}).status == 404
