"""The messages by which a worker joins a farm: the operator's token, the worker's request, and the farm's
answer.

Where the farm makes broker accounts, the token's broker URL has a login that can only send the request and
read the answer; otherwise it has the login that all workers share. The worker generates the password of its
own account and sends only its SHA-256, which is what Redis stores: a password that is never sent cannot be
intercepted, and a repeated request asks for the same account.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated
from urllib.parse import quote, urlsplit, urlunsplit

from msgspec import Meta

from hypercore.crypto import KeyPair

from .message import Digest, Message, Name, NodeId, Tags, decode, to_builtins
from .rejection import MessageRejected, RejectReason
from .sealed_box import decrypt, encrypt

PREFIX = "sfj1_"
MAX_TOKEN_CHARS = 8192
MAX_AUTHORITY_CHARS = 4000
"""Of a certificate in base64: some 2.9 kB, an RSA key of 4096 bits included."""


class JoinToken(Message, frozen=True, kw_only=True):
    """Everything that a worker needs to know of a farm. Its holder can join once."""

    farm: Name
    control: NodeId
    """The control plane's public key: the worker accepts messages of no other sender."""
    broker: Annotated[str, Meta(min_length=1, max_length=2000)]
    """URL of Redis, with this worker's login."""
    secret: Annotated[str, Meta(min_length=20, max_length=100)]
    authority: Annotated[str, Meta(max_length=MAX_AUTHORITY_CHARS)] = ""
    """Certificate of the authority that signed the broker's, DER in base64. Empty: no TLS, or an authority
    that the machine trusts already."""

    def to_text(self) -> str:
        """Encode as one word for the command line."""
        raw = json.dumps(to_builtins(self), separators=(",", ":")).encode()
        return PREFIX + urlsafe_b64encode(raw).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> JoinToken:
        """The reverse of `to_text`. Raises MessageRejected (MALFORMED)."""
        text = text.strip()
        if not text.startswith(PREFIX) or len(text) > MAX_TOKEN_CHARS:
            raise MessageRejected(
                RejectReason.MALFORMED,
                f"a join token begins with {PREFIX}, as `seederfarm worker enroll` prints it",
            )
        word = text[len(PREFIX) :]
        try:
            data = json.loads(urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        except ValueError:
            raise MessageRejected(
                RejectReason.MALFORMED, "the join token is cut short or damaged: copy it again"
            ) from None
        return decode(data, cls)


def queue_id(digest: str) -> str:
    """Short id of a token, used in the names of its Redis account and queue. `digest`: SHA-256 of its
    secret in hex, which is all that control stores of it."""
    return digest[:16]


def secret_digest(secret: str) -> str:
    """SHA-256 in hex: what control stores of a token's secret, and Redis of a password. Both have 256 random
    bits, so a plain hash is safe."""
    return hashlib.sha256(secret.encode()).hexdigest()


def with_login(url: str, user: str, password: str) -> str:
    """Return the URL with another user and password."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{place}"
    return urlunsplit(parts._replace(netloc=netloc))


def without_login(url: str) -> str:
    """Return the URL without its user name and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" + urlunsplit(("", "", *parts[2:]))


class Join(Message, frozen=True, kw_only=True):
    """A request to join. The worker repeats it until it is admitted."""

    name: Name
    secret: Annotated[str, Meta(max_length=600)]
    """Of the token, sealed for control together with the sender's node id and `password` (`seal_secret`)."""
    password: Digest
    """SHA-256 of the password that the worker generated for its broker account."""
    zone: Annotated[str, Meta(max_length=100)] = ""
    tags: Tags = []
    software: Annotated[str, Meta(max_length=100)] = ""


def seal_secret(secret: str, *, sender: NodeId, password: Digest, reader: NodeId) -> str:
    """Return the `secret` of a join request signed by `sender`. It contains the node id and password that it
    is valid for, so it is worthless in any other request. Raises KeyFormatError."""
    return encrypt(json.dumps([secret, sender, password]), reader=reader)


def open_secret(request: Join, *, sender: NodeId, key_pair: KeyPair) -> str:
    """Return the token's secret from a request signed by `sender`. Raises MessageRejected: MALFORMED if it
    cannot be decrypted, WRONG_SENDER if it was sealed for another node or password."""
    text = decrypt(request.secret, key_pair)
    try:
        secret, node, password = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise MessageRejected(
            RejectReason.MALFORMED, "the sealed secret is not what a worker seals"
        ) from None
    if (node, password) != (sender, request.password) or not isinstance(secret, str):
        raise MessageRejected(
            RejectReason.WRONG_SENDER, f"{sender} sent a secret that another node has sealed"
        )
    return secret


class Welcome(Message, frozen=True, kw_only=True):
    """Control's answer, in the token's own queue."""

    waiting: bool = False
    """The worker waits for an operator's approval; ask again, the other fields mean nothing yet."""
    user: Annotated[str, Meta(max_length=100)] = ""
    """Name of the account made for this worker. Empty: it keeps the login of its token."""
    events: bool = True
    """Whether that account may publish Celery's events."""
    name: Annotated[str, Meta(max_length=100)] = ""
    """Name of the worker in the farm. Empty: not known."""
