"""How a worker comes to a farm: a token that the operator hands over, and the request that the worker
makes with it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

from msgspec import Meta

from .refusal import Reason, Refused
from .shapes import Name, NodeId, Shape, Tags, plain, read

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
            raise Refused(
                Reason.MALFORMED,
                f"a join token begins with {PREFIX}, as `seederfarm worker enroll` prints it",
            )
        word = text[len(PREFIX) :]
        try:
            data = json.loads(urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        except ValueError:
            raise Refused(Reason.MALFORMED, "the join token is cut short or damaged: copy it again") from None
        return read(data, cls)


class Join(Shape, frozen=True, kw_only=True):
    """Sent by a worker until it is answered with a manifest."""

    name: Name
    secret: Annotated[str, Meta(max_length=100)]
    zone: Annotated[str, Meta(max_length=100)] = ""
    tags: Tags = []
    software: Annotated[str, Meta(max_length=100)] = ""
