"""What a replicator needs of a core. `hypercore.core.Core` has it, over disk and over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..bitfield import Bitfield
from ..manifest import Manifest
from ..merkle.head import TreeHead
from ..merkle.reorg import Reorg
from ..node import Node
from ..wire.data import Data
from ..wire.request import Request


class Change(Protocol):
    """What happened to a core, in one step."""

    @property
    def upgraded(self) -> bool:
        """It has grown."""

    @property
    def truncated_to(self) -> int | None:
        """Blocks from here on are others, or gone, and the fork is a higher one."""

    @property
    def block(self) -> int | None:
        """A block that is here now."""

    @property
    def manifest(self) -> bool:
        """The manifest became known."""

    @property
    def appended(self) -> tuple[int, int] | None:
        """The local writer added blocks start..end."""

    @property
    def lost(self) -> tuple[int, int] | None:
        """No block of start..end is here any more: cleared by their owner, or found rotten."""


class ReplicatedCore(Protocol):
    """What is true of the core (`head`, `bitfield`) and what of it is durable; proofs out, and proofs in."""

    key: bytes

    @property
    def discovery_key(self) -> bytes: ...

    manifest: Manifest | None
    head: TreeHead

    @property
    def has_manifest(self) -> bool:
        """The manifest is known and has to be sent to others: not so for compat cores."""

    @property
    def durable_head(self) -> TreeHead:
        """The head that a crash cannot take away. A local writer shows no newer one to anybody."""

    bitfield: Bitfield
    """Blocks present."""
    durable: Bitfield
    """Those of them that a crash cannot take away. Only these are announced."""
    on_change: list[Callable[[Any], None]]
    """Called with a Change after every change, in order."""

    def node(self, index: int, /) -> Node | None: ...

    def missing_nodes(self, index: int, /) -> int:
        """Levels between block `index` and the first stored node above it."""

    def can_upgrade_from(self, length: int, /) -> bool:
        """Whether we hold what a peer of `length` blocks needs to follow us."""

    def prove(self, request: Request, /) -> Data:
        """Raises InvalidRequest or BlockNotAvailable."""

    def apply(self, data: Data, /) -> Change:
        """Raises VerificationError."""

    def start_reorg(self, data: Data, /) -> Reorg:
        """Raises VerificationError."""

    def apply_reorg(self, reorg: Reorg, /) -> Change: ...
