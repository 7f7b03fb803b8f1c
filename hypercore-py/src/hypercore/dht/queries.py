"""Operations on the DHT: find and announce peers, store small values.

Source: hyperdht index.js (6.34.0). Each function makes a `Query` that must be started; callbacks get the
results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..codec import encode_uint
from ..crypto import KeyPair, blake2b_256
from ..errors import FrameDecodeError
from .address import Address
from .constants import Command
from .messages import LookupReply, MutableRecord, PeerRecord
from .query import Query, QueryHost
from .rpc import OutgoingRequest, Reply, ReplyHandler
from .signing import sign_announce, sign_mutable, sign_unannounce, verify_mutable

FULL_REPLY = 20
"""Number of peers from which a reply may omit us although we are stored there."""


OnDone = Callable[[Query], None]
OnPeers = Callable[[Reply, tuple[PeerRecord, ...]], None]


def find_peer(
    node: QueryHost,
    target: bytes,
    *,
    seeds: Iterable[Address] = (),
    retries: int = 5,
    on_record: Callable[[Reply, PeerRecord], None] | None = None,
    on_done: OnDone | None = None,
) -> Query:
    """Find nodes that know the peer whose public key hashes to `target`."""

    def on_reply(reply: Reply) -> None:
        if on_record is not None and reply.value:
            try:
                record = PeerRecord.decode(reply.value)
            except FrameDecodeError:
                return
            if blake2b_256(record.public_key) == target:
                on_record(reply, record)

    return Query(
        node, target, Command.FIND_PEER, seeds=seeds, retries=retries, on_reply=on_reply, on_done=on_done
    )


def lookup(
    node: QueryHost,
    topic: bytes,
    *,
    seeds: Iterable[Address] = (),
    on_peers: OnPeers | None = None,
    on_done: OnDone | None = None,
) -> Query:
    """Find the peers that announced `topic`."""

    def on_reply(reply: Reply) -> None:
        if on_peers is not None and (peers := _peers(reply)):
            on_peers(reply, peers)

    return Query(node, topic, Command.LOOKUP, seeds=seeds, on_reply=on_reply, on_done=on_done)


def announce(
    node: QueryHost,
    topic: bytes,
    key_pair: KeyPair,
    relay_addresses: Callable[[], tuple[Address, ...]],
    *,
    clear: bool = False,
    seeds: Iterable[Address] = (),
    on_peers: OnPeers | None = None,
    on_done: OnDone | None = None,
) -> Query:
    """Announce us at the nodes nearest to `topic`. The query finds other peers as well.

    `relay_addresses` is called at the end. `clear` first removes older announcements of ours.
    """

    def commit(reply: Reply) -> tuple[int, bytes] | None:
        if reply.id is None or reply.token is None:
            return None
        value = sign_announce(
            key_pair,
            target=topic,
            node_id=reply.id,
            token=reply.token,
            relay_addresses=relay_addresses(),
        )
        return Command.ANNOUNCE, value

    def on_reply(reply: Reply) -> None:
        if not clear and on_peers is None:
            return
        peers = _peers(reply)
        if clear:
            _unannounce_at(node, query, key_pair, reply, peers)
        if on_peers is not None and peers:
            on_peers(reply, peers)

    query = Query(node, topic, Command.LOOKUP, seeds=seeds, on_reply=on_reply, commit=commit, on_done=on_done)
    return query


def unannounce(
    node: QueryHost,
    topic: bytes,
    key_pair: KeyPair,
    *,
    seeds: Iterable[Address] = (),
    only_seeds: bool = False,
    force: bool = False,
    on_peers: OnPeers | None = None,
    on_done: OnDone | None = None,
) -> Query:
    """Remove our announcements of `topic` from the nodes that the query finds. `only_seeds`: use no other
    nodes."""

    def on_reply(reply: Reply) -> None:
        peers = _peers(reply)
        _unannounce_at(node, query, key_pair, reply, peers)
        if on_peers is not None and peers:
            on_peers(reply, peers)

    query = Query(
        node,
        topic,
        Command.LOOKUP,
        seeds=seeds,
        only_seeds=only_seeds,
        force=force,
        on_reply=on_reply,
        on_done=on_done,
    )
    return query


def _peers(reply: Reply) -> tuple[PeerRecord, ...]:
    if not reply.value:
        return ()
    try:
        return LookupReply.decode(reply.value).peers
    except FrameDecodeError:
        return ()


def _unannounce_at(
    node: QueryHost, query: Query, key_pair: KeyPair, reply: Reply, peers: tuple[PeerRecord, ...]
) -> None:
    if reply.id is None or reply.token is None:
        return
    if len(peers) < FULL_REPLY and all(peer.public_key != key_pair.public_key for peer in peers):
        return
    value = sign_unannounce(key_pair, target=query.target, node_id=reply.id, token=reply.token)
    # A late repetition of this must not arrive after an announcement that may follow
    query.hold()
    outgoing = OutgoingRequest(
        reply.source, Command.UNANNOUNCE, target=query.target, value=value, token=reply.token
    )
    if node.request(outgoing, ReplyHandler(lambda _: query.release(), query.release)) is None:
        query.release()


def mutable_get(
    node: QueryHost,
    public_key: bytes,
    *,
    seq: int = 0,
    on_record: Callable[[Reply, MutableRecord], None],
    on_done: OnDone | None = None,
) -> Query:
    """Find records that `public_key` signed, with a sequence number of at least `seq`. `on_record` gets each
    valid one."""

    def on_reply(reply: Reply) -> None:
        if not reply.value:
            return
        try:
            record = MutableRecord.decode(reply.value)
        except FrameDecodeError:
            return
        if record.seq >= seq and verify_mutable(public_key, record.seq, record.value, record.signature):
            on_record(reply, record)

    return Query(
        node,
        blake2b_256(public_key),
        Command.MUTABLE_GET,
        value=encode_uint(seq),
        on_reply=on_reply,
        on_done=on_done,
    )


def mutable_put(
    node: QueryHost, key_pair: KeyPair, value: bytes, *, seq: int, on_done: OnDone | None = None
) -> Query:
    """Store `value` under our key. It replaces values with a lower `seq`."""
    request = (Command.MUTABLE_PUT, sign_mutable(key_pair, seq, value).encode())
    return Query(
        node,
        blake2b_256(key_pair.public_key),
        Command.MUTABLE_GET,
        value=encode_uint(0),
        commit=lambda reply: request,
        on_done=on_done,
    )


def immutable_get(
    node: QueryHost,
    target: bytes,
    *,
    on_value: Callable[[Reply, bytes], None],
    on_done: OnDone | None = None,
) -> Query:
    """Find the value whose hash is `target`."""

    def on_reply(reply: Reply) -> None:
        if reply.value is not None and blake2b_256(reply.value) == target:
            on_value(reply, reply.value)

    return Query(node, target, Command.IMMUTABLE_GET, on_reply=on_reply, on_done=on_done)


def immutable_put(node: QueryHost, value: bytes, *, on_done: OnDone | None = None) -> Query:
    """Store `value` under its hash."""
    return Query(
        node,
        blake2b_256(value),
        Command.IMMUTABLE_GET,
        commit=lambda reply: (Command.IMMUTABLE_PUT, value),
        on_done=on_done,
    )
