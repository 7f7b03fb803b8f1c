"""The interface of a connection to a peer, over any transport."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ._types import Buffer

MAX_FRAME_BYTES = 2**24 - 1
"""Longest frame, an encrypted message, in bytes, by its length field. Also the bound on an incomplete one of
a peer, without the chunks received last."""

MAX_EARLY_FRAME_BYTES = 2 * 2**20
"""The same for a peer that has not opened any channel yet. An official peer opens the channels of all its
cores in one batch, 100 to 175 bytes for each: this is enough for 12,000. Ours (protomux: 8 MiB)."""


class Connection(Protocol):
    """An encrypted, ordered message stream to one peer.

    No message is read before `on_message` is set, so it may be set at any time. `on_close` set after the end
    is called soon after.
    """

    on_message: Callable[[bytes], None] | None
    """Called with each message of the peer."""

    on_readable: Callable[[], None] | None
    """Called when `read` may return a message, instead of `on_message`: set one of them. Messages are
    decrypted when they are read."""

    on_drain: Callable[[], None] | None
    """Called when `writable` becomes true again."""

    on_close: Callable[[Exception | None], None] | None
    """Called once at the end, with the error, or None after a graceful end."""

    on_work: Callable[[float], None] | None
    """Called with the seconds of this thread's processor time that packets of the peer, or sending to it,
    have just taken, other callbacks included."""

    @property
    def public_key(self) -> bytes:
        """Our own 32-byte key."""

    @property
    def remote_public_key(self) -> bytes:
        """The peer's 32-byte key."""

    @property
    def handshake_hash(self) -> bytes:
        """64 bytes that only the two ends know; capabilities are derived from it."""

    @property
    def is_initiator(self) -> bool:
        """Whether we dialled."""

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """Address of the peer, None without one."""

    @property
    def bytes_in(self) -> int:
        """Bytes of the encrypted stream received so far."""

    @property
    def bytes_out(self) -> int:
        """Bytes of the encrypted stream written so far."""

    @property
    def messages_in(self) -> int:
        """Messages received so far, without keep-alives."""

    @property
    def messages_out(self) -> int:
        """Messages sent so far, without keep-alives."""

    @property
    def opened_at(self) -> float:
        """Time of the handshake, in seconds of `time.monotonic`."""

    @property
    def rtt(self) -> float | None:
        """Smoothed round-trip time in seconds; None before it was measured."""

    @property
    def writable(self) -> bool:
        """Whether more should be sent now, since little is queued."""

    @property
    def closed(self) -> bool:
        """Whether it has ended, for whatever reason."""

    def send(self, message: Buffer) -> bool:
        """Send one message of at most 2^24 - 18 bytes. Returns `writable`. Ignored after the end."""

    def send_many(self, messages: Iterable[Buffer]) -> bool:
        """Send messages that share packets. Returns `writable`."""

    @property
    def held_bytes(self) -> int:
        """Bytes received and not read: complete messages, and an incomplete one."""

    @property
    def readable(self) -> bool:
        """Whether `read` has a whole message."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes queued or sent, and not acknowledged yet."""

    max_frame_bytes: int
    """Longest frame that is accepted. A longer one ends the connection."""

    def read(self) -> bytes | None:
        """The next message, empty for a keep-alive; None without one."""

    def pause_reading(self) -> None:
        """Stop reading; the peer must wait when our window is full."""

    def resume_reading(self) -> None:
        """Deliver messages again after `pause_reading`."""

    def close(self) -> None:
        """End gracefully: sent messages still arrive."""

    def destroy(self, error: Exception | None = None) -> None:
        """End at once."""
