"""Answers to the internal commands, from persistent and other nodes.

Source: dht-rpc index.js `_onrequest` (6.27.0).
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count

from .address import ADDRESS_BYTES, Address, decode_address
from .constants import Internal, RpcError
from .incoming_request import Inbound
from .table_maintenance import TableMaintenance

MAX_PING_DELAY = 10.0
"""Longest DELAYED_PING in seconds that is answered."""
MAX_DELAYED_PINGS = 256
"""Waiting DELAYED_PINGs; further ones are not answered."""


class InternalCommands:
    def __init__(self, maintenance: TableMaintenance) -> None:
        self._maintenance = maintenance
        self._delayed: list[tuple[float, int, Inbound]] = []
        self._order = count()

    def handle(self, inbound: Inbound, now: float) -> None:
        value = inbound.value or b""
        match inbound.request.command:
            case Internal.PING:
                inbound.reply(token=False, closer_nodes=False)
            case Internal.PING_NAT if len(value) >= 2:
                # Sent to another port of the sender, which shows whether that port is reachable
                if port := int.from_bytes(value[:2], "little"):
                    inbound.reply(token=False, closer_nodes=False, to=Address(inbound.source.host, port))
            case Internal.FIND_NODE if inbound.target is not None:
                inbound.reply(token=False)
            case Internal.DOWN_HINT if len(value) >= ADDRESS_BYTES:
                self._maintenance.reported_down(decode_address(value[:ADDRESS_BYTES]), now)
                inbound.reply(token=False, closer_nodes=False)
            case Internal.DELAYED_PING if len(value) >= 4:
                self._delay(inbound, int.from_bytes(value[:4], "little") / 1000, now)
            case command if command > max(Internal):
                inbound.reply(error=RpcError.UNKNOWN_COMMAND, token=False)

    def next_deadline(self) -> float | None:
        return self._delayed[0][0] if self._delayed else None

    def handle_timer(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            heappop(self._delayed)[2].reply(token=False, closer_nodes=False)

    def _delay(self, inbound: Inbound, seconds: float, now: float) -> None:
        if seconds <= MAX_PING_DELAY and len(self._delayed) < MAX_DELAYED_PINGS:
            heappush(self._delayed, (now + seconds, next(self._order), inbound))
