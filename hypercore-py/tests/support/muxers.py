"""Muxers that record what happens to their channels."""

from hypercore.codec import Reader, Writer
from hypercore.mux import (
    Channel,
    CloseReason,
    Muxer,
)


class Recorder:
    """A channel handler that records what it receives, as the vectors spell it."""

    def __init__(self, log: list[object] | None = None) -> None:
        self.log: list[object] = [] if log is None else log
        self.channel: Channel | None = None
        self.closed: CloseReason | None = None
        self.on_message = lambda type_id, payload: None

    def channel_opened(self, handshake: Reader, now: float) -> None:
        self.log.append(["open", handshake.rest().hex()])

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        if type_id == 0:
            text = message.string()
            self.log.append(["m0", text])
            self.on_message(type_id, text)
        elif type_id == 1:
            self.log.append(["m1", message.uint()])

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self.closed = reason
        self.log.append(["close", reason is not CloseReason.LOCAL])

    def channel_flush(self, now: float) -> None:
        self.log.append(["flush"])

    def channel_writable(self, now: float) -> None:
        self.log.append(["writable"])


def new_muxer() -> Muxer:
    return Muxer(is_initiator=True, handshake_hash=bytes(64))


def open_channel(
    muxer: Muxer,
    protocol: str,
    channel_id: bytes | None,
    handshake: bytes = b"",
    log: list[object] | None = None,
) -> Recorder:
    recorder = Recorder(log)
    recorder.channel = muxer.create_channel(protocol, channel_id, recorder)
    recorder.channel.open(handshake, 0)
    return recorder


def text(value: str) -> bytes:
    return bytes(Writer().string(value))


def opening(number: int, protocol: str, channel_id: bytes = b"", handshake: bytes = b"") -> bytes:
    w = Writer().uint(0).uint(1).uint(number).string(protocol).optional_buffer(channel_id)
    return bytes(w.raw(handshake))
