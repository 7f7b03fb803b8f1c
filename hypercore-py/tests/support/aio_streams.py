"""Streams and connections on two sockets of loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import uvloop

from hypercore.aio.net.udp_socket import Endpoint
from hypercore.aio.net.udx_transport import StreamTransport

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def run(
    main: Coroutine[Any, Any, None],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(main, 30))


@asynccontextmanager
async def endpoint_of_two() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    endpoint.bind("127.0.0.1")
    endpoint.bind("127.0.0.1")
    try:
        yield endpoint
    finally:
        endpoint.close()


def listen(stream: StreamTransport, **callbacks: Callable[..., Any]) -> None:
    """Add callbacks (`on_data`, …) to those of a stream."""
    stream.handler = replace(stream.handler, **callbacks)  # type: ignore[arg-type]


def stream_pair(endpoint: Endpoint) -> tuple[StreamTransport, StreamTransport]:
    left, right = StreamTransport(endpoint), StreamTransport(endpoint)
    first, second = endpoint.sockets
    left.connect(right.local_id, second.local_address, first)
    right.connect(left.local_id, first.local_address, second)
    return left, right
