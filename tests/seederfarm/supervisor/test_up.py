"""`seederfarm up`, `down`, `status` and `logs`: a farm of its own, from its first start to its end."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import socket
import stat
import sys
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from ...support.farm_home import FarmHome, wait_dead
from ...support.waiting import eventually


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[FarmHome]:
    made = FarmHome(tmp_path / "home")
    try:
        yield made
    finally:
        made.dispose()


def log_in(farm: FarmHome, username: str, password: str) -> bool:
    """Through the login page, as a browser does."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    login = farm.address + "admin/login/"
    page = browser.open(login, timeout=30).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None
    form = {"username": username, "password": password, "csrfmiddlewaretoken": token[1], "next": "/livez"}
    sent = urllib.parse.urlencode(form).encode()
    answer = browser.open(urllib.request.Request(login, sent, {"Referer": login}), timeout=30)
    return bool(answer.read() == b"ok\n")


def test_a_farm_starts_shows_its_password_once_and_stops_leaving_nothing(farm: FarmHome) -> None:
    admin, ready = [event for event in farm.start() if event["event"] not in ("process", "pages")]
    assert (admin["event"], ready["event"]) == ("admin", "ready")
    assert ready["address"] == farm.address
    assert {"redis", "web"} <= set(ready["processes"])
    assert log_in(farm, admin["username"], admin["password"])
    assert not log_in(farm, admin["username"], "wrong" + admin["password"])

    (status,) = farm.lines("status")
    assert status["running"] and status["ready"]
    states = {process["name"]: process["state"] for process in status["processes"]}
    assert set(states.values()) == {"ready"}, "`up -d` returns when all of them are"
    assert {"control", "beat", "sources", "worker", "gateway", "flower"} <= states.keys() and ready[
        "not_ready"
    ] == []
    assert status["farm"]["drives"] == 0

    refused = farm.run("up")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1 and str(farm.home) in refused.stderr
    assert farm.run("status").returncode == 0, "the refused start changed nothing"
    assert "farm.W001" not in (farm.home / "logs" / "supervisor.log").read_text()

    assert "Uvicorn running" in farm.run("logs", "web").stdout
    assert farm.run("logs", "nothing").returncode == 2

    pids = farm.pids()
    assert farm.run("down").returncode == 0
    wait_dead(pids, 0.5)
    assert farm.run("down").returncode == 0
    stopped = farm.run("status")
    assert stopped.returncode == 1 and "1 worker" in stopped.stdout and "online" not in stopped.stdout
    assert admin["password"] not in farm.logs()

    events = farm.start()
    assert [event["event"] for event in events if event["event"] not in ("process", "pages")] == ["ready"]
    assert log_in(farm, admin["username"], admin["password"])


def status_of(url: str, login: str = "") -> int | None:
    """None: no client answers yet."""
    headers = {"Authorization": "Basic " + b64encode(login.encode()).decode()} if login else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_flower_is_reached_through_the_pages_alone_and_runs_under_their_policy(farm: FarmHome) -> None:
    made = next(event for event in farm.start() if event["event"] == "admin")
    flower = f"http://127.0.0.1:{farm.env['SEEDERFARM_FLOWER_PORT']}/flower"
    eventually(lambda: status_of(flower) is not None, timeout=60, what="Flower")
    login = (farm.home / "flower_secret").read_text().strip()
    for page in ("/", "/workers", "/broker", "/metrics", "/api/workers"):
        assert status_of(flower + page) == status_of(flower + page, login + "x") == 401, page
        assert status_of(flower + page, login) == 200, page
    pages = farm.address.rstrip("/")
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(f"{pages}/login/", timeout=30) as answer:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.read().decode())
    assert token is not None
    form = {name: made[name] for name in ("username", "password")} | {"csrfmiddlewaretoken": token[1]}
    browser.open(f"{pages}/login/", urllib.parse.urlencode(form).encode(), timeout=30).close()
    for page in ("", "tasks", "broker", "workers", "workers?json=1"):
        with browser.open(f"{pages}/flower/{page}", timeout=30) as answer:
            text, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
        for script in re.findall(r"<script[^>]*>([^<]+)</script>", text):
            assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy, script
        assert not re.search(r"\son[a-z]+=", text)
        for link in re.findall(r'(?:src|href)="(/[^"#?]+)', text):
            assert link.startswith("/flower/"), link
    query = {"draw": 1, "start": 0, "length": 10, "order[0][column]": 0, "columns[0][data]": "name"}
    data = urllib.parse.urlencode(query).encode()
    with browser.open(f"{pages}/flower/tasks/datatable", data, timeout=30) as answer:
        assert json.load(answer)["draw"] == 1
    with browser.open(f"{pages}/flower/static/js/flower.js", timeout=30) as answer:
        assert "javascript" in answer.headers["Content-Type"]
    eventually(lambda: status_of(f"{pages}/readyz") == 200, timeout=60, what="a first pulse of control")


def test_what_is_private_is_private(farm: FarmHome) -> None:
    farm.start()
    for folder in (farm.home, farm.home / "run", farm.home / "logs", farm.home / "redis"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    for path in [*farm.home.glob("*"), *(farm.home / "logs").iterdir()]:
        if path.is_file():
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    listening = Path(f"/proc/{farm.pids()['redis']}/net/tcp")
    if (
        listening.exists()
    ):  # Redis has no TCP port: none of its descriptors is an internet socket that listens
        inodes = {
            line.split()[9] for line in listening.read_text().splitlines()[1:] if line.split()[3] == "0A"
        }
        fds = Path(f"/proc/{farm.pids()['redis']}/fd").iterdir()
        assert not inodes & {str(fd.readlink()).removeprefix("socket:[").rstrip("]") for fd in fds}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_children_of_a_killed_supervisor_end_and_the_next_start_works(farm: FarmHome) -> None:
    farm.start()
    pids = farm.pids()
    os.kill(pids["supervisor"], signal.SIGKILL)
    wait_dead(pids)
    assert farm.run("status").returncode == 1
    assert farm.start()[-1]["event"] == "ready"


def test_what_dies_is_started_again(farm: FarmHome) -> None:
    farm.start()
    before = farm.pids()["web"]
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        (web,) = [process for process in farm.state()["processes"] if process["name"] == "web"]
        return web["state"] == "ready" and web["pid"] != before and web["restarts"] == 1

    eventually(back, timeout=60, what="the web server's return")
    with urllib.request.urlopen(farm.address + "livez", timeout=30) as answer:
        assert answer.read() == b"ok\n"


def test_ctrl_c_stops_everything(farm: FarmHome) -> None:
    process = farm.popen("up", "--json")
    assert process.stdout is not None
    while '"event":"ready"' not in (line := process.stdout.readline()).replace(" ", ""):
        assert line, process.communicate()[1]
    pids = farm.pids()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    wait_dead(pids, 0.5)
    assert not (farm.home / "run" / "up.json").exists()


def test_a_port_that_is_taken_is_reported_at_once(farm: FarmHome) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(farm.env["SEEDERFARM_WEB_PORT"])))
        taken.listen()
        for arguments in (("up",), ("up", "-d")):
            done = farm.run(*arguments)
            assert done.returncode == 1
            assert "SEEDERFARM_WEB_PORT" in done.stderr and done.stderr.count("\n") == 1


def test_wrong_settings_start_nothing(tmp_path: Path) -> None:
    farm = FarmHome(tmp_path / "home", SEEDERFARM_WORKER_GRACE="soon")
    done = farm.run("up")
    assert done.returncode == 2
    assert "SEEDERFARM_WORKER_GRACE" in done.stderr
    assert not farm.home.exists()
