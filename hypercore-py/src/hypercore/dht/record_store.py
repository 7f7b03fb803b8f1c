"""The storing side of a persistent node: announcements, and small records.

Source: hyperdht lib/persistent.js (6.34.0). Invalid requests get no answer, as from official
nodes. The hash-chain refresh without a signature, which no client uses, and plugins are not implemented.
"""

from __future__ import annotations

from collections.abc import Callable

from .._types import Random
from ..codec import Reader, Writer
from ..crypto import blake2b_256
from ..errors import FrameDecodeError
from .constants import Command, RpcError
from .handshake_router import Route, Router
from .incoming_request import Inbound
from .messages import Announce, MutablePut, MutableRecord, PeerRecord
from .reply_budget import ReplyBudget, network_of
from .signing import verify_announce, verify_mutable, verify_unannounce
from .ttl_map import OwnedMap, RecordCache, TtlMap
from .work_budget import SIGNATURES, WorkBudget

LIFETIME = 20 * 60.0
"""Nominal seconds for which an announcement is kept; in fact two to four thirds of it."""
VALUE_LIFETIME = 48 * 3600.0
"""The same for mutable and immutable records, exactly."""
MAX_RECORDS = 32768
"""Announcements kept per generation, of some 600 bytes including overhead. Ours: official nodes keep twice as
many."""
MAX_RECORDS_PER_NETWORK = 12288
"""Of these, announcements from one /24 network; fewer when many are stored, see `ttl_map.share`. Ours: more
than the topics of one engine."""
MAX_PEERS_PER_TOPIC = 1024
"""Announcements of one topic kept per generation; the oldest is replaced. A reply names 20."""
MAX_BUMPS = 16384
"""Topics whose bump is kept, per generation."""
MAX_VALUE_BYTES = 16 << 20
"""Bytes of all mutable and immutable records, including overhead; beyond it the networks with most of them
lose their oldest. Ours."""
MAX_VALUE_BYTES_PER_NETWORK = 1 << 20
"""Of these, bytes of records from one /24 network. Ours."""
MUTABLE_BYTES = 64 + 8
"""Bytes of a mutable record beside its value: signature and number."""
MAX_PEERS_IN_REPLY = 20
"""Announcements named in a reply, a random sample if there are more."""
MAX_RELAYS = 3
"""Relay addresses kept per announcement."""
MAX_BUMP_AHEAD_MS = 60_000
"""Milliseconds that a bump may lie in the future."""


