"""Events about bootstrap nodes that do not resolve or do not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from hypercore.dht.address import BootstrapNode
from hypercore.dht.node import NodeEvent

from .model.events import Event, NetworkChanged, Problem

UNRESOLVED = "BOOTSTRAP_UNRESOLVED"
SILENT = "BOOTSTRAP_SILENT"
EMITTED = {"emitted": True}
"""Marks log records that are also events: where events are shown, the log line is left out."""

log = logging.getLogger(__name__)


class WatchedNode(Protocol):
    """The part of a DHT node that `BootstrapWatch` uses."""

    @property
    def unresolved(self) -> dict[str, str]:
        """Names of bootstrap nodes that do not resolve, with the reason."""

    def subscribe(self, callback: Callable[[NodeEvent], None], /) -> Callable[[], None]:
        """Call `callback` for every event of the node. Returns a function that ends this."""


class BootstrapWatch:
    """Emits each problem once, and `NetworkChanged` when the DHT is reached afterwards; from `start` to
    `stop`."""

    def __init__(
        self, node: WatchedNode, emit: Callable[[Event], None], bootstrap: Sequence[BootstrapNode]
    ) -> None:
        self._node = node
        self._emit = emit
        self._nodes = ", ".join(address.label for address in bootstrap)
        self._unresolved: set[str] = set()
        self._is_silent = False
        self._has_failed = False
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        """Watch the node from now on."""
        self._unsubscribe = self._node.subscribe(self._on_event)

    def stop(self) -> None:
        """Stop the check, if it was started."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _on_event(self, event: NodeEvent) -> None:
        match event:
            case NodeEvent.NAME_UNRESOLVED:
                self._report_names()
            case NodeEvent.BOOTSTRAP_FAILED if not self._is_silent:
                self._is_silent = True
                self._report(
                    SILENT,
                    f"no node of the DHT answers (bootstrap nodes: {self._nodes}): no peer is found until "
                    "one does. What is here is kept, and they are asked again and again. Check the network, "
                    "and --bootstrap or SEEDERFARM_BOOTSTRAP",
                )
                self._emit(NetworkChanged(state="unreachable"))
            case NodeEvent.BOOTSTRAPPED | NodeEvent.ONLINE if self._has_failed:
                self._has_failed = self._is_silent = False
                log.warning("nodes of the DHT answer", extra=EMITTED)
                self._emit(NetworkChanged(state="reached"))

    def _report_names(self) -> None:
        for name, reason in self._node.unresolved.items():
            if name not in self._unresolved:
                self._unresolved.add(name)
                self._report(
                    UNRESOLVED,
                    f"the name of the bootstrap node {name} does not resolve ({reason}): it is looked up "
                    "again and again. Check --bootstrap or SEEDERFARM_BOOTSTRAP, and the DNS",
                )

    def _report(self, code: str, text: str) -> None:
        self._has_failed = True
        log.warning("%s", text, extra=EMITTED)
        self._emit(Problem(key=None, code=code, message=text))
