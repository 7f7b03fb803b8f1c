"""The handshake state machine for the patterns IK and XX.

Source: noise-handshake noise.js (4.2.0); hyperdht lib/noise-wrap.js and @hyperswarm/secret-stream
lib/handshake.js for how the two patterns are used. Vectors: `transport/noise.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from .._types import Buffer
from ..crypto import KeyPair
from ..errors import HandshakeError, LocalProtocolError
from .curve import DH_BYTES, diffie_hellman
from .symmetric import TAG_BYTES, SymmetricState

Pattern = Literal["IK", "XX"]

MAX_MESSAGE_BYTES = 65535
"""Longest handshake message, in bytes (Noise specification, section 3)."""

PATTERNS: dict[Pattern, tuple[tuple[str, ...], ...]] = {
    "IK": (("e", "es", "s", "ss"), ("e", "ee", "se")),
    "XX": (("e",), ("e", "ee", "s", "es"), ("s", "se")),
}
"""The tokens of each message. Even messages are the initiator's."""


class HandshakeResult(NamedTuple):
    """What a finished handshake leaves behind.

    `tx` and `rx` are the 32-byte keys to send and receive with, `hash` is the 64-byte transcript hash.
    """

    tx: bytes
    rx: bytes
    hash: bytes
    is_initiator: bool
    public_key: bytes
    remote_public_key: bytes


class Handshake:
    """One side of a Noise handshake. `write` and `read` take turns until `complete`.

    `random(size)` gives the seed of the ephemeral key. In IK the initiator must know the responder's key.
    """

    def __init__(
        self,
        pattern: Pattern,
        *,
        initiator: bool,
        static: KeyPair,
        random: Callable[[int], bytes],
        prologue: bytes = b"",
        remote_public_key: bytes | None = None,
    ) -> None:
        self._messages = PATTERNS[pattern]
        self._initiator = initiator
        self._static = static
        self._random = random
        self._ephemeral: KeyPair | None = None
        self._remote_static: bytes | None = None
        self._remote_ephemeral: bytes | None = None
        self._step = 0
        self._result: HandshakeResult | None = None
        self._failed = False
        self._symmetric = SymmetricState(b"Noise_%s_Ed25519_ChaChaPoly_BLAKE2b" % pattern.encode(), prologue)
        if pattern == "IK":
            if initiator:
                if remote_public_key is None or len(remote_public_key) != DH_BYTES:
                    raise LocalProtocolError("IK needs the 32-byte public key of the responder")
                self._remote_static = remote_public_key
            self._symmetric.mix_hash(self._remote_static or static.public_key)

    @property
    def complete(self) -> bool:
        """Whether all messages have been exchanged."""
        return self._result is not None

    @property
    def result(self) -> HandshakeResult:
        """Keys and names. Raises LocalProtocolError before the last message."""
        if self._result is None:
            raise LocalProtocolError("the handshake is not finished")
        return self._result

    @property
    def remote_public_key(self) -> bytes | None:
        """The static key of the other side, as soon as it is known."""
        return self._remote_static

    @property
    def transcript_hash(self) -> bytes:
        """The 64-byte hash of the handshake so far."""
        return self._symmetric.hash

    def write(self, payload: bytes = b"") -> bytes:
        """The next message, carrying `payload`.

        Raises LocalProtocolError out of turn or when too long, and HandshakeError when a key of the other
        side turns out to be no point of the curve: that shows when it is first used.
        """
        tokens = self._take_turn(ours=True)
        try:
            return self._write(tokens, payload)
        except HandshakeError:
            self._failed = True
            raise

    def _write(self, tokens: tuple[str, ...], payload: bytes) -> bytes:
        parts = []
        for token in tokens:
            if token == "e":
                self._ephemeral = KeyPair.from_seed(self._random(32))
                self._symmetric.mix_hash(self._ephemeral.public_key)
                parts.append(self._ephemeral.public_key)
            elif token == "s":
                parts.append(self._symmetric.encrypt_and_hash(self._static.public_key))
            else:
                self._mix_token(token)
        parts.append(self._symmetric.encrypt_and_hash(payload))
        message = b"".join(parts)
        if len(message) > MAX_MESSAGE_BYTES:
            raise LocalProtocolError(f"a handshake message has at most {MAX_MESSAGE_BYTES} bytes")
        self._advance()
        return message

    def read(self, message: Buffer) -> bytes:
        """The payload of the other side's next message. Raises HandshakeError; the handshake is then dead."""
        tokens = self._take_turn(ours=False)
        try:
            return self._read(tokens, bytes(message))
        except HandshakeError:
            self._failed = True
            raise

    def _read(self, tokens: tuple[str, ...], message: bytes) -> bytes:
        if len(message) > MAX_MESSAGE_BYTES:
            raise HandshakeError(f"a handshake message of {len(message)} bytes")
        at = 0
        for token in tokens:
            if token == "e":
                self._remote_ephemeral = _part(message, at, DH_BYTES)
                self._symmetric.mix_hash(self._remote_ephemeral)
                at += DH_BYTES
            elif token == "s":
                size = DH_BYTES + (TAG_BYTES if self._symmetric.has_key else 0)
                self._remote_static = self._symmetric.decrypt_and_hash(_part(message, at, size))
                at += size
            else:
                self._mix_token(token)
        payload = self._symmetric.decrypt_and_hash(message[at:])
        self._advance()
        return payload

    def _take_turn(self, *, ours: bool) -> tuple[str, ...]:
        if self._failed or self.complete:
            raise LocalProtocolError("the handshake is over")
        if ((self._step % 2 == 0) == self._initiator) != ours:
            raise LocalProtocolError("it is the other side's turn to speak")
        return self._messages[self._step]

    def _mix_token(self, token: str) -> None:
        """`ee`, `es`, `se` and `ss`: first letter the initiator's key, second the responder's."""
        ours, theirs = (token[0], token[1]) if self._initiator else (token[1], token[0])
        local = self._static if ours == "s" else self._ephemeral
        remote = self._remote_static if theirs == "s" else self._remote_ephemeral
        if local is None or remote is None:  # the patterns above never ask for a key before it was sent
            raise LocalProtocolError(f"{token} before its keys are known")
        self._symmetric.mix_key(diffie_hellman(local, remote))

    def _advance(self) -> None:
        self._step += 1
        if self._step < len(self._messages):
            return
        first, second = self._symmetric.split()
        tx, rx = (first, second) if self._initiator else (second, first)
        remote = self._remote_static
        if remote is None:
            raise LocalProtocolError("a pattern ended without the remote static key")
        self._result = HandshakeResult(
            tx, rx, self._symmetric.hash, self._initiator, self._static.public_key, remote
        )


def _part(message: bytes, at: int, size: int) -> bytes:
    part = message[at : at + size]
    if len(part) != size:
        raise HandshakeError("the handshake message is cut short")
    return part
