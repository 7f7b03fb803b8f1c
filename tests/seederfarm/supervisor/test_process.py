"""A child is started, watched, started again and stopped; with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seederfarm.settings.load import load
from seederfarm.settings.table import FarmSettings
from seederfarm.supervisor import process
from seederfarm.supervisor.home import RunFiles
from seederfarm.supervisor.logs import LogFile, read
from seederfarm.supervisor.process import Child, Spec
from seederfarm.supervisor.processes import web, worker
from workers.settings.table import BOOTSTRAP, HEARTBEAT

from ...support.waiting import eventually


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


async def until(child: Child, state: str) -> None:
    async with asyncio.timeout(30):
        while child.state != state:
            await asyncio.sleep(0.01)


def log_of(folder: Path) -> LogFile:
    return LogFile(folder / "child.log")


def test_the_pages_believe_the_proxies_that_are_set_and_no_others(tmp_path: Path) -> None:
    farm = FarmSettings(home=tmp_path, proxies=("10.0.0.7", "fd00::/8"))
    argv = web(farm, RunFiles(tmp_path)).argv
    assert argv[argv.index("--forwarded-allow-ips") + 1] == "10.0.0.7,fd00::/8"


def test_the_worker_of_the_farm_follows_the_file_of_settings(tmp_path: Path) -> None:
    """`seederfarm.toml` is read by the supervisor; the worker reads its environment alone."""
    (tmp_path / "seederfarm.toml").write_text(
        'heartbeat = "1m"\nbootstrap = ["10.0.0.1:1", "dht.example:2"]\n'
    )
    farm = load({"SEEDERFARM_HOME": str(tmp_path)}).checked()
    spec = worker(farm, RunFiles(tmp_path))
    assert spec is not None
    assert (HEARTBEAT.value(spec.env), BOOTSTRAP.value(spec.env)) == (60.0, farm.bootstrap)
    plain = worker(FarmSettings(home=tmp_path), RunFiles(tmp_path))
    assert plain is not None and plain.env == {}


def test_it_runs_until_it_is_stopped_and_what_it_says_is_logged(tmp_path: Path) -> None:
    async def scene() -> None:
        code = "import os,time; print('hello', os.environ['GREETED'], flush=True); time.sleep(100)"
        spec = Spec(name="child", about="", argv=python(code), env={"GREETED": "world"})
        child = Child(spec, log_of(tmp_path))
        child.start()
        await until(child, "ready")
        pid = child.pid
        assert pid is not None and os.getpgid(pid) == pid
        async with asyncio.timeout(30):
            while not any(line.text == "hello world" for line in read(tmp_path, ["child"])):
                await asyncio.sleep(0.01)
        await child.stop()
        assert (child.state, child.restarts) == ("stopped", 0)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(scene())


@pytest.mark.parametrize("secrets", [True, False])
def test_secrets_are_given_to_those_that_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secrets: bool
) -> None:
    names = ("DATABASE_URL", "REDIS_URL", "REDIS_URL_FILE", "SEEDERFARM_SECRET_KEY", "SEEDERFARM_NAME")
    for name in names:
        monkeypatch.setenv(name, "x")

    async def scene() -> None:
        code = f"import os; print([name for name in {names} if name in os.environ])"
        child = Child(Spec(name="child", about="", argv=python(code), secrets=secrets), log_of(tmp_path))
        child.start()
        seen = list(names) if secrets else ["SEEDERFARM_NAME"]
        async with asyncio.timeout(30):
            while not any(line.text == str(seen) for line in read(tmp_path, ["child"])):
                await asyncio.sleep(0.01)
        await child.stop()

    asyncio.run(scene())


def test_it_is_ready_when_it_says_so_each_time_it_is_started(tmp_path: Path) -> None:
    code = (
        "import time, pathlib\n"
        "from workers.ready import notify_ready\n"
        f"while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)\n"
        "notify_ready(); notify_ready()\n"
        "time.sleep(100)"
    )

    async def scene() -> None:
        child = Child(Spec(name="child", about="", argv=python(code), reports_ready=True), log_of(tmp_path))
        child.start()
        await until(child, "starting")
        assert not child.became_ready.is_set()
        (tmp_path / "go").touch()
        await until(child, "ready")
        (tmp_path / "go").unlink()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await until(child, "starting")
        assert not child.became_ready.is_set()
        (tmp_path / "go").touch()
        await until(child, "ready")
        await child.stop()

    descriptors = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    asyncio.run(scene())
    if descriptors:
        assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def test_it_is_ready_when_its_check_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        answers = iter([False, False, True])

        async def ready() -> bool:
            return next(answers)

        child = Child(
            Spec(name="child", about="", argv=python("import time; time.sleep(100)"), ready=ready),
            log_of(tmp_path),
        )
        child.start()
        await until(child, "starting")
        assert not child.became_ready.is_set()
        await until(child, "ready")
        assert next(answers, None) is None
        await child.stop()

    asyncio.run(scene())


def test_what_ends_is_started_again_after_a_pause_that_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "FIRST_PAUSE", 0.01)

    async def scene() -> list[str]:
        reported: list[str] = []
        child = Child(
            Spec(name="child", about="", argv=python("raise SystemExit(3)")),
            log_of(tmp_path),
            changed=lambda child, text: reported.append(text) if text else None,
        )
        child.start()
        async with asyncio.timeout(30):
            while child.restarts < 3:
                await asyncio.sleep(0.01)
        await child.stop()
        return reported

    assert asyncio.run(scene())[:3] == [
        f"child ended with status 3; starting it again in {pause} s" for pause in ("0.01", "0.02", "0.04")
    ]


def test_a_program_that_is_not_there_is_a_failure_of_the_child_alone(tmp_path: Path) -> None:
    async def scene() -> str:
        child = Child(Spec(name="child", about="", argv=(str(tmp_path / "none"),)), log_of(tmp_path))
        child.start()
        await until(child, "waiting")
        await child.stop()
        return child.last_end

    assert asyncio.run(scene()) == "could not be started: No such file or directory"


def test_one_that_does_not_end_when_asked_is_killed_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "p = subprocess.Popen(['sleep', '100']); print(p.pid, flush=True); time.sleep(100)"
    )

    async def scene() -> int:
        child = Child(Spec(name="child", about="", argv=python(code), stop_timeout=0.2), log_of(tmp_path))
        child.start()
        async with asyncio.timeout(30):
            while not (lines := list(read(tmp_path, ["child"]))):
                await asyncio.sleep(0.01)
        await child.stop()
        assert child.last_end == "was ended by SIGKILL"
        return int(lines[0].text)

    grandchild = asyncio.run(scene())
    eventually(lambda: not _alive(grandchild), timeout=10, what="the end of the grandchild")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    code = (
        "import os, subprocess, sys, time; from seederfarm.supervisor.process import die_with_parent;"
        "p = subprocess.Popen(['sleep', '100'], preexec_fn=die_with_parent(os.getpid()));"
        "print(p.pid, flush=True); time.sleep(100)"
    )
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _alive(child)
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: not _alive(child), timeout=10, what="the end of the child")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
