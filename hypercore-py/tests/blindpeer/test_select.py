"""Which blind peers a client chooses, against the official choices."""

from __future__ import annotations

import pytest

from hypercore.blindpeer import choose_mirrors
from hypercore.blindpeer.select import MAX_ADDRESS_NODES, read_address
from hypercore.codec import Reader, Writer
from hypercore.errors import FrameDecodeError
from hypercore.keys import encode_key
from support.codec_cases import Json, load, unhex

CASES = load("blindpeer/select")[1:]
CHOICES = [case for case in CASES if case["name"].startswith(("xor-", "groups-", "target-"))]


@pytest.mark.parametrize("case", CHOICES, ids=lambda case: case["name"])
def test_the_choice_is_the_official_one(case: Json) -> None:
    inputs = case["inputs"]
    servers = [server if isinstance(server, dict) else {"key": server} for server in inputs["servers"]]
    groups = {unhex(server["key"]): server["group"] for server in servers if server.get("group")}
    chosen = choose_mirrors(
        unhex(inputs["target"]), [unhex(server["key"]) for server in servers], inputs["pick"], groups
    )
    assert [key.hex() for key in chosen] == case["output"]


def test_addresses_and_ids_are_the_official_ones() -> None:
    named = {case["name"]: case for case in CASES if case not in CHOICES}
    for name in ("address-bare", "address-with-nodes"):
        case = named.pop(name)
        key, nodes = read_address(Reader(unhex(case["output"])))
        assert (key.hex(), nodes) == (
            case["decoded"]["key"],
            [(node["host"], node["port"]) for node in case["decoded"]["nodes"]],
        )
    case = named.pop("id")
    assert encode_key(unhex(case["inputs"])) == case["output"]
    assert not named
    assert read_address(Reader(bytes(32))) == (bytes(32), [])


def test_an_address_has_few_nodes_each_with_a_port() -> None:
    node = b"\x7f\x00\x00\x01\x01\x00"
    for count, valid in ((MAX_ADDRESS_NODES, True), (MAX_ADDRESS_NODES + 1, False)):
        reader = Reader(bytes(32) + b"\x01" + bytes(Writer().uint(count)) + node * count)
        if valid:
            assert len(read_address(reader)[1]) == count
        else:
            with pytest.raises(FrameDecodeError):
                read_address(reader)
    with pytest.raises(FrameDecodeError):
        read_address(Reader(bytes(32) + b"\x01\x01" + bytes(6)))
