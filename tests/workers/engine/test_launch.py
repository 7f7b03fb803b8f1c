"""The engine as it is assembled over a directory."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from hypercore.dht.address import BootstrapNode
from hypercore.errors import StoreUnreadable
from workers.engine.launch import NetworkUnusable, assemble, running_engine
from workers.engine.model.events import Event, Ready
from workers.engine.settings.identity import IDENTITY_FILE
from workers.engine.settings.settings import EngineSettings


def settings_of(data: Path, port: int = 0) -> EngineSettings:
    return EngineSettings(
        data=data, bootstrap=(BootstrapNode("127.0.0.1", 1),), host="127.0.0.1", port=port, leave_timeout=0.2
    )


def test_an_assembly_that_fails_leaves_the_directory_free(tmp_path: Path) -> None:
    async def scenario() -> None:
        identity = tmp_path / IDENTITY_FILE
        identity.write_text("not an identity")
        with pytest.raises(StoreUnreadable, match="the engine's identity"):
            assemble(settings_of(tmp_path), lambda _: None)
        identity.unlink()
        parts = assemble(settings_of(tmp_path), lambda _: None)
        await parts.cores.close()

    asyncio.run(scenario())


def test_a_port_in_use_leaves_the_directory_free_and_emits_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        events: list[Event] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            with pytest.raises(NetworkUnusable, match=f"cannot use UDP port {port}"):
                async with running_engine(settings_of(tmp_path, port), events.append):
                    pytest.fail("the port is in use")
        assert events == []
        async with running_engine(settings_of(tmp_path, port), events.append):
            pass
        assert isinstance(events[0], Ready) and events[0].port == port

    asyncio.run(scenario())
