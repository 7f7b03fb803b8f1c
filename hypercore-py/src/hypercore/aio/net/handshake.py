"""Securing a plain stream: the secret stream's own handshake, for peers that did not meet through the DHT."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from ..._types import Buffer
from ...crypto import KeyPair
from ...errors import ConnectionClosed, RemoteProtocolError
from ...secretstream import XXHandshake
from .secret_connection import KEEP_ALIVE, SecretConnection
from .udx_transport import StreamHandler, StreamTransport


async def secure(
    stream: StreamTransport,
    *,
    is_initiator: bool,
    key_pair: KeyPair,
    keep_alive: float = KEEP_ALIVE,
    random: Callable[[int], bytes] = os.urandom,
) -> SecretConnection:
    """Runs the handshake over `stream`, which is connected or will be, and returns the connection.

    Raises HandshakeError when the peer does not keep to it and ConnectionClosed when the stream ends first.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    handshake = XXHandshake(is_initiator=is_initiator, key_pair=key_pair, random=random)

    def on_data(chunks: list[Buffer]) -> None:
        try:
            answer = handshake.respond(b"".join(chunks))
        except RemoteProtocolError as error:
            done.set_exception(error)
            stream.destroy()
            return
        if answer:
            stream.write(answer)
        if handshake.result is not None and not done.done():
            stream.pause_reading()
            done.set_result(None)

    def on_end(error: ConnectionClosed | None = None) -> None:
        if not done.done():
            done.set_exception(error or ConnectionClosed("the stream ended during the handshake"))

    stream.handler = StreamHandler(on_data=on_data, on_end=on_end, on_close=on_end)
    first = handshake.start()
    if first:
        stream.write(first)
    try:
        await done
    except asyncio.CancelledError:
        stream.destroy()
        raise
    assert handshake.result is not None
    return SecretConnection(
        stream,
        handshake.result,
        loop=loop,
        keep_alive=keep_alive,
        random=random,
        early=handshake.take_rest(),
    )
