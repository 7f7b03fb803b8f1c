"""Who may have a blind peer keep cores."""

from __future__ import annotations

from workers.engine.settings.blind_peer import BlindPeerSettings, parse_bans

ONE, TWO, THREE = (bytes([n]) * 32 for n in (1, 2, 3))


def test_listed_and_trusted_clients_may_ask_and_without_a_list_any() -> None:
    listed = BlindPeerSettings(trusted=frozenset({TWO}), clients=frozenset({ONE}))
    assert [listed.may_ask(key) for key in (ONE, TWO, THREE)] == [True, True, False]
    assert BlindPeerSettings().may_ask(THREE)


def test_settings_reach_an_engine_as_they_are() -> None:
    bans = parse_bans(["03" * 32, "10.0.0.0/8", "2001:db8::1"])
    for clients in (None, frozenset[bytes](), frozenset({ONE, THREE})):
        settings = BlindPeerSettings(trusted=frozenset({ONE, TWO}), bans=bans, clients=clients)
        assert BlindPeerSettings.from_text(settings.to_text()) == settings
