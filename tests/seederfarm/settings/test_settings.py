from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seederfarm.settings import base, document, env, table
from seederfarm.settings.load import Loaded
from seederfarm.settings.load import load as load_from
from seederfarm.settings.secrets import secret_file, too_open
from workers.settings import table as peer

from ...support.paths import ROOT


def load(tmp_path: Path, **environ: str) -> Loaded:
    return load_from({"SEEDERFARM_HOME": str(tmp_path), **environ})


def test_the_page_of_settings_is_the_table() -> None:
    assert (ROOT / "docs/settings.md").read_text() == document.markdown(), (
        "make it again: python -m seederfarm.settings.document > docs/settings.md"
    )


def test_every_setting_has_its_own_name_and_help() -> None:
    rows = [*table.TABLE, *peer.PEER_TABLE]
    assert len({row.name for row in table.TABLE}) == len(table.TABLE)
    assert len({row.name for row in rows}) == len(rows) - len(peer.SHARED)
    assert len({table.toml_name(row) for row in table.TABLE}) == len(table.TABLE)
    assert all(len(row.help) > 10 and row.help.endswith((".", ")")) for row in rows)


def test_nothing_set_is_right(tmp_path: Path) -> None:
    farm = load(tmp_path).checked()
    assert farm.home == tmp_path
    assert (farm.debug, farm.allowed_hosts) == (False, ("localhost", "127.0.0.1", "[::1]"))
    assert farm.database_path == tmp_path / "farm.sqlite3"
    assert farm.bundled_redis and farm.broker_url.startswith("redis+socket:///")
    assert list(tmp_path.iterdir()) == [], "reading settings writes nothing"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "seederfarm.toml").write_text(
        'web_port = 9000\nname = "Ours"\nallowed_hosts = ["a.example", "b.example"]\n'
        'https = true\nheartbeat = "1m"\n'
    )
    farm = load(tmp_path, SEEDERFARM_NAME="Mine").checked()
    assert (farm.web_port, farm.name, farm.https, farm.heartbeat) == (9000, "Mine", True, 60.0)
    assert farm.allowed_hosts == ("a.example", "b.example")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SEEDERFARM_WEB_PORT", "http", "whole number from 1 to 65535"),
        ("SEEDERFARM_WEB_PORT", "0", "whole number from 1 to 65535"),
        ("SEEDERFARM_DEBUG", "maybe", "true or false"),
        ("SEEDERFARM_HEARTBEAT", "soon", "duration such as"),
        ("SEEDERFARM_REPLICAS", "3:2", "MIN or MIN:MAX"),
        ("SEEDERFARM_REPLICAS", "0", "MIN or MIN:MAX"),
        ("SEEDERFARM_BOOTSTRAP", "example.org", "HOST:PORT"),
        ("SEEDERFARM_LOG_LEVEL", "loud", "one of debug"),
        ("SEEDERFARM_TIME_ZONE", "Mars/Olympus", "Europe/Berlin"),
        ("SEEDERFARM_TIME_ZONE", "../../etc/passwd", "Europe/Berlin"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", "postgresql://"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:port/d", "port"),
        ("DATABASE_URL", "postgresql://u:hunter2@h", "names no database"),
        ("DATABASE_URL", "postgresql://u:hunter2[x@h/d", "percent-encoded: %23 for #, %5B for ["),
        ("DATABASE_URL", "postgresql://u:hunter2#x@h/d", "percent-encoded"),
        ("DATABASE_URL", "postgresql://u:hunter2/x@h/d", "percent-encoded"),
        ("REDIS_URL", "redis://:hunter2#x@h:6379/0", "percent-encoded"),
        ("REDIS_URL", "redis://:[hunter2@h:6379/0", "percent-encoded"),
        ("REDIS_URL", "redis://:hunter2]@h:6379/0", "percent-encoded"),
        ("REDIS_URL", "rediss://u:hunter2?x@h:6379/0", "percent-encoded"),
        ("REDIS_URL", "redis+socket://:hunter2#x@/run/redis.sock", "percent-encoded"),
        ("REDIS_URL", "redis://:hunter2@h:port/0", "port"),
        ("REDIS_URL", "redis://:hunter2\u2100@h/0", "percent-encoded"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    loaded = load(tmp_path, **{name: value})
    (problem,) = loaded.problems
    assert problem.name == name
    assert expected in problem.text
    assert "hunter2" not in problem.text + problem.hint, "secrets are not shown"
    with pytest.raises(env.SettingsWrong, match=name):
        loaded.checked()


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "seederfarm.toml").write_text("web_prot = 9000\n")
    loaded = load(tmp_path, SEEDERFARM_DEBUG="x", SEEDERFARM_WEB_PORT="y")
    assert len(loaded.problems) == 3
    assert loaded.problems[0].hint == "Did you mean web_port?"


@pytest.mark.parametrize("text", ["name = ", "\xff", "name = {a = 1}", "x" * 70_000])
def test_a_broken_file_is_one_problem(tmp_path: Path, text: str) -> None:
    (tmp_path / "seederfarm.toml").write_text(text, encoding="latin-1")
    (problem,) = load(tmp_path).problems
    assert "seederfarm.toml" in problem.name


def test_secrets_may_be_in_files(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("postgresql://u:p%40ss@db.example:5433/farm?sslmode=require\n")
    found = load(tmp_path, DATABASE_URL_FILE=str(path)).checked().database
    assert found == env.Database(
        "postgresql", "farm", "u", "p@ss", "db.example", 5433, (("sslmode", "require"),)
    )
    assert "both set" in load(tmp_path, DATABASE_URL_FILE=str(path), DATABASE_URL="x").problems[0].text
    assert "No such file" in load(tmp_path, REDIS_URL_FILE="/nowhere").problems[0].text
    assert load(tmp_path, SEEDERFARM_NAME_FILE=str(path)).checked().name == "Seeder Farm", "not a secret"


def test_the_pool_and_the_socket_directory_reach_django(tmp_path: Path) -> None:
    url = "postgresql://u@/farm?host=/run/postgresql&sslmode=disable"
    given = base.database(
        load(tmp_path, DATABASE_URL=url, SEEDERFARM_DATABASE_POOL="3").checked(), wrong=False
    )
    assert (given["HOST"], given["PORT"], given["USER"], given["NAME"]) == (
        "/run/postgresql",
        "",
        "u",
        "farm",
    )
    assert given["OPTIONS"]["pool"]["max_size"] == 3
    assert given["OPTIONS"]["sslmode"] == "disable"
    assert given["OPTIONS"]["options"] == "-c jit=off"


def test_options_of_the_server_in_the_url_stay(tmp_path: Path) -> None:
    url = "postgresql://u@db/farm?options=-c%20work_mem%3D64MB"
    given = base.database(load(tmp_path, DATABASE_URL=url).checked(), wrong=False)
    assert given["OPTIONS"]["options"] == "-c work_mem=64MB"


def test_a_wrong_database_is_never_replaced_by_another(tmp_path: Path) -> None:
    assert base.database(load(tmp_path).settings, wrong=True)["ENGINE"] == "django.db.backends.dummy"


@pytest.mark.parametrize(
    ("given", "celery", "client"),
    [
        ("redis://:pw@h:6379/1", "redis://:pw@h:6379/1", "redis://:pw@h:6379/1"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_the_broker_is_spelt_for_celery_and_for_redis(
    tmp_path: Path, given: str, celery: str, client: str
) -> None:
    farm = load(tmp_path, REDIS_URL=given).checked()
    assert (farm.broker_url, farm.redis_client_url) == (celery, client)


def test_a_long_home_still_has_a_socket_that_the_kernel_takes(tmp_path: Path) -> None:
    farm = load(tmp_path / ("x" * 120)).checked()
    assert len(str(farm.redis_socket)) <= table.MAX_SOCKET_PATH
    assert farm.redis_socket != load(tmp_path / ("y" * 120)).checked().redis_socket


def test_the_secret_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    farm = load(tmp_path / "home").checked()
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: farm.secret_key(), range(40)))
    assert len(keys) == 1 and len(keys.pop()) > 50
    path = tmp_path / "home" / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["secret_key"], "no temporary file is left"
    path.chmod(0o640)
    assert too_open(path)
    assert secret_file(path, lambda: b"other").decode() == farm.secret_key()


def test_a_blank_variable_counts_as_not_set_except_for_lists(tmp_path: Path) -> None:
    """For peers and workers, too; docker compose passes what is not set like that."""
    farm = load(tmp_path, SEEDERFARM_HEARTBEAT=" ", SEEDERFARM_WEB_PORT="", SEEDERFARM_PROXIES="").checked()
    assert (farm.heartbeat, farm.web_port, farm.proxies) == (15.0, 8000, ())
    assert peer.HEARTBEAT.value({"SEEDERFARM_HEARTBEAT": " "}) == 15.0


@pytest.mark.parametrize(("text", "seconds"), [("1d", 86400.0), ("500ms", 0.5), ("15", 15.0), ("2m", 120.0)])
def test_control_and_workers_read_a_shared_variable_alike(tmp_path: Path, text: str, seconds: float) -> None:
    environ = {"SEEDERFARM_HEARTBEAT": text}
    assert load(tmp_path, **environ).checked().heartbeat == peer.HEARTBEAT.value(environ) == seconds
    for wrong in ("soon", "0", "-1", "1 year"):
        environ = {"SEEDERFARM_HEARTBEAT": wrong}
        [problem] = load(tmp_path, **environ).problems
        with pytest.raises(peer.SettingError) as error:
            peer.HEARTBEAT.value(environ)
        assert "expected a duration" in problem.text
        assert problem.text.replace(" in the environment", "") in str(error.value)


def test_a_variable_of_peers_in_the_file_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "seederfarm.toml").write_text('up = "2M"\nmax_byte = 5\n')
    first, second = load(tmp_path).problems
    assert "'max_byte' is no setting" in first.text
    assert "'up' is read from the environment alone, as SEEDERFARM_UP" in second.text


def test_values_are_written_as_they_are_read(tmp_path: Path) -> None:
    given = {
        "SEEDERFARM_REPLICAS": "2:4",
        "SEEDERFARM_KEEP_EVENTS": "2d",
        "SEEDERFARM_SOURCE_MAX_BYTES": "5 MB",
        "SEEDERFARM_HTTPS": "true",
        "SEEDERFARM_ALLOWED_HOSTS": "a.example,b.example",
        "SEEDERFARM_BOOTSTRAP": "10.0.0.1@dht.example:49737,127.0.0.1:1",
    }
    farm = load(tmp_path, **given).checked()
    rows = {row.name: row for row in table.TABLE}
    assert {name: rows[name].write(table.value_of(rows[name], farm)) for name in given} == given
