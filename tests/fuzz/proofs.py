"""Verifiers of hypercore-py that proofs of a peer reach, and what none of a peer may lead to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypercore.codec import Reader, Writer
from hypercore.core import Core
from hypercore.crypto import KeyPair
from hypercore.errors import RemoteProtocolError
from hypercore.manifest import Manifest, Prologue
from hypercore.merkle.conflict import is_conflict
from hypercore.merkle.reorg import Reorg
from hypercore.merkle.signing import assemble_signature, partial_signature, verify_head
from hypercore.merkle.verify import verify_data
from hypercore.node import Node
from hypercore.testing.cores import make_writer, sample_blocks
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade

from .target import Target

LENGTH, PROLOGUE = 11, 7
KEYS = KeyPair.from_seed(b"\x01" * 32)


def _with_prologue() -> Core:
    start = make_writer(sample_blocks(PROLOGUE)).core
    manifest = Manifest.create(
        (KEYS.public_key,), prologue=Prologue(start.head.hash(), PROLOGUE), allow_patch=True
    )
    return make_writer(sample_blocks(LENGTH), manifest=manifest).core


PLAIN = make_writer(sample_blocks(LENGTH)).core
FIXED = _with_prologue()


class _Stored:
    """A core's nodes as a NodeSource."""

    def __init__(self, core: Core) -> None:
        self.get = core.node


def proofs() -> Iterator[Target]:
    """Of everything that a proof of a peer can lead to."""
    yield Target(name="conflict proof", run=_conflict, seeds=lambda: _trees(PLAIN))
    yield Target(name="fork of a core with a prologue", run=_fork, seeds=lambda: _trees(FIXED))
    yield Target(name="proof against a stored tree", run=_answer, seeds=lambda: _trees(PLAIN))
    yield Target(name="signature over a head", run=_signature, seeds=_signatures)


def _conflict(data: bytes) -> None:
    """The writer signed one history only: no peer can prove two."""
    manifest = PLAIN.manifest
    assert manifest is not None
    proof = Data.decode(Reader(data))
    assert not is_conflict(proof, PLAIN.head, _Stored(PLAIN), PLAIN.key, manifest), "froze the core"


def _fork(data: bytes) -> None:
    """The writer never truncated: no peer can lead us onto a fork."""
    proof = Data.decode(Reader(data))
    reorg = Reorg.start(proof, FIXED.head, _Stored(FIXED), FIXED.key, FIXED.manifest)
    raise AssertionError(f"followed onto fork {reorg.head.fork}")


def _answer(data: bytes) -> None:
    """What verifies is a part of the one tree that was signed."""
    for core in (PLAIN, FIXED):
        proof = Data.decode(Reader(data))
        try:
            verified = verify_data(proof, core.head, _Stored(core), core.key, core.manifest)
        except RemoteProtocolError:
            continue
        assert verified.head is None, "grew without a signature"
        for node in verified.new_nodes:
            stored = core.node(node.index)
            assert stored is None or stored == node, f"another node {node.index}"
        if verified.block is not None:
            assert core.get(verified.block[0]) == verified.block[1], "another block"


def _signature(data: bytes) -> None:
    """Never an exception, and no other tree than the one that was signed."""
    manifest = FIXED.manifest
    assert manifest is not None
    verify_head(manifest, FIXED.key, FIXED.head, data)
    first, *rest = FIXED.head.roots
    forged = replace(FIXED.head, roots=(first._replace(hash=bytes(32)), *rest))
    assert not verify_head(manifest, FIXED.key, forged, data), "a tree that nobody signed"


def _encode(data: Data) -> bytes:
    w = Writer()
    data.encode(w)
    return bytes(w)


def _trees(core: Core) -> Iterator[bytes]:
    """Genuine proofs, and such as a peer makes of them."""
    for end in (PROLOGUE, LENGTH):
        request = Request(id=0, fork=0, upgrade=RequestUpgrade(0, end), manifest=True)
        whole = core.prove(request)
        yield _encode(whole)
        upgrade = whole.upgrade
        assert upgrade is not None
        stray = Node(0, 1, bytes(32))
        for nodes in ([*upgrade.nodes, stray], [stray, *upgrade.nodes], upgrade.nodes[::-1]):
            yield _encode(replace(whole, upgrade=upgrade._replace(nodes=nodes)))
        yield _encode(replace(whole, fork=7_000_000))
        alone = upgrade._replace(additional_nodes=[], signature=None)
        yield _encode(replace(whole, fork=7_000_000, upgrade=alone))
    for index in (0, 5, LENGTH - 1):
        yield _encode(core.prove(Request(id=1, fork=0, block=RequestBlock(index, 1 if index < 10 else 0))))


def _signatures() -> Iterator[bytes]:
    manifest = FIXED.manifest
    assert manifest is not None
    signed = partial_signature(manifest, FIXED.key, FIXED.head, KEYS)
    yield assemble_signature(manifest, FIXED.key, [signed])
    patched = partial_signature(
        manifest, FIXED.key, FIXED.head, KEYS, nodes=_Stored(FIXED), verified_length=LENGTH - 1
    )
    yield assemble_signature(manifest, FIXED.key, [patched])
