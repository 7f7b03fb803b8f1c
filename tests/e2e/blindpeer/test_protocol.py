"""Restarts, hints, trust, RPC and hostile input, as official clients see them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hypercore.crypto import KeyPair

from ...support.waiting import eventually
from .conftest import NewClient, NewServer

TRUSTED_SEED = "ad" * 32
TRUSTED = KeyPair.from_seed(bytes.fromhex(TRUSTED_SEED)).public_key.hex()
CLIENT_SEED = "c1" * 32
CLIENT = KeyPair.from_seed(bytes.fromhex(CLIENT_SEED)).public_key.hex()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_after_a_restart_the_client_returns_and_what_was_acknowledged_is_served(
    new_server: NewServer, new_client: NewClient, how: str
) -> None:
    server = new_server()
    client = new_client(server, passive=True)
    core = client.keep("a", 4)
    if how == "kill":
        server.process.kill()
    else:
        assert server.process.interrupt() == 0
    client.ask("append", name="a", count=1)
    again = new_server()
    assert again.key == server.key
    client.ask("wait", name="a")
    assert client.ask("read", key=core["key"])["have"] == 5
    assert again.process.of("blind_core")[0]["state"] == "complete"  # it was known: not added again


def test_a_group_gets_hints_and_is_known_after_a_restart(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    client = new_client(server, passive=True)
    group, wrong = "22" * 32, "23" * 32
    core = client.keep("a", 3, referrer=group)
    watcher = new_client(server)
    watcher.ask("watch", key=group)
    hints: list[dict[str, object]] = []

    def hinted(length: int) -> bool:
        hints.extend(watcher.ask("hints")["hints"])
        return {"key": core["key"], "length": length} in hints

    eventually(lambda: hinted(3), timeout=10, what="the first hints")
    client.ask("append", name="a", count=1)
    eventually(lambda: hinted(4), timeout=10, what="a hint of the append")
    server.process.kill()
    again = new_server()
    watcher = new_client(again)
    watcher.ask("watch", key=group)
    eventually(lambda: hinted(4), timeout=10, what="hints after the restart")
    other = new_client(again)
    other.ask("watch", key=wrong, keySeed="d4" * 32)
    client.ask("suspend")
    client.ask("append", name="a", count=1)
    client.ask("resume")
    eventually(lambda: hinted(5), timeout=20, what="a hint of the second append")
    assert other.ask("hints")["hints"] == []


def test_a_second_member_gets_the_blocks_of_the_first_through_the_blind_peer_alone(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    first, second = new_client(server, passive=True), new_client(server, passive=True)
    base = first.ask("autobase", name="b", values=[{"n": 1}])
    first.ask("add", name="b")
    first.ask("wait", name="b")
    second.ask("autobase", name="b", key=base["key"])
    second.ask("add", name="b")
    eventually(
        lambda: second.ask("base", name="b")["length"] == 1, timeout=30, what="the second member has a value"
    )
    first.ask("append", name="b", blocks=[{"n": 2}])
    eventually(
        lambda: second.ask("base", name="b")["length"] == 2, timeout=30, what="it has the second as well"
    )


def test_only_a_trusted_client_has_a_core_announced_also_later_and_after_a_restart(
    new_server: NewServer, new_client: NewClient
) -> None:
    trust = ("--trust", CLIENT, "--trust", TRUSTED)
    server = new_server(*trust)
    other = new_client(server, seed="c3" * 32)
    foreign = other.keep("x", 2, announce=True)
    client = new_client(server, seed=CLIENT_SEED)
    core, later = client.keep("a", 2, announce=True), client.keep("b", 2)
    server.process.wait_synced(core["key"])
    # Under another key: of two connections with one key, either may end the other
    params = {"key": later["key"], "announce": True}
    assert client.ask("rpc", method="add-core", params=params, keySeed=TRUSTED_SEED)["value"]["announce"]
    server.process.wait_synced(later["key"])
    other.ask("suspend")
    client.ask("suspend")
    for key in (core["key"], later["key"]):
        assert client.ask("read", key=key, topic=True)["complete"]
    assert client.ask("read", key=foreign["key"], topic=True, timeout=1500)["length"] == 0
    assert server.process.interrupt() == 0
    again = new_server(*trust)
    again.process.wait_synced(core["key"])
    assert client.ask("read", key=core["key"], topic=True)["complete"]


def test_rpc_calls_are_answered_as_by_an_official_server(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server("--trust", TRUSTED)
    client = new_client(server)
    core = client.ask("core", name="a", count=3)
    key = core["key"]

    def call(method: str, seed: str = "d1" * 32, admin: bool = False, **params: object) -> dict[str, object]:
        answer = client.ask("rpc", method=method, params=params, keySeed=seed, admin=admin)
        return {name: answer[name] for name in ("value", "failed") if name in answer}

    added = call("add-core", key=key, priority=9, announce=True)["value"]
    assert isinstance(added, dict)
    assert (added["length"], added["priority"], added["announce"]) == (0, 1, False)
    assert call("add-core", key=key)["value"]["priority"] == 1  # type: ignore[index]
    refused = call("delete-core", key=key)["failed"]
    assert refused == {
        "code": "REQUEST_ERROR",
        "message": "REQUEST_ERROR: Request failed",
        "cause": "Only trusted peers can delete cores",
    }
    unknown = call("nope")["failed"]
    assert isinstance(unknown, dict) and unknown["code"] == "UNKNOWN_METHOD"
    assert call("add-core", TRUSTED_SEED, key=key, announce=True)["value"]["announce"] is True  # type: ignore[index]
    top = call("query-top-k", TRUSTED_SEED, admin=True)["value"]
    assert isinstance(top, dict) and top["ip"][0]["key"] == "127.0.0.1" and top["ip"][0]["count"] >= 3
    assert "failed" in call("query-top-k", admin=True)
    assert call("delete-core", TRUSTED_SEED, key=key) == {"value": True}
    assert call("delete-core", TRUSTED_SEED, key=key) == {"value": False}


def test_a_deleted_core_is_kept_again_when_a_client_names_it_again(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server("--trust", TRUSTED)
    client = new_client(server, passive=True)
    core = client.keep("a", 3)
    server.process.wait_blind(core["key"])
    deleted = client.ask("rpc", method="delete-core", params={"key": core["key"]}, keySeed=TRUSTED_SEED)
    assert deleted["value"] is True
    client.ask("suspend")
    assert client.ask("read", key=core["key"], timeout=1500)["have"] == 0
    client.ask("resume")
    client.ask("wait", name="a")
    assert client.ask("read", key=core["key"])["have"] == 3


KEY = "31" * 32
HOSTILE = {
    "empty payload": {"payload": ""},
    "flags only": {"payload": "00"},
    "array longer than payload": {"payload": "0002" + KEY + "01"},
    "no cores": {"payload": "0000"},
    "trailing bytes": {"payload": "0001" + KEY + "01ffff"},
    "unknown flag": {"payload": "0801" + KEY + "01"},
    "type 1": {"type": 1, "payload": "0001" + KEY + "01"},
    "type 9": {"type": 9, "payload": "00"},
    "newer handshake": {"handshake": "0105322e302e30", "payload": "0001" + KEY + "01"},
    "cut handshake": {"handshake": "0105322e", "payload": "0001" + KEY + "01"},
    "priority 250, announce": {"payload": "06fa01" + "32" * 32 + "07"},
    "key twice": {"payload": "0002" + ("33" * 32 + "07") + ("33" * 32 + "09")},
    "huge length": {"payload": "0001" + "34" * 32 + "ffffffffffffff1f00"},
    "1000 cores": {"payload": "00fde803" + "".join(f"{i:064x}01" for i in range(1000)), "waitMs": 1500},
    "too many cores": {"payload": "00fd8813" + "".join(f"{i:064x}01" for i in range(5000))},
}  # fmt: skip


def test_no_hostile_message_ends_a_connection_or_harms_another_client(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    client = new_client(server)
    core = client.keep("a", 3)
    attacker = new_client(server)
    for number, (name, arguments) in enumerate(HOSTILE.items()):
        result = attacker.ask("raw", keySeed=f"{0x80 + number:02x}" * 32, **{"waitMs": 200, **arguments})
        assert result["opened"] and not result["closed"], name
    assert server.process.wait_blind("32" * 32, "added")["priority"] == 2
    assert len(server.process.of("blind_core")) < 1100
    client.ask("append", name="a", count=1)
    client.ask("wait", name="a")
    assert client.ask("status")["servers"][0]["connects"] <= 1 and client.ask("connections")["dialled"] == 1
    assert client.ask("read", key=core["key"])["have"] == 4


def test_requests_are_answered_with_their_id_and_errors_with_their_code(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    client = new_client(server)
    core = "0001" + KEY + "01"
    for type_id, payload, answer in (
        (3, "07" + f"{len(core) // 2:02x}" + core, {"type": 4, "payload": "072501" + "23" + "01" + KEY +
        "0001"}), (3, "08" + "01" + "00", {"type": 2, "payload": "08020003"}),
        (5, "09" + "65" + "21" + KEY + "06" + "41" + "22" * 32 + "20" + "23" * 32 + "00", {"type": 6,
        "payload": "0900"}),
    ):  # fmt: skip
        result = client.ask("raw", type=type_id, payload=payload, waitMs=400)
        assert result["answers"] == [answer] and not result["closed"]


def test_a_second_connection_of_the_same_client_works(new_server: NewServer, new_client: NewClient) -> None:
    server = new_server()
    client = new_client(server, seed=CLIENT_SEED)
    client.keep("a", 1)
    second = new_client(server, seed=CLIENT_SEED)
    core = second.keep("b", 2)
    assert second.ask("read", key=core["key"])["complete"]


def test_a_banned_client_dials_seldom_and_keeps_nothing(new_server: NewServer, new_client: NewClient) -> None:
    server = new_server("--ban", CLIENT)
    client = new_client(server, seed=CLIENT_SEED)
    core = client.ask("core", name="a", count=1)
    client.send("add", name="a")
    other = new_client(server)
    other.keep("b", 1)
    eventually(lambda: client.ask("connections")["dialled"] >= 3, timeout=20, what="the client dials again")
    at = client.ask("connections")["dialledAt"]
    assert all(later - earlier >= 1000 for earlier, later in pairwise(at))
    assert not [e for e in server.process.of("blind_core") if e["core"] == core["key"]]


def test_full_room_is_made_by_priority_and_activity_and_the_highest_stays(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server("--max-bytes", "4MiB")
    client = new_client(server)
    size = 16384
    low = client.keep("low", 60, size=size)
    mid = client.keep("mid", 60, size=size, priority=1)
    low2 = client.keep("low2", 60, size=size)
    for core in (low, mid, low2):
        server.process.wait_blind(core["key"])
    more = client.keep("more", 90, size=size, priority=1)
    assert server.process.wait_blind(low["key"], "collected")["bytes"] == 0
    server.process.wait_blind(more["key"])
    assert not [
        e for e in server.process.of("blind_core") if e["core"] == mid["key"] and e["state"] == "collected"
    ]
    assert client.ask("read", key=mid["key"])["complete"]
    assert client.ask("read", key=more["key"])["complete"]
    small = client.keep("small", 2)  # requests are still accepted
    assert client.ask("read", key=small["key"])["complete"]


def test_thousands_of_cores_of_one_client_become_complete(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server()
    client = new_client(server, passive=True)
    count = 500
    for number in range(count):
        client.ask("core", name=f"c{number}", count=1)
        client.ask("add", name=f"c{number}")
    eventually(
        lambda: (
            len({e["core"] for e in server.process.of("blind_core") if e["state"] == "complete"}) == count
        ),
        timeout=60,
        what="all cores are complete",
    )
    assert client.ask("connections")["dialled"] == 1


def test_a_client_of_version_1_has_its_core_kept_by_rpc(new_server: NewServer, new_client: NewClient) -> None:
    server = new_server()
    client = new_client(server, version=1)
    core = client.keep("a", 3)
    client.ask("append", name="a", count=1)
    client.ask("wait", name="a")
    assert client.ask("read", key=core["key"])["have"] == 4
    assert client.ask("connections")["dialled"] == 1
