"""Signed envelopes with sender, receiver, task, number and expiry.

The broker is not trusted: a client with its password can read, drop, repeat and write messages. So each
message is `{from, to, name, seq, expires, body, sig}`, where `sig` is the sender's Ed25519 signature over all
other fields in canonical JSON. `name` is the Celery task that it is an argument of: a signed body cannot be
replayed as another task.

Versions of the program differ while a farm is updated. A body may have fields that its reader does not know,
and lack those that have a default; an envelope may have further fields, which are signed as well. A change
that an older reader would misunderstand gets the next number in the field `format` (none: 1), and readers
refuse numbers that they do not know.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from hypercore.crypto import KeyPair, sign, verify
from hypercore.errors import KeyFormatError
from hypercore.keys import encode_key, z32_decode

from .message import Count, Message, Name, NodeId, Seconds, decode, to_builtins
from .rejection import MessageRejected, RejectReason
from .replay import ReplayWindow

MAX_BODY_BYTES = 1 << 20
"""Bytes of a body in canonical JSON. The largest honest one, a report of 500 replicas, has about a quarter of
that."""

CLOCK_SKEW = 300.0
"""Seconds that the clocks of two machines may differ before messages seem expired or sent from the future."""

MAX_LIFETIME = 7 * 86400.0
"""Seconds ahead that a message may expire: limits the harm of a message that was held back."""

NUMBERS_PER_SECOND = 4
"""Numbers per second of the clock. Slow enough that the replay window spans minutes: a message overtaken by
another is still accepted."""

FORMAT = 1
"""Largest `format` of envelopes that this version reads."""

_DOMAIN = b"seederfarm/envelope/1\n"


class Envelope(NamedTuple):
    """A verified envelope: every field is the sender's."""

    sender: str
    to: str
    name: str
    seq: int
    expires: float
    body: dict[str, object]


class Sealed(Message, frozen=True, kw_only=True, rename={"sender": "from"}):
    """An envelope that is not verified yet."""

    sender: NodeId
    to: NodeId
    name: Name
    seq: Count
    expires: Seconds
    body: dict[str, object]
    sig: Annotated[str, Meta(min_length=88, max_length=88)]
    format: Annotated[int, Meta(ge=1, le=1000)] = 1


def node_id(public_key: bytes) -> str:
    """Return the id of a worker or control plane: z-base-32 of its public key."""
    return encode_key(public_key)


def public_key_of(node: str) -> bytes:
    """The reverse of `node_id`. Raises KeyFormatError."""
    key = z32_decode(node)
    if len(key) != 32:
        raise KeyFormatError(f"a node id is 52 z-base-32 characters, got {node!r}")
    return key


def seal(
    body: Message,
    *,
    name: str,
    to: str,
    seq: int,
    expires: float,
    key_pair: KeyPair,
    limit: int = MAX_BODY_BYTES,
) -> dict[str, object]:
    """Return `body` in a signed envelope, as JSON-safe builtins. `expires` is Unix time. Raises
    MessageRejected (TOO_LARGE) if the body exceeds `limit` bytes."""
    fields: dict[str, object] = {
        "from": node_id(key_pair.public_key),
        "to": to,
        "name": name,
        "seq": seq,
        "expires": float(expires),  # as JSON it must read the same after a round trip
        "body": to_builtins(body),
    }
    signed = _signed_bytes(fields, limit)
    return {**fields, "sig": b64encode(sign(signed, key_pair.secret_key)).decode()}


def open_envelope(
    data: object,
    *,
    sender: str | None,
    me: str,
    name: str,
    now: float,
    window: ReplayWindow,
    limit: int = MAX_BODY_BYTES,
) -> Envelope:
    """Verify an envelope from `sender` (None: any signer) to `me` for task `name`, in time and not seen
    before.

    `now` is Unix time. `window` records the envelope only if it is accepted. Raises MessageRejected.
    """
    sealed = decode(data, Sealed)
    assert isinstance(data, dict)  # else it does not decode
    if sealed.format > FORMAT:
        raise MessageRejected(
            RejectReason.NEWER_FORMAT,
            f"{sealed.sender} runs a newer version (format {sealed.format}): update this one",
        )
    if sender is not None and sealed.sender != sender:
        raise MessageRejected(RejectReason.WRONG_SENDER, f"signed by {sealed.sender}, expected {sender}")
    if sealed.to != me:
        raise MessageRejected(RejectReason.WRONG_RECIPIENT, f"meant for {sealed.to}, this is {me}")
    if sealed.name != name:
        raise MessageRejected(RejectReason.WRONG_NAME, f"meant for task {sealed.name}, came as {name}")
    try:
        signature = b64decode(sealed.sig, validate=True)
        key = public_key_of(sealed.sender)
    except (Base64Error, KeyFormatError, ValueError) as error:
        raise MessageRejected(RejectReason.MALFORMED, str(error)) from None
    known = msgspec.to_builtins(sealed)
    fields = {name: known.get(name, value) for name, value in data.items() if name != "sig"}
    if not verify(_signed_bytes(fields, limit), signature, key):
        raise MessageRejected(RejectReason.BAD_SIGNATURE, f"the signature is not {sealed.sender}'s")
    if sealed.expires < now - CLOCK_SKEW:
        raise MessageRejected(
            RejectReason.EXPIRED, f"expired {now - sealed.expires:.0f} s ago (is a clock wrong?)"
        )
    if sealed.expires > now + MAX_LIFETIME + CLOCK_SKEW:
        raise MessageRejected(
            RejectReason.EXPIRED,
            f"good for {sealed.expires - now:.0f} s, at most {MAX_LIFETIME:.0f} are accepted",
        )
    if not window.accept(sealed.seq):
        raise MessageRejected(
            RejectReason.REPLAYED, f"number {sealed.seq} was seen before, or is far behind {window.highest}"
        )
    return Envelope(sealed.sender, sealed.to, sealed.name, sealed.seq, sealed.expires, sealed.body)


def next_seq(last: int, now: float) -> int:
    """Return the number after `last`. Numbers follow the clock, so that a sender that lost its state
    continues above the numbers it used before (unless it sent more than NUMBERS_PER_SECOND for long).
    """
    return max(last + 1, int(now * NUMBERS_PER_SECOND))


def _signed_bytes(fields: dict[str, object], limit: int) -> bytes:
    try:
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise MessageRejected(RejectReason.MALFORMED, f"cannot be signed: {error}") from None
    if len(text) > limit:
        raise MessageRejected(RejectReason.TOO_LARGE, f"{len(text)} bytes, at most {limit} are accepted")
    return _DOMAIN + text.encode()
