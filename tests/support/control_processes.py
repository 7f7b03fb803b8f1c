"""The control plane of a farm as processes that a test starts, kills and starts again, and its registry.

There is no supervisor here: what dies stays dead until the test starts it again. Scenes that want
the whole of `./farm up` use `farm_home`.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from django.db.models import QuerySet

from seederfarm.registry.models import Event, Replica, Worker
from seederfarm.settings.load import load
from seederfarm.supervisor import processes
from seederfarm.supervisor.home import RunFiles

from . import evidence
from .farm_home import FarmHome, OneProcessHome, alive
from .waiting import eventually
from .worker import WorkerProcess

QUICK = {
    "SEEDERFARM_HEARTBEAT": "1s",
    "SEEDERFARM_WORKER_GRACE": "5s",
    "SEEDERFARM_RECONCILE_EVERY": "1s",
    "SEEDERFARM_AUDIT_EVERY": "2s",
}
"""Settings of a farm that waits for nothing long. They scale whatever is counted in heartbeats, too."""


class Service:
    """One process of the control plane, as the supervisor would start it."""

    def __init__(self, name: str, command: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def tail(self) -> str:
        status = self.process.poll()
        ended = "" if status is None else f"\n(ended with {status})"
        return evidence.tail(self.log) + ended


class ControlPlane:
    """Over a database and a broker that are there. Commands are those of the operator."""

    def __init__(self, place: Path, *, bootstrap: Sequence[str], **settings: str) -> None:
        env = {"SEEDERFARM_BOOTSTRAP": ",".join(bootstrap), **QUICK, **settings}
        self.home: FarmHome = OneProcessHome(place / "home", **env)
        self.farm = load(self.home.env).checked()
        self.files = RunFiles(self.farm.home)
        self.files.make()
        self.services: list[Service] = []

    def control(self) -> Service:
        spec = processes.control(self.farm, self.files)
        assert spec is not None
        return self._start(spec.name, spec.argv)

    def beat(self, number: int = 1) -> Service:
        spec = processes.beat(self.farm, self.files)
        assert spec is not None
        schedule = str(self.files.run / "beat-schedule")
        argv = [part + str(number) if part == schedule else part for part in spec.argv]
        return self._start(f"{spec.name}-{number}", argv)

    def web(self) -> Service:
        spec = processes.web(self.farm, self.files)
        return self._start(spec.name, spec.argv)

    def _start(self, name: str, argv: Sequence[str]) -> Service:
        env = {**self.home.env, "DJANGO_SETTINGS_MODULE": "seederfarm.settings.base"}
        service = Service(name, argv, env, self.files.logs / f"{name}.log")
        self.services.append(service)
        return service

    def tails(self) -> str:
        """The logs, with the threads of all."""
        evidence.dump_threads(service.process.pid for service in self.services)
        return "\n".join(f"--- {service.name}\n{service.tail()}" for service in self.services)

    def dispose(self) -> None:
        for service in self.services:
            service.kill()
        self.home.dispose()


class WorkersOf:
    """Workers that joined a farm, by name, each with its own data directory."""

    def __init__(self, home: FarmHome, place: Path, bootstrap: Sequence[str]) -> None:
        self._home = home
        self._place = place
        self._bootstrap = bootstrap
        self._tokens: dict[str, str] = {}
        self.running: dict[str, WorkerProcess] = {}

    def start(self, *names: str, heartbeat: float = 1.0, options: Sequence[str] = ()) -> None:
        """Again, with what it kept, where it ran before. `options`: further ones of the
        command."""
        for name in names:
            if name not in self._tokens:
                (line,) = self._home.lines("worker", "enroll", "--name", name)
                self._tokens[name] = line["token"]
            arguments = ("--name", name, "--join", self._tokens[name], *options)
            self.running[name] = WorkerProcess(
                self._place / f"worker-{name}", *arguments, bootstrap=self._bootstrap, heartbeat=heartbeat
            )

    def kill(self, name: str) -> None:
        """With its engine, which ends by itself."""
        worker = self.running.pop(name)
        engines = worker.engines
        worker.kill()
        eventually(lambda: not any(map(alive, engines)), timeout=20, what=f"the end of the engine of {name}")

    def tails(self) -> str:
        """The logs, with the threads of all."""
        evidence.dump_threads(worker.process.pid for worker in self.running.values())
        return "\n".join(f"--- worker {name}\n{worker.tail()}" for name, worker in self.running.items())

    def dispose(self) -> None:
        for worker in self.running.values():
            worker.dispose()


def copies(key: str) -> QuerySet[Replica]:
    """That the farm wants of a key."""
    return Replica.objects.filter(drive__key=key, desired=True)


def complete_on(key: str) -> set[str]:
    """Names of the workers that have all of it, as far as the farm knows."""
    return set(copies(key).filter(phase="complete").values_list("worker__name", flat=True))


def proven_on(key: str) -> set[str]:
    return set(copies(key).filter(last_proven_at__isnull=False).values_list("worker__name", flat=True))


def online() -> set[str]:
    """Names of the workers that were heard and are not lost."""
    return set(
        Worker.objects.filter(last_seen_at__isnull=False, lost_since=None).values_list("name", flat=True)
    )


def kinds_of_events(key: str) -> list[str]:
    """What happened to a key, in the order in which the farm noted it."""
    return list(Event.objects.filter(drive__key=key).order_by("pk").values_list("kind", flat=True))


def workers_state() -> str:
    """What the registry says of its workers, for a failure."""
    columns = ("name", "state", "last_seen_at", "lost_since", "refused", "refused_reason")
    return "\n".join(str(row) for row in Worker.objects.values(*columns))
