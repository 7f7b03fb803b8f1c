"""Small policies of the engine: settings, identity, rates, lookups, the word for a state."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hypercore.dht.address import parse_bootstrap
from hypercore.dht.constants import BOOTSTRAP_NODES
from hypercore.errors import StoreUnreadable
from workers.engine.model.rate import WINDOW, Rate
from workers.engine.model.status import State, state_of
from workers.engine.seeds.lookup_schedule import CATCH_UP, LATER_REPEAT, LOOKUP_TIME, Lookups
from workers.engine.seeds.stage import COLD_AFTER, REST_AFTER, Stage, StageMachine
from workers.engine.settings.identity import IDENTITY_FILE, load_identity
from workers.engine.settings.settings import bootstrap_from, data_directory

# --- settings


def test_bootstrap_of_the_command_line_wins_over_the_environment() -> None:
    environ = {"SEEDERFARM_BOOTSTRAP": "10.0.0.1:1, node.example:2,"}
    assert bootstrap_from((), environ) == (
        parse_bootstrap("10.0.0.1:1"),
        parse_bootstrap("node.example:2"),
    )
    assert bootstrap_from(("127.0.0.1:3",), environ) == (parse_bootstrap("127.0.0.1:3"),)


def test_no_bootstrap_means_the_public_nodes() -> None:
    assert bootstrap_from((), {}) == BOOTSTRAP_NODES
    assert bootstrap_from((), {"SEEDERFARM_BOOTSTRAP": " "}) == BOOTSTRAP_NODES


def test_the_data_directory_follows_option_then_home_then_default(tmp_path: Path) -> None:
    assert data_directory(tmp_path, {"SEEDERFARM_HOME": "/elsewhere"}) == tmp_path
    assert data_directory(None, {"SEEDERFARM_HOME": "/elsewhere"}) == Path("/elsewhere/data")
    assert data_directory(None, {}) == Path.home() / ".seederfarm" / "data"


# --- identity


def test_the_identity_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = load_identity(tmp_path)
    assert load_identity(tmp_path) == first
    assert stat.S_IMODE((tmp_path / IDENTITY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [IDENTITY_FILE]


def test_an_identity_half_made_by_a_crash_is_made_again(tmp_path: Path) -> None:
    (tmp_path / f"{IDENTITY_FILE}.new").write_text("12ab")
    assert load_identity(tmp_path) == load_identity(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a seed", b"ab" * 31, b"\xff\xfe"])
def test_an_identity_that_is_none_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / IDENTITY_FILE
    path.write_bytes(content)
    with pytest.raises(StoreUnreadable, match="identity"):
        load_identity(tmp_path)
    assert path.read_bytes() == content


# --- rates


def test_a_steady_counter_has_its_rate() -> None:
    rate = Rate()
    for tenth in range(100):
        rate.sample(tenth * 1000, tenth / 10)
    assert rate.per_second(9.9) == pytest.approx(10_000, rel=0.05)


def test_a_counter_that_stands_still_comes_to_rest_within_the_window() -> None:
    rate = Rate()
    rate.sample(0, 0.0)
    rate.sample(1000, 1.0)
    assert rate.per_second(1.0) == 1000
    assert rate.per_second(2.0) == 500
    assert rate.per_second(1.0 + WINDOW + 0.1) == 0.0


def test_samples_of_a_rate_are_bounded() -> None:
    rate = Rate()
    for step in range(10_000):
        rate.sample(step, step / 1000)
    assert len(rate._samples) <= WINDOW / 0.25 + 1


# --- lookups


def test_a_key_that_is_behind_looks_all_the_time() -> None:
    lookups = Lookups(spread=0.5)
    assert all(lookups.wants(complete=False, peers=peers, now=1e6) for peers in (0, 3))


def test_a_key_that_stays_behind_repeats_its_look_ever_more_rarely() -> None:
    lookups = Lookups(spread=0.0)
    now = 0.0
    waits = []
    assert not lookups.repeats(complete=False, peers=0, now=now)
    for _ in range(9):
        at = lookups.next_deadline(now)
        assert at is not None
        assert not lookups.repeats(complete=False, peers=0, now=at - 0.1)
        assert lookups.repeats(complete=False, peers=0, now=at)
        waits.append(at - now)
        now = at
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_a_key_that_loses_its_last_peer_looks_at_once_and_begins_anew() -> None:
    lookups = Lookups(spread=0.0)
    lookups.repeats(complete=False, peers=0, now=0.0)
    lookups.repeats(complete=False, peers=0, now=5.0)
    assert not lookups.repeats(complete=False, peers=1, now=6.0)
    assert lookups.next_deadline(6.0) == 6.0 + LATER_REPEAT, "with peers there is no hurry"
    assert lookups.repeats(complete=False, peers=0, now=7.0)
    assert lookups.next_deadline(7.0) == 12.0


def test_a_complete_key_does_not_repeat_its_looks() -> None:
    lookups = Lookups(spread=0.0)
    lookups.repeats(complete=False, peers=0, now=0.0)
    assert not lookups.repeats(complete=True, peers=0, now=100.0)


def test_a_key_that_starts_complete_looks_once_for_news() -> None:
    lookups = Lookups(spread=0.5)
    assert lookups.wants(complete=True, peers=0, now=0.0)
    assert lookups.next_deadline(0.0) == LOOKUP_TIME
    assert not lookups.wants(complete=True, peers=0, now=LOOKUP_TIME)


def test_a_key_that_completes_with_a_peer_stops_looking_at_once() -> None:
    lookups = Lookups(spread=0.0)
    assert lookups.wants(complete=False, peers=1, now=0.0)
    assert not lookups.wants(complete=True, peers=1, now=1.0)
    assert lookups.next_deadline(1.0) is None
    assert not lookups.wants(complete=True, peers=0, now=1e6)


def test_a_complete_key_that_falls_behind_looks_at_once() -> None:
    lookups = Lookups(spread=0.0, asked=True)
    assert not lookups.wants(complete=True, peers=0, now=LOOKUP_TIME)
    assert lookups.wants(complete=False, peers=0, now=LOOKUP_TIME + 1)


def test_a_complete_key_that_falls_behind_gives_its_peers_a_moment() -> None:
    lookups = Lookups(spread=0.0, asked=True)
    assert not lookups.wants(complete=False, peers=1, now=10.0)
    assert lookups.next_deadline(10.0) == 10.0 + CATCH_UP
    assert lookups.wants(complete=False, peers=1, now=10.0 + CATCH_UP)


# --- warmth


def test_a_complete_key_rests_and_is_put_away_without_requests() -> None:
    machine = StageMachine()
    assert machine.step(idle=False, peers=1, now=0.0) is Stage.ACTIVE
    assert machine.step(idle=True, peers=1, now=5.0) is Stage.ACTIVE
    assert machine.next_deadline() == 5.0 + REST_AFTER
    assert machine.step(idle=True, peers=1, now=5.0 + REST_AFTER) is Stage.RESTING
    assert machine.step(idle=True, peers=1, now=1e6) is Stage.RESTING
    assert machine.next_deadline() is None, "as long as somebody is there"
    assert machine.step(idle=True, peers=0, now=1e6) is Stage.RESTING
    assert machine.next_deadline() == 1e6 + COLD_AFTER
    assert machine.step(idle=True, peers=0, now=1e6 + COLD_AFTER) is Stage.COLD


@pytest.mark.parametrize("woken", [False, True])
def test_a_key_that_hears_of_news_is_active_at_once_and_begins_anew(woken: bool) -> None:
    machine = StageMachine(woken=woken)
    assert machine.stage is (Stage.RESTING if woken else Stage.ACTIVE)
    machine.step(idle=True, peers=0, now=0.0)
    assert machine.step(idle=False, peers=0, now=9.0) is Stage.ACTIVE
    assert machine.next_deadline() is None
    machine.step(idle=True, peers=0, now=20.0)
    assert machine.next_deadline() == 20.0 + REST_AFTER


# --- state


@pytest.mark.parametrize(
    ("blocks", "have", "complete", "durable", "synced", "peers", "offered", "state"),
    [
        (0, 0, False, True, False, 0, False, State.LOOKING),
        (0, 0, False, True, False, 1, False, State.ASKING),
        (9, 4, False, False, False, 1, True, State.DOWNLOADING),
        (9, 4, False, False, False, 1, False, State.WAITING),
        (9, 4, False, False, False, 0, False, State.WAITING),
        (9, 9, False, False, False, 2, False, State.ASKING),
        (9, 9, True, False, False, 2, False, State.FLUSHING),
        (9, 9, True, True, False, 2, False, State.CHECKING),
        (9, 9, True, True, True, 0, False, State.SYNCED),
        (9, 4, True, True, True, 1, True, State.SYNCED),
    ],
)
def test_the_word_for_a_state(
    blocks: int,
    have: int,
    complete: bool,
    durable: bool,
    synced: bool,
    peers: int,
    offered: bool,
    state: State,
) -> None:
    word = state_of(
        blocks=blocks,
        have_blocks=have,
        complete=complete,
        durable=durable,
        synced=synced,
        peers=peers,
        offered=offered,
    )
    assert word is state
