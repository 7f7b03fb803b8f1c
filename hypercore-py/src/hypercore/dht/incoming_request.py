"""A request from another node, and the ways to answer it."""

from __future__ import annotations

from typing import Protocol

from .address import Address
from .constants import RpcError
from .packet import Request, Response
from .reply_budget import ReplyBudget


class Responder(Protocol):
    """The methods of a node that `Inbound` uses."""

    @property
    def own_id(self) -> bytes | None: ...

    def issue_token(self, host: str) -> bytes: ...

    def closer_addresses(self, target: bytes) -> tuple[Address, ...]: ...

    def send(self, data: bytes, address: Address) -> None: ...


class Inbound:
    """A request from `source`. `id` is its node id if that matches its address; `size` is the datagram's
    bytes."""

    __slots__ = ("_node", "id", "request", "size", "source")

    def __init__(
        self, node: Responder, request: Request, source: Address, sender_id: bytes | None, size: int
    ) -> None:
        self.size = size
        self._node = node
        self.request = request
        self.source = source
        self.id = sender_id

    @property
    def target(self) -> bytes | None:
        return self.request.target

    @property
    def value(self) -> bytes | None:
        return self.request.value

    def reply(
        self,
        value: bytes | None = None,
        *,
        error: int = RpcError.NONE,
        token: bool = True,
        closer_nodes: bool = True,
        to: Address | None = None,
    ) -> None:
        """Send the answer. `to` differs from the sender when a relay forwards an answer."""
        address = self.source if to is None else to
        self._node.send(self._response(value, error, token, closer_nodes, address), address)

    def reply_within(self, budget: ReplyBudget, value: bytes | None, now: float) -> None:
        """Answer with a record, or with a token only if the budget of the sender's address is used up."""
        whole = self._response(value, RpcError.NONE, True, True, self.source)
        if value is None or budget.take(self.source, self.size, len(whole), now):
            self._node.send(whole, self.source)
        else:
            self.reply(closer_nodes=False)

    def _response(
        self, value: bytes | None, error: int, token: bool, closer_nodes: bool, to: Address
    ) -> bytes:
        target = self.request.target
        return Response(
            tid=self.request.tid,
            to=to,
            id=self._node.own_id,
            token=self._node.issue_token(to.host) if token else None,
            closer_nodes=self._node.closer_addresses(target) if closer_nodes and target else (),
            error=error,
            value=value,
        ).encode()

    def relay(self, value: bytes, to: Address) -> None:
        """Forward the request with another value: same tid, command, target. Neither tracked nor retried."""
        self._node.send(
            Request(
                tid=self.request.tid,
                to=to,
                command=self.request.command,
                internal=self.request.internal,
                id=self._node.own_id,
                target=self.request.target,
                value=value,
            ).encode(),
            to,
        )
