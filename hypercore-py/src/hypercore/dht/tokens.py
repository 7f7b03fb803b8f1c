"""Tokens: proof that a requester receives at the address it sends from.

Source: dht-rpc lib/io.js `token`. Only the issuer reads them; the construction is the official one.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from ..crypto import blake2b_256

ROTATION_SECONDS = 7.5
"""Seconds between two secrets; a token is valid for one to two of these (10 drain ticks of 750 ms)."""


class TokenIssuer:
    """Issues and checks tokens under two rotating secrets."""

    __slots__ = ("_current", "_previous", "_random_bytes", "_rotate_at")

    def __init__(self, random_bytes: Callable[[int], bytes], now: float) -> None:
        self._random_bytes = random_bytes
        self._current = random_bytes(32)
        self._previous = random_bytes(32)
        self._rotate_at = now + ROTATION_SECONDS

    def issue(self, host: str, now: float) -> bytes:
        """A token for a requester at `host`."""
        self._rotate(now)
        return blake2b_256(host.encode(), key=self._current)

    def accepts(self, token: bytes, host: str, now: float) -> bool:
        """Whether we issued `token` to `host` within the last two rotations."""
        self._rotate(now)
        name = host.encode()
        return any(
            compare_digest(token, blake2b_256(name, key=key)) for key in (self._current, self._previous)
        )

    def _rotate(self, now: float) -> None:
        if now < self._rotate_at:
            return
        late = now >= self._rotate_at + ROTATION_SECONDS
        self._previous = self._random_bytes(32) if late else self._current
        self._current = self._random_bytes(32)
        self._rotate_at = (now if late else self._rotate_at) + ROTATION_SECONDS
