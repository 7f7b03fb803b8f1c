"""TIME_WAIT of a closed stream: the answer to a peer that missed the end."""

from __future__ import annotations

from .packet import FLAG_DATA, FLAG_DESTROY, FLAG_END, FLAG_HEARTBEAT, RawPacket

_ANSWERED = (FLAG_DATA | FLAG_END | FLAG_HEARTBEAT) << 16


class TimeWait:
    """One packet, repeated on request for `limits.TIME_WAIT_SECONDS`.

    After a graceful end it is the last acknowledgement, or END if the peer has not acknowledged that; after a
    destroyed stream it is DESTROY.
    """

    __slots__ = ("_answer", "_destroyed", "_done")

    def __init__(self, answer: bytes, *, destroyed: bool) -> None:
        self._answer = answer
        self._destroyed = destroyed
        self._done = False

    def answer(self, packets: list[RawPacket]) -> bytes | None:
        """The datagram to answer these packets with, or None. One answer is enough for a batch."""
        if self._done:
            return None
        answer = None
        for header, _ in packets:
            flags = header[0]
            if flags & FLAG_DESTROY << 16:
                self._done = True
                return None
            if flags & _ANSWERED:
                answer = self._answer
        return answer
