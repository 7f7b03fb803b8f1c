"""Which blind peer a worker is, by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from farmwire.tasks import BlindPeerOrder
from workers.agent.settings import WorkerSettings, ordered, settings_from
from workers.agent.shard import _command
from workers.engine.settings.blind_peer import BlindPeerSettings, parse_bans
from workers.settings.table import SettingError

ONE, TWO = "01" * 32, "02" * 32


def blind_peer(given: Mapping[str, str], *, enabled: bool = False) -> BlindPeerSettings | None:
    """`given`: by the end of the name of a variable."""
    names = {f"SEEDERFARM_BLIND_PEER{name}": value for name, value in given.items()}
    return settings_from({"HOME": "/nowhere", **names}, blind_peer=enabled).blind_peer


def test_without_the_option_or_the_variable_a_worker_is_no_blind_peer() -> None:
    assert blind_peer({}) is None
    assert blind_peer({"": "none"}) is None
    assert blind_peer({}, enabled=True) == BlindPeerSettings()
    assert blind_peer({"": "anyone"}) == BlindPeerSettings()


def test_the_variable_lists_the_clients_whatever_the_option() -> None:
    for enabled in (False, True):
        given = {"": f"{ONE}, {TWO}", "_TRUST": TWO, "_BAN": "192.0.2.0/24"}
        found = blind_peer(given, enabled=enabled)
        assert found is not None
        assert found.clients == {bytes.fromhex(ONE), bytes.fromhex(TWO)}
        assert found.trusted == {bytes.fromhex(TWO)} and found.bans.has_host("192.0.2.7")


@pytest.mark.parametrize(("name", "value"), [("", "friends"), ("_TRUST", "ab"), ("_BAN", "example.org")])
def test_what_is_no_key_or_network_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"SEEDERFARM_BLIND_PEER{name}: "):
        blind_peer({name: value}, enabled=True)


def test_an_app_must_be_let_in_by_the_machine_and_by_control_and_be_trusted_by_one_of_them() -> None:
    one, two = bytes.fromhex(ONE), bytes.fromhex(TWO)
    bans = parse_bans(["192.0.2.0/24"])
    open_to_all, listed = BlindPeerSettings(bans=bans), BlindPeerSettings(clients=frozenset({one}), bans=bans)
    assert ordered(listed, None) == listed
    anyone = BlindPeerOrder(version="1", max_cores=5, max_bytes=7)
    assert ordered(open_to_all, anyone) == replace(open_to_all, max_cores=5, max_bytes=7)
    assert ordered(listed, anyone).clients == {one}
    none = ordered(open_to_all, BlindPeerOrder(version="2", clients=[], trusted=[TWO]))
    assert (none.may_ask(one), none.may_ask(two), none.bans) == (False, True, bans)
    assert ordered(listed, BlindPeerOrder(version="3", clients=[TWO])).clients == frozenset()
    own = BlindPeerSettings(trusted=frozenset({one}))
    assert ordered(own, BlindPeerOrder(version="4", trusted=[TWO])).trusted == {one, two}


def test_what_an_engine_gets_is_what_the_worker_has() -> None:
    for settings in (
        BlindPeerSettings(),
        BlindPeerSettings(
            trusted=frozenset({bytes.fromhex(ONE)}),
            bans=parse_bans([TWO, "10.0.0.0/8"]),
            clients=frozenset({bytes.fromhex(TWO)}),
            max_cores=3,
            max_bytes=0,
        ),
    ):
        assert BlindPeerSettings.from_text(settings.to_text()) == settings


def test_the_first_engine_of_a_worker_is_the_blind_peer() -> None:
    settings: WorkerSettings = settings_from({"HOME": "/nowhere"}, shards=2, blind_peer=True)
    commands = [_command(index, settings, settings.data) for index in range(2)]
    assert ["--blind-peer" in command for command in commands] == [True, False]
