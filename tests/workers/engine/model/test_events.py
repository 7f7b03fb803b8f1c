"""The JSON lines: other programs rely on these very names."""

from __future__ import annotations

import json

import pytest

from workers.engine.model.events import (
    BlindCoreChanged,
    CoreChanged,
    Event,
    Forked,
    LimitChanged,
    NetworkChanged,
    PeerChanged,
    Problem,
    Progress,
    Published,
    Ready,
    Stats,
    Synced,
    to_json,
)
from workers.engine.model.kind import Kind, Role

KEY, CORE, PEER = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32

LINES: list[tuple[Event, dict[str, object]]] = [
    (
        Ready(public_key=PEER, host="127.0.0.1", port=49737, firewalled=True, bootstrap=("127.0.0.1:4000",)),
        {
            "event": "ready",
            "public_key": "03" * 32,
            "host": "127.0.0.1",
            "port": 49737,
            "firewalled": True,
            "bootstrap": ["127.0.0.1:4000"],
            "blind_peer": None,
        },
    ),
    (
        CoreChanged(key=KEY, core=CORE, role=Role.BLOBS, length=9, fork=1, byte_length=70_000),
        {
            "event": "core",
            "key": "01" * 32,
            "core": "02" * 32,
            "role": "blobs",
            "length": 9,
            "fork": 1,
            "byte_length": 70_000,
        },
    ),
    (
        Progress(key=KEY, kind=None, blocks=10, have_blocks=4, bytes=1000, have_bytes=400, peers=2),
        {
            "event": "progress",
            "key": "01" * 32,
            "kind": None,
            "blocks": 10,
            "have_blocks": 4,
            "bytes": 1000,
            "have_bytes": 400,
            "peers": 2,
            "unavailable_blocks": 0,
            "unavailable_bytes": 0,
        },
    ),
    (
        Synced(
            key=KEY,
            kind=Kind.DRIVE,
            version=6,
            length=15,
            bytes=1000,
            unavailable_blocks=2,
            unavailable_bytes=90,
        ),
        {
            "event": "synced",
            "key": "01" * 32,
            "kind": "drive",
            "version": 6,
            "length": 15,
            "bytes": 1000,
            "unavailable_blocks": 2,
            "unavailable_bytes": 90,
            "news": True,
        },
    ),
    (
        Published(key=KEY, version=6, files=5, bytes=900, added=3, changed=2, removed=1),
        {
            "event": "published",
            "key": "01" * 32,
            "version": 6,
            "files": 5,
            "bytes": 900,
            "added": 3,
            "changed": 2,
            "removed": 1,
        },
    ),
    (
        PeerChanged(key=KEY, peer=PEER, state="open", bytes_in=0, bytes_out=0),
        {
            "event": "peer",
            "key": "01" * 32,
            "peer": "03" * 32,
            "state": "open",
            "bytes_in": 0,
            "bytes_out": 0,
        },
    ),
    (
        Problem(key=None, code="STORAGE_FULL", message='no room left on "/data"\nfor it'),
        {"event": "error", "key": None, "code": "STORAGE_FULL", "message": 'no room left on "/data"\nfor it'},
    ),
    (
        Forked(key=KEY, core=CORE, state="quarantined", fork=0, length=9, new_fork=1, new_length=7),
        {
            "event": "fork",
            "key": "01" * 32,
            "core": "02" * 32,
            "state": "quarantined",
            "fork": 0,
            "length": 9,
            "new_fork": 1,
            "new_length": 7,
        },
    ),
    (NetworkChanged(state="unreachable"), {"event": "network", "state": "unreachable"}),
    (
        LimitChanged(limit="disk", state="reached", value=999_000, max=1_000_000),
        {
            "event": "limit",
            "limit": "disk",
            "state": "reached",
            "value": 999_000,
            "max": 1_000_000,
            "text": "",
        },
    ),
    (
        BlindCoreChanged(
            core=CORE, state="added", client=PEER, priority=1, announce=True, length=3, bytes=96
        ),
        {
            "event": "blind_core",
            "core": CORE.hex(),
            "state": "added",
            "client": PEER.hex(),
            "priority": 1,
            "announce": True,
            "length": 3,
            "bytes": 96,
        },
    ),
    (
        Stats(connections=3, max_stall_ms=12.5, max_busy_ms=0.0),
        {"event": "stats", "connections": 3, "max_stall_ms": 12.5, "max_busy_ms": 0.0},
    ),
]


@pytest.mark.parametrize(("event", "fields"), LINES, ids=lambda value: getattr(value, "event", ""))
def test_an_event_is_one_line_with_exactly_these_fields(event: Event, fields: dict[str, object]) -> None:
    line = to_json(event)
    assert "\n" not in line
    assert json.loads(line) == fields
    assert list(json.loads(line)) == list(fields)


def test_every_kind_of_event_is_covered_here() -> None:
    assert {type(event) for event, _ in LINES} == set(Event.__args__)
