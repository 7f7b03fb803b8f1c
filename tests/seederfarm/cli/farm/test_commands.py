"""The commands of the farm on a registry of their own; nothing runs beside them."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from farmwire.join import JoinToken, without_login
from hypercore.keys import encode_key
from seederfarm.cli import FARM_COMMANDS, main

from ....support.farm_home import FarmHome, OneProcessHome


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmHome]:
    """One that was made once; each test adds keys of its own."""
    made = OneProcessHome(tmp_path_factory.mktemp("farm") / "home")
    (reported,) = made.lines("init")
    assert reported["admin"]["username"] == "admin"
    try:
        yield made
    finally:
        made.dispose()


@pytest.fixture
def key() -> bytes:
    return os.urandom(32)


def one_line(text: str) -> bool:
    return text.startswith("seederfarm: ") and text.count("\n") == 1


def keys_of(home: FarmHome, *arguments: str) -> list[str]:
    return [line["key"] for line in home.lines("list", *arguments)]


def test_usage_names_the_command_as_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_COMMAND", "./farm")
    for arguments in (["--help"], ["worker", "drain", "--help"]):
        assert CliRunner().invoke(main, arguments).output.startswith("Usage: ./farm ")


def test_init_makes_an_account_once(home: FarmHome) -> None:
    (again,) = home.lines("init")
    assert again["admin"] is None
    assert again["migrated"] == []


@pytest.mark.parametrize("command", [["list"], ["add", "0" * 64]])
def test_without_a_farm_commands_say_so_in_one_line_and_make_nothing(
    command: list[str], tmp_path: Path
) -> None:
    farm = FarmHome(tmp_path / "none")
    done = farm.run(*command)
    assert done.returncode == 1
    assert one_line(done.stderr) and "seederfarm up" in done.stderr
    assert not farm.home.exists()


def test_a_key_in_any_spelling_is_added_once(home: FarmHome, key: bytes) -> None:
    spellings = [key.hex(), encode_key(key), f"hyper://{encode_key(key)}/some/file"]
    (added,) = home.lines("add", *spellings, "--label", "A label", "--tag", "Film", "--replicas", "2:3")
    assert (added["event"], added["key"]) == ("added", key.hex())
    (known,) = home.lines("add", key.hex())
    assert known["event"] == "known"
    (shown,) = home.lines("show", encode_key(key))
    assert shown["label"] == "A label"
    assert shown["tags"] == ["film"]
    assert shown["replicas"] == [2, 3]
    assert shown["complete"] == shown["counted"] == 0
    assert shown["health"] == "waiting"
    assert shown["offline"]["safe"] is False and shown["offline"]["text"] == "Not yet: nothing has arrived"
    assert keys_of(home, "--tag", "film") == [key.hex()]
    assert key.hex() in keys_of(home, "--short") and key.hex() in keys_of(home, "--state", "waiting")
    assert key.hex() in keys_of(home, "--state", "active") and key.hex() not in keys_of(
        home, "--state", "at-risk"
    )
    assert "waiting" in home.run("list").stdout
    assert "Not yet: nothing has arrived" in home.run("show", key.hex()).stdout


def test_copies_of_a_known_key_change_when_they_are_named(home: FarmHome, key: bytes) -> None:
    home.lines("add", key.hex(), "--replicas", "1")
    (known,) = home.lines("add", key.hex(), "--replicas", "2:3")
    assert known["event"] == "known"
    (shown,) = home.lines("show", key.hex())
    assert shown["replicas"] == [2, 3]
    home.lines("add", key.hex())
    (shown,) = home.lines("show", key.hex())
    assert shown["replicas"] == [2, 3]


def test_waiting_for_more_copies_than_there_will_be_is_refused(home: FarmHome, key: bytes) -> None:
    done = home.run("add", key.hex(), "--replicas", "1", "--wait=2")
    assert done.returncode == 2
    assert one_line(done.stderr) and "--replicas changes that" in done.stderr


def test_a_malformed_key_adds_none_of_its_neighbours(home: FarmHome, key: bytes) -> None:
    before = keys_of(home)
    done = home.run("add", key.hex(), "nonsense")
    assert done.returncode == 2
    assert one_line(done.stderr) and "nonsense" in done.stderr
    assert keys_of(home) == before
    assert home.run("show", "nonsense").stderr == done.stderr, "every command says it alike"


def test_the_name_of_a_drive_is_no_key_and_list_shows_it(home: FarmHome, key: bytes) -> None:
    home.lines("add", key.hex(), "--label", "My Site")
    done = home.run("show", "My Site")
    assert done.returncode == 2 and one_line(done.stderr)
    assert "'My Site' is not a key" in done.stderr and "list` shows its key" in done.stderr


def test_a_list_without_any_line_adds_nothing(home: FarmHome) -> None:
    done = home.run("add", "--file", "-", stdin="")
    assert (done.returncode, done.stderr) == (2, "seederfarm: the list is empty\n")


def test_malformed_lines_of_a_list_are_named_by_their_number(home: FarmHome, key: bytes) -> None:
    before = keys_of(home)
    done = home.run("add", "--file", "-", stdin=f"# seeds\ndrive {key.hex()}\n\nbee what\nno key\n")
    assert done.returncode == 2
    assert "line 4 of the list" in done.stderr and "line 5 of the list" in done.stderr
    assert keys_of(home) == before
    home.lines("add", "--file", "-", stdin=f"# seeds\ndrive {key.hex()}\n")
    assert home.lines("show", key.hex())[0]["kind"] == "drive"


def test_waiting_ends_at_its_timeout_and_does_not_take_the_key_for_its_number(
    home: FarmHome, key: bytes
) -> None:
    done = home.run("add", "--timeout", "0.1", "--wait", key.hex())
    assert done.returncode == 1
    assert "did not get complete" in done.stderr
    (copies,) = re.findall(r"^  copies  (.+)$", home.run("show", key.hex()).stdout, re.MULTILINE)
    assert f": copies {copies}\n" in done.stderr, "`show` counts them in the same way"
    assert key.hex() in keys_of(home)


def test_removed_keys_are_on_their_way_out_and_unknown_ones_are_refused(home: FarmHome, key: bytes) -> None:
    home.lines("add", key.hex())
    unknown = os.urandom(32).hex()
    done = home.run("remove", key.hex(), unknown)
    assert done.returncode == 1 and one_line(done.stderr)
    assert home.lines("show", key.hex())[0]["state"] == "active"
    assert home.lines("remove", key.hex()) == [{"event": "removing", "count": 1}]
    assert home.lines("show", key.hex())[0]["state"] == "removing"
    assert key.hex() in keys_of(home, "--state", "removing")


def test_status_distinguishes_unproven_copies_from_too_few(home: FarmHome, key: bytes) -> None:
    def counts() -> dict[str, int]:
        farm: dict[str, int] = json.loads(home.run("status", "--json").stdout)["farm"]
        return farm

    home.lines("add", key.hex(), os.urandom(32).hex())
    before = counts()
    complete = (
        "from seederfarm.registry.models import *;"
        "w = Worker.objects.create(node_id='n'*52, name='unproven', state='retired');"
        f"d = Drive.objects.get(key='{key.hex()}');"
        "Replica.objects.create(drive=d, worker=w, phase='complete', total_blocks=9, have_blocks=9)"
    )
    assert FarmHome.run(home, "shell", stdin=complete).returncode == 0
    after = counts()
    assert (after["short"], after["unproven"]) == (before["short"], before["unproven"] + 1)
    missing = after["short"] - after["unproven"]
    shown = home.run("status").stdout
    assert f"{missing} with too few complete copies, {after['unproven']} with too few proven copies" in shown


def test_the_last_complete_copy_is_guarded(home: FarmHome, key: bytes) -> None:
    home.lines("add", key.hex())
    complete = (
        "from seederfarm.registry.models import *;"
        "w = Worker.objects.create(node_id='y'*52, name='keeper', state='active');"
        f"d = Drive.objects.get(key='{key.hex()}');"
        "Replica.objects.create(drive=d, worker=w, phase='complete', total_blocks=9, have_blocks=9);"
        "import datetime; at = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC);"
        "made = [Event(drive=d, kind='x', text=f'day {day}', at=at.replace(day=day)) for day in (2, 1)];"
        "Event.objects.bulk_create(made)"
    )
    done = FarmHome.run(home, "shell", stdin=complete)  # it reads the process's own standard input
    assert done.returncode == 0, done.stderr
    refused = home.run("remove", key.hex())
    assert refused.returncode == 1 and "--force" in refused.stderr
    (shown,) = home.lines("show", key.hex())
    assert shown["state"] == "active"
    assert [event["text"] for event in shown["events"]][:2] == ["day 2", "day 1"], "they came late"
    assert [event["text"] for event in home.lines("events", "--drive", key.hex())][:2] == ["day 2", "day 1"]
    assert home.run("worker", "retire", "keeper").returncode == 1
    assert home.lines("worker", "drain", "keeper") == [
        {"worker": "keeper", "state": "draining", "changed": True}
    ]
    (keeper,) = [worker for worker in home.lines("workers") if worker["name"] == "keeper"]
    assert (keeper["state"], keeper["copies"], keeper["complete"]) == ("draining", 1, 1)
    assert home.run("remove", "--force", key.hex()).returncode == 0
    assert home.run("worker", "drain", "nobody").returncode == 2


def test_blind_peers_are_listed_with_the_line_for_apps(home: FarmHome) -> None:
    assert "worker run --blind-peer" in home.run("mirrors").stdout
    found = {"key": "00" * 32, "cores": 4, "bytes": 2_000_000, "clients": 1}
    make = (
        "from seederfarm.registry.models import *;"
        f"Worker.objects.create(node_id='b'*52, name='b', state='active', engine={{'blind_peer': {found}}});"
        "Worker.objects.create(node_id='c'*52, name='c', state='active', engine={'blind_peer': None})"
    )
    assert FarmHome.run(home, "shell", stdin=make).returncode == 0
    (mirror,) = home.lines("mirrors")
    assert (mirror["worker"], mirror["key"], mirror["online"]) == ("b", encode_key(bytes(32)), False)
    shown = home.run("mirrors").stdout
    assert "2.0 MB" in shown and f"keys: ['{encode_key(bytes(32))}']" in shown


def test_an_export_into_a_file_is_for_its_owner_alone_and_whole(home: FarmHome, tmp_path: Path) -> None:
    target = tmp_path / "export.jsonl"
    target.write_text("before")
    target.chmod(0o644)
    done = home.run("export", "--secrets", "-o", str(target))
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert json.loads(target.read_text().splitlines()[0])["seederfarm"] == "export"
    assert list(tmp_path.iterdir()) == [target]
    done = home.run("export", "-o", str(tmp_path / "nowhere" / "x"))
    assert done.returncode == 1 and "cannot write" in done.stderr and "Nothing was exported" in done.stderr
    assert home.run("export", "-o", "/dev/null").returncode == 0


def test_an_export_comes_back_in_another_farm(home: FarmHome, key: bytes, tmp_path: Path) -> None:
    home.lines("add", key.hex(), "--kind", "bee", "--label", "Bee “one”", "--tag", "b", "--replicas", "2")
    exported = home.run("export").stdout
    head, *lines = map(json.loads, exported.splitlines())
    assert (head["seederfarm"], head["version"]) == ("export", 2)
    (line,) = [line for line in lines if line.get("key") == key.hex()]
    assert (line["kind"], line["label"], line["tags"], line["replicas"]) == (
        "bee",
        "Bee “one”",
        ["b"],
        [2, 2],
    )
    assert f"bee {key.hex()}\n" in home.run("export", "--seeds").stdout

    other = FarmHome(tmp_path / "other")
    other.lines("init")
    count = len(lines)
    assert other.lines("import", "-", stdin=exported)[0]["added"] == count
    (again,) = other.lines("import", "-", stdin=exported)
    assert (again["added"], again["known"], again["problems"]) == (0, count, [])
    assert sorted(other.run("export").stdout.splitlines()[1:]) == sorted(exported.splitlines()[1:])


@pytest.mark.parametrize("wrong", ['{"key": "nonsense"}', '{"key": "%s", "tags": ["no tag!"]}', "{"])
def test_a_damaged_export_adds_nothing(wrong: str, home: FarmHome, key: bytes) -> None:
    good = json.dumps({"key": key.hex()})
    done = home.run("import", "-", stdin=f"{good}\n{wrong.replace('%s', os.urandom(32).hex())}\n")
    assert done.returncode == 2, done.stderr
    assert "line 2" in done.stderr and "Traceback" not in done.stderr
    assert home.run("show", key.hex()).returncode == 1


def test_what_an_import_does_not_understand_is_named_and_strictly_refused(home: FarmHome, key: bytes) -> None:
    line = json.dumps({"key": key.hex(), "colour": "red", "pinned": ["x" * 52]})
    done = home.run("import", "--strict", "-", stdin=line)
    assert done.returncode == 2 and "'colour'" in done.stderr and "not pinned" in done.stderr
    assert home.run("show", key.hex()).returncode == 1
    done = home.run("import", "-", stdin=line)
    assert done.returncode == 0 and "line 1: 'colour' is not understood" in done.stderr
    assert key.hex() in keys_of(home)


def test_a_token_of_enrolment_names_the_broker_and_is_a_secret_of_its_own(home: FarmHome) -> None:
    (one,) = home.lines("worker", "enroll", "--name", "pi", "--zone", "cellar")
    (two,) = home.lines("worker", "enroll", "--broker", "rediss://u:p@farm.example.org:6380/0")
    first, second = (JoinToken.from_text(reported["token"]) for reported in (one, two))
    assert without_login(first.broker) == f"redis+socket://{home.home}/run/redis.sock"
    assert "-join-" in first.broker, "a login that may do no more"
    assert second.broker == "rediss://u:p@farm.example.org:6380/0"
    assert first.control == second.control and first.secret != second.secret
    assert "p@farm" not in json.dumps(two)
    assert one["command"] is None, "no other machine reaches the bundled broker"
    shown = home.run("worker", "enroll").stderr
    assert "The broker does not answer now: the worker can join when the farm runs" in shown
    assert "INFO" not in shown and "Errno" not in shown


def test_settings_are_shown_without_secrets(tmp_path: Path) -> None:
    farm = FarmHome(tmp_path / "home", REDIS_URL="redis://:hunter2@127.0.0.1:1/0", SEEDERFARM_REPLICAS="2:4")
    shown = {line["name"]: line["value"] for line in farm.lines("config", "get")}
    assert shown["SEEDERFARM_REPLICAS"] == "2:4"
    assert shown["SEEDERFARM_HOME"] == str(farm.home)
    assert "hunter2" not in json.dumps(shown)
    assert farm.run("config", "get", "web_port").stdout.strip() == farm.env["SEEDERFARM_WEB_PORT"]
    assert farm.run("config", "get", "nothing").returncode == 2


def test_sources_and_the_address_of_the_pages(home: FarmHome) -> None:
    assert home.lines("sources") == []
    assert home.run("dashboard").stdout.strip() == home.address


def test_tables_for_people_are_printed_without_a_terminal(home: FarmHome, key: bytes) -> None:
    home.lines("add", key.hex(), "--label", "[bold]not markup[/bold]\x1b[31m")
    listed = home.run("list").stdout
    assert encode_key(key) in listed and "[bold]not markup[/bold]" in listed
    assert "\x1b" not in listed + home.run("show", key.hex()).stdout
    for command in (["list"], ["workers"], ["events"], ["config", "get"]):
        shown = home.run(*command).stdout
        assert [line for line in shown.splitlines() if line != line.rstrip()] == [], command
    assert home.run("list", "--tag", "none").stdout == "No such drives.\n"


def test_people_are_shown_the_newest_of_very_many_keys_and_how_many_more_there_are(
    home: FarmHome, tmp_path: Path
) -> None:
    seeds = tmp_path / "seeds.txt"
    seeds.write_text("\n".join(f"{number:064x}" for number in range(1, 1003)))
    home.run("add", "--file", str(seeds))
    listed = home.run("list")
    assert len(listed.stdout.splitlines()) == 1001  # and the headings
    assert re.search(r"and \d+ older keys", listed.stderr)  # of other tests, too
    assert len(home.run("list", "--limit", "3").stdout.splitlines()) == 4


@pytest.mark.parametrize("name", FARM_COMMANDS)
def test_every_command_of_the_farm_and_each_of_its_options_has_help(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.help
    for parameter in () if isinstance(command, click.Group) else command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0
