"""How a worker comes to a farm: a token that the operator hands over, the request that the worker makes with
it, and the farm's welcome.

Where the farm gives out accounts of the broker, the token's broker URL is a login that may do no more than
ask; else it is the one that everybody has. The worker makes up the password of its own account and tells its
SHA-256 alone, which is what Redis wants to know: a password that was never sent cannot be read on its way,
and a request that is made twice asks for the same.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated
from urllib.parse import quote, urlsplit, urlunsplit

from msgspec import Meta

from hypercore.crypto import KeyPair

from .message import Digest, Name, NodeId, Shape, Tags, plain, read
from .rejection import MessageRejected, Reason
from .sealed_box import hide, reveal

PREFIX = "sfj1_"
MAX_TOKEN_CHARS = 4096


class JoinToken(Shape, frozen=True, kw_only=True):
    """Everything that a worker needs to know of a farm. Whoever has it can join once."""

    farm: Name
    control: NodeId
    """The control plane's public key: the worker obeys nobody else."""
    broker: Annotated[str, Meta(min_length=1, max_length=2000)]
    """URL of Redis, with the login that this worker is given."""
    secret: Annotated[str, Meta(min_length=20, max_length=100)]

    def to_text(self) -> str:
        """One word, to be pasted into a command."""
        raw = json.dumps(plain(self), separators=(",", ":")).encode()
        return PREFIX + urlsafe_b64encode(raw).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> JoinToken:
        """Raises Refused(MALFORMED)."""
        text = text.strip()
        if not text.startswith(PREFIX) or len(text) > MAX_TOKEN_CHARS:
            raise MessageRejected(
                Reason.MALFORMED,
                f"a join token begins with {PREFIX}, as `seederfarm worker enroll` prints it",
            )
        word = text[len(PREFIX) :]
        try:
            data = json.loads(urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        except ValueError:
            raise MessageRejected(
                Reason.MALFORMED, "the join token is cut short or damaged: copy it again"
            ) from None
        return read(data, cls)


def place_of(secret_digest: str) -> str:
    """By what a token is known at the broker: its account and its queue are named so. `secret_digest`:
    SHA-256 of its secret, in hex, which is all that control keeps of it."""
    return secret_digest[:16]


def digest_of(secret: str) -> str:
    """SHA-256 in hex: what control keeps of a token's secret, and Redis of a password. Both have 256 random
    bits, so a plain hash guards them."""
    return hashlib.sha256(secret.encode()).hexdigest()


def with_login(url: str, user: str, password: str) -> str:
    """The same broker, as somebody else."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{place}"
    return urlunsplit(parts._replace(netloc=netloc))


def without_login(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" + urlunsplit(("", "", *parts[2:]))


class Join(Shape, frozen=True, kw_only=True):
    """Sent by a worker until it is welcome."""

    name: Name
    secret: Annotated[str, Meta(max_length=600)]
    """Of the token, sealed for control together with the sender's node id and `password` (`seal_secret`)."""
    password: Digest
    """SHA-256 of the one that the worker made up for its account of the broker."""
    zone: Annotated[str, Meta(max_length=100)] = ""
    tags: Tags = []
    software: Annotated[str, Meta(max_length=100)] = ""


def seal_secret(secret: str, *, sender: NodeId, password: Digest, reader: NodeId) -> str:
    """The `secret` of a request to join that `sender` signs. Whoever takes the request out of the broker can
    put this into no other: it names the node and the password that it is good for. Raises KeyFormatError."""
    return hide(json.dumps([secret, sender, password]), reader=reader)


def open_secret(request: Join, *, sender: NodeId, key_pair: KeyPair) -> str:
    """The token's secret in a request that `sender` signed. Raises Refused: MALFORMED for what cannot be
    read, WRONG_SENDER for what another node, or the same with another password, has sealed."""
    text = reveal(request.secret, key_pair)
    try:
        secret, node, password = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise MessageRejected(Reason.MALFORMED, "the sealed secret is not what a worker seals") from None
    if (node, password) != (sender, request.password) or not isinstance(secret, str):
        raise MessageRejected(Reason.WRONG_SENDER, f"{sender} sent a secret that another node has sealed")
    return secret


class Welcome(Shape, frozen=True, kw_only=True):
    """The farm's answer, in the token's own queue."""

    waiting: bool = False
    """For an operator's approval: ask again, all else says nothing yet."""
    user: Annotated[str, Meta(max_length=100)] = ""
    """Of the account that was made for this worker; empty: it keeps the login of its token."""
    events: bool = True
    """Whether that account may publish Celery's events."""
