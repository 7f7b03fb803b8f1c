"""A farm is updated one machine after the other: workers talk to control of another version."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from farmwire.envelope import FORMAT, node_id, open_envelope
from farmwire.message import decode
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.replay import ReplayWindow
from farmwire.report import Report
from hypercore.crypto import KeyPair, sign
from tools.shapes import shapes

RELEASED: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("released.json").read_text())
"""What the released version reads and sends."""
HERE: Final = json.loads(json.dumps(shapes()))
MIN_RULES: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
MAX_RULES: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
KNOWN: Final = {
    *MIN_RULES, *MAX_RULES, "type", "enum", "pattern", "items", "properties", "required", "anyOf",
    "additionalProperties", "$ref", "$comment", "default", "description", "title",
}  # fmt: skip
OLD_WORKER: Final = KeyPair.from_seed(b"o" * 32)


class Pair:
    """What one version sends, beside what another one reads."""

    def __init__(self, sent: dict[str, Any], read: dict[str, Any]) -> None:
        self._sent, self._read = sent, read

    def refusals(self) -> list[str]:
        """Where the reader refuses something that is sent. Shapes that one of them lacks are left out: a
        task of an unknown name is refused, and nothing else is."""
        both = sorted(self._sent.keys() & self._read.keys())
        return [found for name in both for found in self._of(self._sent[name], self._read[name], name)]

    def _of(self, sent: dict[str, Any], read: dict[str, Any], at: str) -> Iterator[str]:
        assert sent.keys() | read.keys() <= KNOWN, f"the test does not know {sent.keys() | read.keys()}"
        if "$ref" in sent and sent == read:
            return  # compared by its name
        for choice in sent.get("anyOf", [sent]):
            tried = [list(self._one(choice, other, at)) for other in read.get("anyOf", [read])]
            if all(tried):
                yield min(tried, key=len)[0]

    def _one(self, sent: dict[str, Any], read: dict[str, Any], at: str) -> Iterator[str]:
        if "$ref" in sent or "$ref" in read:
            if sent.get("$ref") != read.get("$ref"):
                yield f"{at}: {sent} is read as {read}"
            return
        if "type" not in read and "enum" not in read:
            return  # anything
        types = (sent.get("type"), read.get("type"))
        if types[0] != types[1] and types != ("integer", "number"):
            yield f"{at}: {types[0]} is read as {types[1]}"
            return
        if not set(sent.get("enum", ())) <= set(read.get("enum", sent.get("enum", ()))):
            yield f"{at}: {sent['enum']} is read as {read['enum']}"
        if "pattern" in read and sent.get("pattern") != read["pattern"]:
            yield f"{at}: pattern"
        for name in MIN_RULES:
            if name in read and sent.get(name, float("-inf")) < read[name]:
                yield f"{at}: {name}"
        for name in MAX_RULES:
            if name in read and sent.get(name, float("inf")) > read[name]:
                yield f"{at}: {name}"
        if "items" in sent and "items" in read:
            yield from self._of(sent["items"], read["items"], f"{at}[]")
        ours, theirs = sent.get("properties", {}), read.get("properties", {})
        for name in set(read.get("required", ())) - ours.keys():
            yield f"{at}.{name} is not sent any more"
        for name in ours.keys() & theirs.keys():
            yield from self._of(ours[name], theirs[name], f"{at}.{name}")


def test_this_version_and_the_released_one_take_what_the_other_sends() -> None:
    """Where this fails on purpose, count up `FORMAT`: the other side then says which machine to update."""
    assert Pair(HERE, RELEASED).refusals() == [], "of this version, refused by the released one"
    assert Pair(RELEASED, HERE).refusals() == [], "of the released version, refused by this one"
    assert RELEASED.keys() <= HERE.keys()


@pytest.mark.parametrize(
    ("shape", "change", "problem"),
    [
        ("Heartbeat", {"required": ["weather"]}, "Heartbeat.weather is not sent any more"),
        ("Heartbeat", {"properties": {"name": {"type": "string", "maxLength": 99}}}, "name: maxLength"),
        ("OneEngine", {"properties": {"online": {"type": "boolean"}}}, "online: null is read as boolean"),
        ("Phase", {"enum": ["complete"]}, "Phase: ["),
        ("AssignmentPage", {"properties": {"entries": {"type": "object"}}}, "array is read as object"),
    ],
)
def test_the_comparison_finds_what_an_older_version_refuses(
    shape: str, change: dict[str, Any], problem: str
) -> None:
    older = HERE | {shape: HERE[shape] | change}
    (found,) = Pair(HERE, older).refusals()
    assert problem in found


# --- envelopes


def sealed(body: dict[str, Any], **more: object) -> dict[str, Any]:
    """As a worker of the first release seals it, with `more` fields."""
    me = node_id(OLD_WORKER.public_key)
    fields = {"from": me, "to": me, "name": "control.report", "seq": 7, "expires": 2e9, "body": body} | more
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    signature = sign(b"seederfarm/envelope/1\n" + text, OLD_WORKER.secret_key)
    return fields | {"sig": b64encode(signature).decode()}


def opened(data: dict[str, Any]) -> dict[str, object]:
    me = node_id(OLD_WORKER.public_key)
    return open_envelope(
        data, sender=me, me=me, name="control.report", now=2e9 - 60, window=ReplayWindow()
    ).body


def test_a_report_without_what_came_later_is_taken() -> None:
    engine = {"index": 0, "running": True, "nat": "open"}
    beat = {
        "at": 1.9e9, "name": "pi-7", "zone": "", "tags": [], "software": "seederfarm 0.0.9",
        "assignment_version": 3, "assignment_digest": "0" * 64, "quota_bytes": None, "free_bytes": 5,
        "configured": {},
        "host": {"cpu_percent": 1.0, "load": 0.5, "memory_bytes": 9, "memory_used_bytes": 3, "disk_bytes": 8,
                 "disk_free_bytes": 5, "uptime": 60.0, "cores": 4},
        "engine": {"running": True, "shards": 1, "restarts": 0, "connections": 2, "firewalled": None,
                   "rss_bytes": 4, "stored_bytes": 3, "down_per_second": 0.0, "up_per_second": 0.0,
                   "engines": [engine]},
    }  # fmt: skip
    report = decode(opened(sealed({"heartbeat": beat})), Report)
    assert report.heartbeat is not None and report.heartbeat.software == "seederfarm 0.0.9"
    assert report.heartbeat.engine.blind_peer is None and report.replicas == []


def test_fields_that_a_newer_version_adds_are_signed_and_ignored() -> None:
    data = sealed({"heartbeat": None, "later": [1]}, hint="a field of later", format=FORMAT)
    assert decode(opened(data), Report) == Report()
    with pytest.raises(MessageRejected) as caught:
        opened(data | {"hint": "another"})
    assert caught.value.reason is RejectReason.BAD_SIGNATURE


def test_a_format_of_later_is_refused_with_what_to_do() -> None:
    with pytest.raises(MessageRejected) as caught:
        opened(sealed({}, format=FORMAT + 1))
    assert caught.value.reason is RejectReason.NEWER_FORMAT
    assert "runs a newer version" in caught.value.detail and "update this one" in caught.value.detail
