"""What replication needs of a connection to a peer, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ._types import Buffer


class Connection(Protocol):
    """An encrypted, ordered message stream to one peer.

    Nothing is read from the peer until `on_message` is set, so it may be set at any time after the
    connection was handed over. `on_close` set after the end is called soon after.
    """

    on_message: Callable[[bytes], None] | None
    """Called with each message of the peer."""

    on_readable: Callable[[], None] | None
    """Called when `read` may have something, instead of `on_message`: set one of them. Nothing is decrypted
    before it is read."""

    on_drain: Callable[[], None] | None
    """Called when `writable` has become true again."""

    on_close: Callable[[Exception | None], None] | None
    """Called once, at the end, with what went wrong, or None after a graceful end."""

    @property
    def public_key(self) -> bytes:
        """Our own 32-byte key."""

    @property
    def remote_public_key(self) -> bytes:
        """The 32-byte key that the peer has proven to hold."""

    @property
    def handshake_hash(self) -> bytes:
        """64 bytes that only the two ends know; capabilities are derived from it."""

    @property
    def is_initiator(self) -> bool:
        """Whether we dialled."""

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """Where the peer is, as far as there is such a place."""

    @property
    def bytes_in(self) -> int:
        """Bytes of the encrypted stream received so far."""

    @property
    def bytes_out(self) -> int:
        """Bytes of the encrypted stream written so far."""

    @property
    def messages_in(self) -> int:
        """Messages received so far, keep-alives not counted."""

    @property
    def messages_out(self) -> int:
        """Messages sent so far, keep-alives not counted."""

    @property
    def opened_at(self) -> float:
        """When the keys were agreed, in seconds of `time.monotonic`."""

    @property
    def rtt(self) -> float | None:
        """Smoothed round-trip time in seconds; None before it was measured."""

    @property
    def writable(self) -> bool:
        """Whether little enough is queued that sending more makes sense."""

    @property
    def closed(self) -> bool: ...

    def send(self, message: Buffer) -> bool:
        """Sends one message of at most 2^24 - 18 bytes. Returns `writable`. Nothing happens after the end."""

    def send_many(self, messages: Iterable[Buffer]) -> bool:
        """Sends messages that then share packets. Returns `writable`."""

    @property
    def held_bytes(self) -> int:
        """Bytes received and not read: complete messages, and an incomplete one."""

    @property
    def readable(self) -> bool:
        """Whether `read` has a whole message."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes sent that were not acknowledged yet, or not even sent."""

    max_frame_bytes: int
    """Longest frame that is accepted. A longer one ends the connection."""

    def read(self) -> bytes | None:
        """The next message, empty if it only says that the peer is alive. None if there is none now."""

    def pause_reading(self) -> None:
        """No messages from now on; in the end the peer has to wait."""

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        """Ends gracefully: what was sent still arrives."""

    def destroy(self, error: Exception | None = None) -> None:
        """Ends at once."""
