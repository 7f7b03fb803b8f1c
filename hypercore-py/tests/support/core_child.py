"""The process that `test_core_kill.py` kills. Arguments: a data directory, a seed."""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path

from hypercore.core import Core, Store, disk_store
from hypercore.crypto import KeyPair
from hypercore.testing.cores import download, make_writer


def emit(what: str, **more: object) -> str:
    line = json.dumps({"event": what, **more}) + "\n"
    sys.stdout.write(line)
    sys.stdout.flush()
    return line


def blocks_of(rng: random.Random) -> list[bytes]:
    """A few large blocks or many small ones."""
    if rng.random() < 0.4:
        return [rng.randbytes(65536) for _ in range(rng.randrange(1, 12))]
    return [rng.randbytes(rng.randrange(300)) for _ in range(rng.randrange(1, 120))]


class Child:
    def __init__(self, store: Store, rng: random.Random) -> None:
        self.store = store
        self.rng = rng
        self.keys = [KeyPair.from_seed(bytes([n]) * 32) for n in range(8)]
        self.warnings: list[str] = []
        """What was written about changes that no flush has included yet."""
        self.sources = [make_writer(blocks_of(rng), seed=100 + rng.randrange(150)) for _ in range(3)]

    def run(self) -> None:
        while True:
            for _ in range(self.rng.randrange(1, 6)):
                self.change()
            self.flush()

    def change(self) -> None:
        rng = self.rng
        keys = rng.choice(self.keys)
        core = self.store.create_core(keys)
        action = rng.random()
        if action < 0.55:
            core.append(blocks_of(rng), keys)
        elif action < 0.65 and core.length:
            length = rng.randrange(core.length + 1)
            self.warn("cutting", core)
            core.truncate(length, keys)
            core.append(blocks_of(rng), keys)
        elif action < 0.75 and core.length:
            start = rng.randrange(core.length)
            end = min(core.length, start + rng.randrange(1, 40))
            self.warn("clearing", core, start=start, end=end)
            core.clear(start, end)
        elif action < 0.8:
            self.warn("removing", core)
            self.store.remove_core(core.key)
        else:
            self.download(rng.choice(self.sources).core)

    def warn(self, what: str, core: Core, **more: object) -> None:
        """Says what is about to be taken away."""
        self.warnings.append(emit(what, core=core.key.hex(), **more))

    def download(self, source: Core) -> None:
        core = self.store.open_core(source.key)
        assert core is not None
        if (core.fork, core.length) > (source.fork, source.length):
            return  # from an earlier life, of other content
        if core.length and core.head != source.head:
            return
        indices = [index for index in range(source.length) if self.rng.random() < 0.3]
        download(source, core, indices)

    def flush(self) -> None:
        flush = self.store.prepare_flush()
        if flush is None:
            return
        self.warnings.clear()
        thread = threading.Thread(target=flush.run)
        thread.start()
        while thread.is_alive():
            self.change()
        flush.finish()
        cores = []
        for info in self.store.cores():
            core = self.store.open_core(info.key)
            assert core is not None
            head = core.durable_head
            if head.length or head.fork:  # else it may have been made while the flush was on its way
                cores.append([core.key.hex(), head.fork, head.length, list(core.durable.runs())])
        emit("durable", cores=cores)
        sys.stdout.write(
            "".join(self.warnings)
        )  # they hold on: the listener forgets those of before the flush
        sys.stdout.flush()


def main() -> None:
    directory, seed = Path(sys.argv[1]), int(sys.argv[2])
    Child(disk_store(directory), random.Random(seed)).run()


if __name__ == "__main__":
    main()
