"""Nodes of the DHT that are kept for the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypercore.dht.address import Address, BootstrapNode
from hypercore.dht.constants import BOOTSTRAP_NODES
from workers.engine.settings.dht_nodes import MAX_BYTES, load_nodes, network_name, save_nodes

NODES = [Address("77.0.0.1", 49737), Address("77.0.0.2", 1)]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save_nodes(tmp_path / "nodes", "public", NODES)
    assert load_nodes(tmp_path / "nodes", "public") == NODES
    assert (tmp_path / "nodes").stat().st_mode & 0o777 == 0o600


def test_nodes_of_another_network_are_left_alone(tmp_path: Path) -> None:
    private = network_name([BootstrapNode("127.0.0.1", 5000)])
    save_nodes(tmp_path / "nodes", private, NODES)
    assert load_nodes(tmp_path / "nodes", network_name(BOOTSTRAP_NODES)) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"public\nnonsense\n:::\n1.2.3.4:99999\n", b"public\n" + b"x" * 3 * MAX_BYTES, b"\n"],
)
def test_a_damaged_file_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "nodes").write_bytes(content)
    assert load_nodes(tmp_path / "nodes", "public") == []


def test_no_file_is_no_obstacle_and_a_disk_that_refuses_neither(tmp_path: Path) -> None:
    assert load_nodes(tmp_path / "nodes", "public") == []
    save_nodes(tmp_path / "not there" / "nodes", "public", NODES)
