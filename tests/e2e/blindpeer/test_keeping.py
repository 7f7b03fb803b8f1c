"""What official clients give a blind peer of ours is kept, followed and served."""

from __future__ import annotations

from itertools import count, islice

import pytest

from hypercore.blindpeer import choose_mirrors
from hypercore.crypto import blake2b_256

from ...support.waiting import eventually
from .conftest import NewClient, NewServer


@pytest.mark.parametrize("passive", [False, True], ids=["active", "passive"])
def test_a_core_that_a_client_names_is_acknowledged_followed_and_served(
    new_server: NewServer, new_client: NewClient, passive: bool
) -> None:
    server = new_server()
    client = new_client(server, passive=passive)
    core = client.keep("a", 3)
    assert server.process.wait_blind(core["key"])["length"] == 3
    client.ask("append", name="a", count=2)
    client.ask("wait", name="a")
    read = client.ask("read", key=core["key"])
    assert (read["length"], read["complete"]) == (5, True)
    assert client.ask("read", key=core["key"], topic=True, timeout=1500)["length"] == 0
    assert client.ask("connections")["dialled"] == 1


def test_a_client_that_has_closed_its_cores_leaves_and_they_are_served_still(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    client = new_client(server, gc_wait=100)
    core = client.keep("a", 2)
    client.ask("forget", name="a")
    eventually(lambda: client.ask("status")["servers"] == [], timeout=20, what="the client has left")
    connections = client.ask("connections")
    assert (connections["dialled"], connections["open"]) == (1, 0)
    assert client.ask("read", key=core["key"])["complete"]


def test_of_five_blind_peers_a_client_uses_the_two_that_are_closest_to_its_target(
    new_server: NewServer, new_client: NewClient
) -> None:
    servers = [new_server(data="first"), new_server(data="second")]
    present = [bytes.fromhex(server.key) for server in servers]
    target = present[0]
    others = (blake2b_256(b"%d" % number) for number in count())
    farther = (key for key in others if key not in choose_mirrors(target, [*present, key], 2))
    keys = [*present, *islice(farther, 3)]
    client = new_client(*(key.hex() for key in keys))
    core = client.ask("core", name="a", count=2)
    client.ask("add", name="a", target=target.hex())
    for server in servers:
        client.ask("wait", name="a", server=server.key)
        assert server.process.wait_blind(core["key"])["length"] == 2
    assert {server["key"] for server in client.ask("status")["servers"]} == {server.key for server in servers}


def test_a_passive_client_that_returns_unchanged_gets_no_channel_and_one_with_news_does(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    client = new_client(server, passive=True, trace=True)
    core = client.keep("a", 3)
    server.process.wait_blind(core["key"])
    client.ask("suspend")
    client.ask("resume")
    eventually(
        lambda: client.ask("status")["servers"][0]["connected"], timeout=20, what="the client is connected"
    )
    client.ask("core", name="b", count=1)
    client.ask("add", name="b")
    client.ask("wait", name="b")  # so that the message about the other core is handled too
    frames = client.ask("frames")["connections"][1]
    opened = [
        f["id"]
        for f in frames
        if (f["from"], f["op"], f.get("channel")) == ("server", "open", "hypercore/alpha")
    ]
    assert len(opened) == 1  # of b
    client.ask("suspend")
    client.ask("append", name="a", count=2)
    client.ask("resume")
    client.ask("wait", name="a")
    client.ask("append", name="a", count=1)
    client.ask("wait", name="a")
    assert client.ask("read", key=core["key"])["have"] == 6


def test_two_clients_of_one_core_exchange_blocks_through_the_blind_peer(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    writer, other = new_client(server), new_client(server)
    core = writer.keep("a", 3)
    other.ask("core", name="a", key=core["key"])
    other.ask("add", name="a")
    eventually(
        lambda: other.ask("look", name="a")["cores"][0]["length"] == 3,
        timeout=20,
        what="the other client has the head",
    )
    writer.ask("append", name="a", count=1)
    eventually(
        lambda: other.ask("look", name="a")["cores"][0]["length"] == 4,
        timeout=20,
        what="the append has arrived",
    )


def test_a_drive_is_read_through_the_blind_peer_after_its_writer_has_left(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    client = new_client(server, passive=True)
    files = {"/a.txt": "hello", "/b.bin": "x" * 3000}
    drive = client.ask("drive", name="d", files=files)
    client.ask("add", name="d")
    client.ask("wait", name="d")
    for core in drive["cores"]:
        server.process.wait_blind(core["key"])
    client.stop()
    reader = new_client(server)
    assert reader.ask("readDrive", key=drive["key"], paths=list(files))["files"] == files


def test_an_autobase_is_read_through_the_blind_peer_after_its_writer_has_left(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    client = new_client(server, passive=True)
    base = client.ask("autobase", name="b", values=[{"n": 1}, {"n": 2}])
    client.ask("add", name="b")
    client.ask("wait", name="b")
    assert server.process.wait_blind(base["local"], "added")["priority"] == 1
    for core in base["views"]:
        if core["length"]:
            server.process.wait_blind(core["key"])
    client.stop()
    reader = new_client(server)
    assert reader.ask("readBase", key=base["key"], count=2)["values"] == [{"value": {"n": n}} for n in (1, 2)]


def test_a_truncated_core_is_followed(new_server: NewServer, new_client: NewClient) -> None:
    server = new_server()
    client = new_client(server)
    core = client.keep("a", 5)
    client.ask("truncate", name="a", length=2)
    client.ask("append", name="a", count=1)
    server.process.wait_for(
        lambda event: event.get("event") == "blind_core" and event["length"] == 3,
        timeout=30,
        what="the new fork",
    )
    read = client.ask("read", key=core["key"])
    assert (read["length"], read["fork"], read["complete"]) == (3, 1, True)
