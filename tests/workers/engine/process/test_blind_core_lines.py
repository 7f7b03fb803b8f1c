"""How an engine lists what its blind peer keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.corestores import eventually

from hypercore.testing.cores import make_writer, sample_blocks
from workers.engine.blindpeer.host import Room
from workers.engine.process import blind_core_lines as module
from workers.engine.process.blind_core_lines import BlindCoreLines

from ..blindpeer.world import FIRST, World, app, run


def test_all_that_is_kept_is_listed_in_portions_and_then_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CORES_A_LINE", 2)
    monkeypatch.setattr(module, "INTERVAL", 0.0)

    async def scene() -> None:
        world, written = World(), [make_writer(sample_blocks(3), seed=n + 1) for n in range(3)]
        keys = {writer.core.key for writer in written}
        lines: list[dict[str, Any]] = []
        for writer in written:
            async with app(world, writer.store) as client:
                client.name(client.add(writer))
                key = writer.core.key
                await eventually(lambda key=key: world.states(key) == ["added", "complete"])
        listing = BlindCoreLines(world.peer, world.cores, write=lines.append)
        task = asyncio.create_task(listing.run())
        await eventually(lambda: len(lines) == 2)
        assert [(line["first"], line["more"], len(line["cores"])) for line in lines] == [
            (True, True, 2),
            (True, False, 1),
        ]
        cores = {core["key"]: core for line in lines for core in line["cores"]}
        assert cores.keys() == {key.hex() for key in keys}
        core = cores[key.hex()]
        assert (core["client"], core["announced"]) == (FIRST.public_key.hex(), False)
        assert (core["length"], core["have_blocks"]) == (3, 3)
        assert core["have_bytes"] == core["bytes"] == written[-1].core.byte_length
        world.host.measured = Room(0, 1000, 10_000)
        await eventually(lambda: world.states(key)[-1] == "collected")
        listing.changed(key)
        await eventually(lambda: len(lines) == 3)
        assert lines[-1] == {
            "event": "blind_cores",
            "cores": [{"key": key.hex(), "client": None}],
            "first": False,
            "more": False,
        }
        task.cancel()
        await world.close()

    run(scene)


def test_a_blind_peer_without_cores_says_so() -> None:
    async def scene() -> None:
        world = World()
        lines: list[dict[str, Any]] = []
        task = asyncio.create_task(BlindCoreLines(world.peer, world.cores, write=lines.append).run())
        await eventually(lambda: bool(lines))
        assert lines == [{"event": "blind_cores", "cores": [], "first": True, "more": False}]
        task.cancel()
        await world.close()

    run(scene)
