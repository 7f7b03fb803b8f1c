"""A `wakeup` channel, the same for both ends: hints which cores of a group have news.

Format: protomux-wakeup 2.9.0. The channel's id is the discovery key of the group's key (for a blind peer: of
the referrer); the handshake proves that the sender knows that key: `uint version(0) · fixed32 capability ·
uint flags(1 active)`. Messages: 0 lookup, 1 announce, 2 info.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hmac import compare_digest

from ..codec import Reader, Writer
from ..crypto import blake2b_256, discovery_key, namespace
from ..errors import FrameDecodeError
from ..mux import Channel, CloseReason, Muxer
from .messages import CoreRef, read_refs, write_ref

PROTOCOL = "wakeup"

MAX_HINTS = 32
"""Cores in the first announcement to a peer (blind-peer)."""

MAX_HINTS_READ = 4096
"""Cores in an announcement of a peer; a longer one is ignored. Ours."""

LOOKUP, ANNOUNCE, INFO = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeupHandshake:
    """See the module."""

    capability: bytes
    active: bool = False

    def encode(self, w: Writer) -> None:
        w.uint(0).fixed32(self.capability).uint(self.active)

    @classmethod
    def decode(cls, r: Reader) -> WakeupHandshake:
        r.uint()
        return cls(capability=r.fixed32(), active=bool(r.uint() & 1))


def capability(key: bytes, handshake_hash: bytes, *, sender_is_initiator: bool) -> bytes:
    """The proof that the sender knows the group's key, for one connection with that 64-byte Noise hash."""
    return blake2b_256(namespace("wakeup", 0 if sender_is_initiator else 1), key, handshake_hash)


def write_lookup(w: Writer, core: bytes | None) -> None:
    """Flag bit: 1, a hash follows."""
    w.uint(core is not None)
    if core is not None:
        w.fixed32(core)


class WakeupChannel:
    """`open` it; a server does so when the peer has opened its own, or may know the key since.

    `on_active(channel)` is called when the peer wants hints, `on_hints(channel, cores)` when it sends some,
    `on_close(channel)` at the end. A peer that does not know the key is closed and never active.
    """

    def __init__(
        self,
        muxer: Muxer,
        key: bytes,
        *,
        on_active: Callable[[WakeupChannel], None] = lambda channel: None,
        on_hints: Callable[[WakeupChannel, tuple[CoreRef, ...]], None] = lambda channel, cores: None,
        on_close: Callable[[WakeupChannel], None] = lambda channel: None,
    ) -> None:
        self.muxer = muxer
        self.key = key
        self.peer_active = False
        """Whether the peer wants hints."""
        self._on_active = on_active
        self._on_hints = on_hints
        self._on_close = on_close
        self._channel: Channel = muxer.create_channel(PROTOCOL, discovery_key(key), self)

    @property
    def opened(self) -> bool:
        """Whether both sides have opened it."""
        return self._channel.opened

    def open(self, now: float, *, active: bool = False) -> None:
        """Open our side. `active`: we want hints."""
        proof = capability(self.key, self.muxer.handshake_hash, sender_is_initiator=self.muxer.is_initiator)
        w = Writer()
        WakeupHandshake(capability=proof, active=active).encode(w)
        self._channel.open(bytes(w), now)

    def close(self, now: float) -> None:
        """Close the channel. A second call does nothing."""
        self._channel.close(now)

    def announce(self, cores: Sequence[CoreRef]) -> None:
        """Hint that these cores have that length."""
        self._channel.send(ANNOUNCE, bytes(Writer().array(cores, write_ref)))

    def lookup(self, core: bytes | None = None) -> None:
        """Ask for hints."""
        w = Writer()
        write_lookup(w, core)
        self._channel.send(LOOKUP, bytes(w))

    def set_active(self, active: bool) -> None:
        """Report whether we want hints."""
        self._channel.send(INFO, bytes(Writer().uint(active)))

    # --- for the muxer

    def channel_opened(self, handshake: Reader, now: float) -> None:
        try:
            hello = WakeupHandshake.decode(handshake)
        except FrameDecodeError:
            self.close(now)
            return
        muxer = self.muxer
        expected = capability(self.key, muxer.handshake_hash, sender_is_initiator=not muxer.is_initiator)
        if not compare_digest(hello.capability, expected):
            self.close(now)
            return
        self._set_peer_active(hello.active)

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        try:
            if type_id == INFO:
                self._set_peer_active(bool(message.uint() & 1))
            elif type_id == ANNOUNCE:
                self._on_hints(self, read_refs(message, MAX_HINTS_READ))
        except FrameDecodeError:
            pass  # a hint may be lost

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self.peer_active = False
        self._on_close(self)

    def channel_flush(self, now: float) -> None:
        pass

    def channel_writable(self, now: float) -> None:
        pass

    def _set_peer_active(self, active: bool) -> None:
        was_active, self.peer_active = self.peer_active, active
        if active and not was_active:
            self._on_active(self)
