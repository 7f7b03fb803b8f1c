"""Cores whose manifest is more than one signer, as applications on autobase make them, with official peers of
three ages: what the official libraries write must come to us, grow with us, and be had from us."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..support.json_process import ProcessFailed
from ..support.node import NodePeer, swarm_arguments
from ..support.seed_process import SeedProcess
from ..support.waiting import eventually

pytestmark = pytest.mark.interop

VERSIONS = ("10.38", "11.37", "11.39")
"""Releases of the official hypercore (`tests/peers/lib/versions.js`)."""

KINDS = [
    ("autobase", 1),
    ("autobase", 2),
    ("autobase", 3),
    ("encrypted", 1),
    ("autopass", 1),
    ("static", 1),
    ("migrated", 1),
    ("multisig", 1),
]

CASES = [
    pytest.param(version, kind, writers, id=f"{kind}-{writers}-{version}")
    for version in VERSIONS
    for kind, writers in KINDS
    if not (kind == "autopass" and version == "10.38")  # it needs corestore 7
]


class Writer(NodePeer):
    """Writes or reads such cores with the official libraries of one age."""

    def __init__(self, storage: Path, bootstrap: Sequence[str], version: str) -> None:
        super().__init__("prologues", "--hypercore", version, *swarm_arguments(storage, bootstrap))

    def make(self, kind: str, writers: int = 1) -> dict[str, int]:
        return lengths(self.ask("make", name="it", kind=kind, writers=writers))

    def grow(self, blocks: int) -> dict[str, int]:
        return lengths(self.ask("grow", name="it", blocks=blocks))

    def read(self, wanted: dict[str, int]) -> None:
        """Returns when the cores are as long as in `wanted`."""
        self.ask("read", name="it", keys=list(wanted))
        try:
            eventually(
                lambda: lengths(self.ask("cores", name="it")) == wanted, timeout=30, what=f"cores {wanted}"
            )
        except AssertionError as error:
            raise ProcessFailed(f"{error}\n{self.describe()}") from None

    def blocks(self, key: str) -> list[str]:
        found: list[str] = self.ask("blocks", name="it", key=key)["blocks"]
        return found


def lengths(description: dict[str, Any]) -> dict[str, int]:
    """Key to length of the cores that are not empty."""
    return {core["key"]: core["length"] for core in description["cores"]}


def wait_lengths(farm: SeedProcess, wanted: dict[str, int]) -> None:
    for key, length in wanted.items():
        farm.wait_synced(key, length, timeout=30)


@pytest.mark.parametrize(("version", "kind", "writers"), CASES)
def test_cores_with_prologues_come_to_us_grow_with_us_and_are_had_from_us(
    version: str,
    kind: str,
    writers: int,
    bootstrap: list[str],
    tmp_path: Path,
    processes: ExitStack,
) -> None:
    writer = Writer(tmp_path / "writer", bootstrap, version)
    processes.callback(writer.dispose)
    made = writer.make(kind, writers) or writer.grow(2)
    writer.ask("join", name="it")
    early = SeedProcess(tmp_path / "early", bootstrap, *made)
    processes.callback(early.dispose)
    wait_lengths(early, made)

    grown = writer.grow(9)
    wait_lengths(early, {key: grown[key] for key in made})

    writer.ask("join", name="it")
    late = SeedProcess(tmp_path / "late", bootstrap, *grown)
    processes.callback(late.dispose)
    wait_lengths(late, grown)

    blocks = {key: writer.blocks(key) for key in grown}
    early.dispose()
    writer.stop()
    reader = Writer(tmp_path / "reader", bootstrap, version)
    processes.callback(reader.dispose)
    reader.read(grown)
    assert {key: reader.blocks(key) for key in grown} == blocks
    for farm in (early, late):
        # Of an autobase it says that each key is one writer of several
        assert {event["code"] for event in farm.of("error")} <= {"ONE_WRITER"}
