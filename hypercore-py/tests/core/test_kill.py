"""A process that writes, truncates, clears and downloads, killed at random moments, again and again.

The child says on its standard output what it is about to take away and, after each flush, what is durable.
The parent kills it, opens the directory, and holds it to its word.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hypercore.core import Core, Store, disk_store

pytestmark = pytest.mark.slow

CHILD = Path(__file__).parents[1] / "support" / "core_child.py"
ROUNDS = 8


def start(directory: Path, seed: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(CHILD), str(directory), str(seed)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


class Promises:
    """What the child has reported so far."""

    def __init__(self) -> None:
        self.durable: dict[str, tuple[int, int, set[int]]] = {}
        self.may_go: dict[str, set[int]] = {}
        self.may_be_cut: set[str] = set()
        self.may_be_removed: set[str] = set()
        self.flushes = 0

    def hear(self, line: str) -> None:
        reported = json.loads(line)
        match reported["event"]:
            case "clearing":
                self.may_go.setdefault(reported["core"], set()).update(
                    range(reported["start"], reported["end"])
                )
            case "cutting":
                self.may_be_cut.add(reported["core"])
            case "removing":
                self.may_be_removed.add(reported["core"])
            case "durable":
                self.flushes += 1
                self.durable = {
                    core: (fork, length, {i for start, end in runs for i in range(start, end)})
                    for core, fork, length, runs in reported["cores"]
                }
                # Done by this flush. What is still to come is said again right behind this line.
                self.may_go, self.may_be_cut, self.may_be_removed = {}, set(), set()

    def check(self, store: Store) -> None:
        for name, (fork, length, blocks) in self.durable.items():
            core = store.open_core(bytes.fromhex(name), create=False)
            if core is None:
                assert name in self.may_be_removed, f"core {name[:8]} is gone"
                continue
            assert core.check_head()
            if name in self.may_be_removed and core.fork < fork:
                continue  # removed and begun again
            if name not in self.may_be_cut and name not in self.may_be_removed:
                assert (core.fork, core.length) >= (fork, length)
                assert core.fork == fork
            if core.fork == fork and name not in self.may_be_removed:
                missing = {index for index in blocks if not core.has(index)}
                assert missing <= self.may_go.get(name, set()), f"core {name[:8]} lost {sorted(missing)}"


def check_everything(store: Store) -> int:
    """Every block of every core verifies. Gives their number."""
    count = 0
    for info in store.cores():
        core: Core | None = store.open_core(info.key, create=False)
        assert core is not None
        for index, sound in core.verify():
            assert sound, f"block {index} of {core} is rotten"
            count += 1
        store.close_core(core)
    return count


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_that_was_reported_durable_is_lost_by_a_kill(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    promises = Promises()
    for round_ in range(ROUNDS):
        child = start(tmp_path / "data", seed * 1000 + round_)
        assert child.stdout is not None
        heard = promises.flushes
        try:
            for line in child.stdout:  # let it come to something before the time runs
                promises.hear(line)
                if promises.flushes > heard:
                    break
            time.sleep(rng.random() * 0.3)
        finally:
            child.kill()
            rest, _ = child.communicate()
        assert child.returncode == -9, "the child ended by itself"
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                promises.hear(line)
        with disk_store(tmp_path / "data") as store:
            promises.check(store)
            blocks = check_everything(store)
        promises.durable = {}
    assert promises.flushes > ROUNDS
    assert blocks > 0
