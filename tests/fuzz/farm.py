"""What the farm reads from workers, sources and people."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from farmwire.assignment import AssignmentPage
from farmwire.audit import Answer, Challenge
from farmwire.envelope import node_id, open_envelope, seal
from farmwire.join import Join, JoinToken, open_secret, seal_secret
from farmwire.message import Message, decode
from farmwire.rejection import MessageRejected
from farmwire.replay import ReplayWindow
from farmwire.report import Report
from farmwire.sealed_box import encrypt
from farmwire.tasks import Configure, Refresh
from hypercore.crypto import KeyPair
from hypercore.errors import KeyFormatError
from seederfarm.sources.addresses import AddressPolicy
from seederfarm.sources.list_formats import SourceError, parse_json, parse_lines
from workers.engine.settings.key_list import parse_list
from workers.transport import Rejected, TaskFilter

from .target import Target

OWNER = KeyPair.from_seed(bytes(32))
SHAPES: tuple[type[Message], ...] = (
    Report,
    Answer,
    Challenge,
    Join,
    JoinToken,
    AssignmentPage,
    Configure,
    Refresh,
)


def farm() -> Iterator[Target]:
    for shape in SHAPES:
        yield Target(
            name=f"farm {shape.__name__}",
            run=_json(lambda data, s=shape: decode(data, s)),
            allowed=(MessageRejected,),
        )
    yield Target(name="farm envelope", run=_json(_open), allowed=(MessageRejected,), seeds=_envelopes)
    yield Target(name="farm message", run=_take, allowed=(Rejected,), seeds=_messages)
    yield Target(name="farm sealed secret", run=_unseal, allowed=(MessageRejected,), seeds=_secrets)
    yield Target(name="source json", run=parse_json, allowed=(SourceError,), seeds=_lists)
    yield Target(name="source lines", run=parse_lines, allowed=(SourceError,), seeds=_lists)
    yield Target(name="source mapping", run=_mapped, allowed=(SourceError,), seeds=_mappings)
    yield Target(name="source address", run=_address)
    yield Target(name="seeds.txt", run=_seeds, allowed=(KeyFormatError,), seeds=_lists)


def _json(run: Callable[[object], object]) -> Callable[[bytes], object]:
    """JSON is read by the broker's client, long before any of ours."""

    def parsed(data: bytes) -> object:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = data.decode("latin-1")
        return run(value)

    return parsed


def _open(data: object) -> None:
    me = node_id(OWNER.public_key)
    open_envelope(data, sender=None, me=me, name="control.report", now=1000.0, window=ReplayWindow())


def _envelopes() -> Iterator[bytes]:
    me = node_id(OWNER.public_key)
    sealed = seal({"a": 1}, name="control.report", to=me, seq=5, expires=1060.0, key_pair=OWNER)
    yield json.dumps(sealed).encode()


def _gate() -> TaskFilter:
    gate = TaskFilter()
    gate.allow("reports", ["control.report"], max_argument_bytes=1 << 20, rejected=lambda queue, reason: None)
    return gate


GATE = _gate()


def _take(data: bytes) -> None:
    """As it is taken out of Redis. What passes has nothing of its sender but the one argument."""
    for queue in ("reports", "control"):
        made = GATE.parse(queue, data)
        assert queue == "control" or made["properties"]["delivery_info"]["routing_key"] == queue
        assert queue == "control" or made["headers"]["task"] == "control.report"
        assert made["properties"].get("body_encoding") in (None, "", "utf-8", "base64"), (
            "kombu takes no other"
        )


def _messages() -> Iterator[bytes]:
    body = b64encode(json.dumps([[{"from": "x"}], {}, {"chain": None}]).encode()).decode()
    properties = {"delivery_info": {"routing_key": "x"}, "delivery_tag": "t", "body_encoding": "base64"}
    message = {"body": body, "content-type": "application/json", "headers": {"task": "control.report"}}
    yield json.dumps(message | {"properties": properties, "content-encoding": "utf-8"}).encode()


def _unseal(data: bytes) -> None:
    me = node_id(OWNER.public_key)
    request = Join(name="x", secret=encrypt(data.decode("latin-1"), reader=me), password="0" * 64)
    open_secret(request, sender=me, key_pair=OWNER)
    open_secret(Join(name="x", secret=data.decode("latin-1"), password="0" * 64), sender=me, key_pair=OWNER)


def _secrets() -> Iterator[bytes]:
    me = node_id(OWNER.public_key)
    yield json.dumps(["secret", me, "0" * 64]).encode()
    yield seal_secret("secret", sender=me, password="0" * 64, reader=me).encode()


def _lists() -> Iterator[bytes]:
    key = "ab" * 32
    yield f"drive {key}\ncore {key} # comment\n".encode()
    yield f"seeders {key}\nhyper://{key[:52]}\n{key[:-1]}".encode()
    yield json.dumps([{"url": f"hyper://{key}", "type": "drive"}, {"key": key}, key]).encode()
    yield b"<html><body>404</body></html>"


def _mapped(data: bytes) -> None:
    """A mapping behind its length, then the answer."""
    size = int.from_bytes(data[:1], "big")
    mapping = data[1 : 1 + size].decode("latin-1")
    parse_json(data[1 + size :], mapping)


def _mappings() -> Iterator[bytes]:
    for mapping in (b"data[].{key: k, label: name}", b"keys(@)", b"sort_by(@, &k) | [?k > `1`].k", b"[]"):
        body = json.dumps({"data": [{"k": "ab" * 32, "name": "x"}, {"k": 1}]}).encode()
        yield len(mapping).to_bytes(1, "big") + mapping + body


def _address(data: bytes) -> None:
    """What is allowed is public, however it is spelled."""
    for text in (
        data.decode("latin-1"),
        *(str(ip_address(data[:size])) for size in (4, 16) if len(data) >= size),
    ):
        if AddressPolicy().allows(text):
            address = ip_address(text)
            assert address.is_global and not address.is_multicast and not address.is_loopback


def _seeds(data: bytes) -> None:
    parse_list(data.decode("latin-1"), source="here")
