"""An official blind peer is taken over: its apps find their cores under the same key."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from hypercore.crypto import KeyPair

from ...support import seed_process
from ...support.node import BlindServer
from .conftest import NewClient, NewServer

SEED = "b7" * 32
KEY = KeyPair.from_seed(bytes.fromhex(SEED)).public_key.hex()
GROUP = "22" * 32


def test_apps_of_an_official_blind_peer_find_their_cores_at_ours_under_its_key(
    processes: ExitStack, bootstrap: list[str], tmp_path: Path, new_server: NewServer, new_client: NewClient
) -> None:
    storage, data = tmp_path / "official", tmp_path / "blind"
    official = BlindServer(storage, bootstrap, seed=SEED)
    processes.callback(official.dispose)
    assert official.key == KEY
    client = new_client(official, passive=True)
    core = client.keep("a", 3, referrer=GROUP, priority=1)
    other = client.keep("b", 1)
    running = seed_process.run("import", "blind-peer", str(storage), "--data", str(data))
    assert running.returncode == 1 and b"still runs" in running.stderr
    client.ask("suspend")
    official.stop()

    done = seed_process.run("import", "blind-peer", str(storage), "--data", str(data), "--json")
    assert json.loads(done.stdout) == {"blind_peer": KEY, "new": 2, "known": 0, "refused": 0, "removed": 0}
    server = new_server()
    assert server.key == KEY
    client.ask("resume")
    for name, length in (("a", 3), ("b", 1)):
        client.ask("wait", name=name)
        key = {"a": core, "b": other}[name]["key"]
        event = server.process.wait_blind(key)
        assert (event["length"], event["priority"]) == (length, 1 if name == "a" else 0)
        assert client.ask("read", key=key)["have"] == length
    assert not [event for event in server.process.of("blind_core") if event["state"] == "added"]
    client.ask("watch", key=GROUP)
    server.process.wait_for(lambda event: event.get("event") == "stats", timeout=20)
    assert {"key": core["key"], "length": 3} in client.ask("hints")["hints"]


def test_what_is_no_storage_of_a_blind_peer_is_refused(tmp_path: Path) -> None:
    done = seed_process.run("import", "blind-peer", str(tmp_path), "--data", str(tmp_path / "new"))
    assert done.returncode == 2 and b"has no database" in done.stderr
    assert not (tmp_path / "new").exists()