class Store:
    """`own_id`: the node's id. `wall_clock` returns Unix seconds (for bumps only)."""

    def __init__(
        self, *, own_id: bytes, router: Router, rng: Random, now: float, wall_clock: Callable[[], float]
    ) -> None:
        self._own_id = own_id
        self._router = router
        self._rng = rng
        self._wall_clock = wall_clock
        self._peers = RecordCache(
            max_records=MAX_RECORDS,
            max_per_topic=MAX_PEERS_PER_TOPIC,
            max_per_owner=MAX_RECORDS_PER_NETWORK,
            lifetime=LIFETIME,
            now=now,
        )
        self._bumps: TtlMap[bytes, int] = TtlMap(max_items=MAX_BUMPS, lifetime=LIFETIME, now=now)
        self._values: OwnedMap[tuple[Command, bytes], MutableRecord | bytes] = OwnedMap(
            max_bytes=MAX_VALUE_BYTES,
            max_bytes_per_owner=MAX_VALUE_BYTES_PER_NETWORK,
            lifetime=VALUE_LIFETIME,
        )
        """Records by the command that stores them, and target."""
        self._budget = ReplyBudget(now)
        self.signatures = WorkBudget(SIGNATURES, now)

    @property
    def value_bytes(self) -> int:
        """Bytes that mutable and immutable records take."""
        return self._values.size

    def handlers(self) -> dict[int, Callable[[Inbound, float], None]]:
        """The commands that are answered here."""
        by_command: dict[int, Callable[[Inbound, bytes, float], None]] = {
            Command.FIND_PEER: self._find_peer,
            Command.LOOKUP: self._lookup,
            Command.ANNOUNCE: self._announce,
            Command.UNANNOUNCE: self._unannounce,
            Command.MUTABLE_PUT: self._mutable_put,
            Command.MUTABLE_GET: self._mutable_get,
            Command.IMMUTABLE_PUT: self._immutable_put,
            Command.IMMUTABLE_GET: self._immutable_get,
        }
        return {command: self._guarded(handle, command) for command, handle in by_command.items()}

    def _find_peer(self, inbound: Inbound, target: bytes, now: float) -> None:
        route = self._router.routes.get(target, now)
        inbound.reply(route.record if route else None)

    def _lookup(self, inbound: Inbound, target: bytes, now: float) -> None:
        records = self._peers.sample(target, MAX_PEERS_IN_REPLY, self._rng, now)
        route = self._router.routes.get(target, now)
        if route is not None and len(records) < MAX_PEERS_IN_REPLY:
            records.append(route.record)
        if not records:
            inbound.reply()
            return
        reply = Writer().array(records, Writer.raw).uint(self._bumps.get(target, now) or 0)
        inbound.reply_within(self._budget, bytes(reply), now)

    def _announce(self, inbound: Inbound, target: bytes, now: float) -> None:
        message = Announce.decode(inbound.value or b"")
        token = inbound.request.token or b""
        if (
            message.peer is None
            or not self.signatures.take(inbound.source.host, now)
            or not verify_announce(message, target=target, node_id=self._own_id, token=token)
        ):
            return
        key = message.peer.public_key
        record = PeerRecord(
            public_key=key, relay_addresses=message.peer.relay_addresses[:MAX_RELAYS]
        ).encode()
        network = network_of(inbound.source.host)
        if blake2b_256(key) == target:
            if not self._router.routes.bring(target, Route(inbound.source, record), now, network):
                return
        else:
            if not self._peers.add(target, key, record, now, network):
                return
            self._bump(target, message.bump, now)
        inbound.reply(token=False, closer_nodes=False)

    def _bump(self, target: bytes, bump: int, now: float) -> None:
        if not bump or bump > self._wall_clock() * 1000 + MAX_BUMP_AHEAD_MS:
            return
        if bump > (self._bumps.get(target, now) or 0):
            self._bumps.set(target, bump, now)

    def _unannounce(self, inbound: Inbound, target: bytes, now: float) -> None:
        message = Announce.decode(inbound.value or b"")
        token = inbound.request.token or b""
        if (
            message.peer is None
            or not self.signatures.take(inbound.source.host, now)
            or not verify_unannounce(message, target=target, node_id=self._own_id, token=token)
        ):
            return
        if blake2b_256(message.peer.public_key) == target:
            self._router.routes.delete(target)
        self._peers.remove(target, message.peer.public_key)
        inbound.reply(token=False, closer_nodes=False)

    def _mutable_put(self, inbound: Inbound, target: bytes, now: float) -> None:
        put = MutablePut.decode(inbound.value or b"")
        if blake2b_256(put.public_key) != target or not put.value:
            return
        if not self.signatures.take(inbound.source.host, now):
            return
        if not verify_mutable(put.public_key, put.seq, put.value, put.signature):
            return
        known = self._mutable(target, now)
        if known is not None and put.seq == known.seq and put.value != known.value:
            inbound.reply(error=RpcError.SEQ_REUSED, token=False)
        elif known is not None and put.seq < known.seq:
            inbound.reply(error=RpcError.SEQ_TOO_LOW, token=False)
        else:
            record = MutableRecord(seq=put.seq, value=put.value, signature=put.signature)
            self._keep(Command.MUTABLE_PUT, target, record, len(put.value) + MUTABLE_BYTES, inbound, now)
            inbound.reply()

    def _mutable(self, target: bytes, now: float) -> MutableRecord | None:
        known = self._values.get((Command.MUTABLE_PUT, target), now)
        return known if isinstance(known, MutableRecord) else None

    def _keep(
        self,
        command: Command,
        target: bytes,
        value: MutableRecord | bytes,
        size: int,
        inbound: Inbound,
        now: float,
    ) -> None:
        network = network_of(inbound.source.host)
        self._values.set((command, target), value, size + len(target), network, now)

    def _mutable_get(self, inbound: Inbound, target: bytes, now: float) -> None:
        wanted = Reader(inbound.value or b"").uint()
        known = self._mutable(target, now)
        value = known.encode() if known is not None and known.seq >= wanted else None
        inbound.reply_within(self._budget, value, now)

    def _immutable_put(self, inbound: Inbound, target: bytes, now: float) -> None:
        value = inbound.value or b""
        if blake2b_256(value) == target:
            self._keep(Command.IMMUTABLE_PUT, target, value, len(value), inbound, now)
            inbound.reply()

    def _immutable_get(self, inbound: Inbound, target: bytes, now: float) -> None:
        value = self._values.get((Command.IMMUTABLE_PUT, target), now)
        inbound.reply_within(self._budget, value if isinstance(value, bytes) else None, now)

    def _guarded(
        self, handle: Callable[[Inbound, bytes, float], None], command: int
    ) -> Callable[[Inbound, float], None]:
        """`handle`, for requests with a target, a valid value and, if needed, a valid token. Others get no
        answer."""

        def guarded(inbound: Inbound, now: float) -> None:
            if inbound.target is None or (command in NEED_TOKEN and inbound.request.token is None):
                return
            if inbound.request.token is not None:
                self._budget.record_proven(inbound.source.host, now)
            try:
                handle(inbound, inbound.target, now)
            except FrameDecodeError:
                return

        return guarded


NEED_TOKEN = frozenset({Command.ANNOUNCE, Command.UNANNOUNCE, Command.MUTABLE_PUT, Command.IMMUTABLE_PUT})
"""Commands that store records: only for requesters that receive at the address they send from."""
