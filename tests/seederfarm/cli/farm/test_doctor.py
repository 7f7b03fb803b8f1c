"""What `doctor` finds of a farm."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils import timezone

from seederfarm import health_checks
from seederfarm.cli.common.failures import Failure
from seederfarm.cli.farm import django_setup, doctor
from seederfarm.control.messaging.outbox import outbox
from seederfarm.registry.models import ControlPulse, Worker
from seederfarm.settings.table import FarmSettings
from workers.doctor.finding import Finding

from ....support.ports import free_port


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


def test_wrong_settings_and_a_farm_that_is_not_there_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_farm() -> None:
        raise Failure("there is no farm here yet")

    monkeypatch.setattr(doctor, "check_dht", lambda _: [])
    monkeypatch.setattr(django_setup, "open_farm", no_farm)
    monkeypatch.setenv("SEEDERFARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEEDERFARM_WEB_PORT", str(free_port()))
    *others, last = doctor._findings()
    assert (last.check, last.state, last.text) == ("database", "problem", "there is no farm here yet")
    assert states(others)["pages"] == "problem" and states(others)["settings"] == "ok"
    monkeypatch.setenv("SEEDERFARM_WEB_PORT", "many")
    found = list(doctor._findings())
    assert (found[-1].check, found[-1].state) == ("settings", "problem") and "WEB_PORT" in found[-1].text


def test_another_program_at_the_port_of_the_pages_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        farm = FarmSettings(web_port=silent.getsockname()[1])
        (found,) = doctor._check_pages(farm, running=False)
    assert found.state == "problem" and str(farm.web_port) in found.text


@pytest.mark.usefixtures("database")
def test_workers_that_need_care_are_named_with_what_to_do() -> None:
    (none,) = doctor._check_workers(is_down=False)
    assert none.state == "warning" and "enroll" in none.hint
    now = timezone.now()
    here = {"last_seen_at": now, "software": "seederfarm 0.0.1", "engine": {"running": True}}
    Worker.objects.create(node_id="y" * 52, name="old", state="active", **here)
    Worker.objects.create(node_id="b" * 52, name="away", state="active", last_seen_at=now - timedelta(days=1))
    Worker.objects.create(node_id="n" * 52, name="new", state="pending")
    Worker.objects.create(node_id="d" * 52, name="gone", state="retired")
    *found, last = doctor._check_workers(is_down=False)
    lines = {finding.text.partition(" ")[0]: finding for finding in found}
    assert lines.keys() == {"old", "away", "new"} and all(line.hint for line in found)
    assert "approve" in lines["new"].hint and "runs another version" in lines["old"].text
    assert (last.state, last.text) == ("ok", "1 of 3 are heard")
    Worker.objects.filter(name="old").delete()
    *_, last = doctor._check_workers(is_down=False)
    assert (last.state, last.text) == ("problem", "0 of 2 are heard")


@pytest.mark.usefixtures("database")
def test_what_worked_a_moment_ago_does_not_work_after_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_checks, "readiness", health_checks.Readiness())
    now = timezone.now()
    ControlPulse.objects.create(at=now)
    Worker.objects.create(node_id="y" * 52, name="pi", state="active", last_seen_at=now)
    farm = FarmSettings(home=tmp_path)

    def work(farm: FarmSettings, *, running: bool, has_run: bool) -> tuple[str, str]:
        (found,) = doctor._check_work(farm, running=running, has_run=has_run)
        return found.state, found.text

    with outbox.through(django_setup.NullBroker()):
        assert work(farm, running=False, has_run=True) == ("problem", f"no farm runs in {tmp_path}")
        assert work(farm, running=True, has_run=True) == ("problem", "the bundled Redis does not run")
        shared = FarmSettings(home=tmp_path, redis_url="redis://127.0.0.1:1/0")
        state, text = work(shared, running=False, has_run=True)
        assert state == "warning" and "no farm runs" in text, "what worked may have been ours, or not"
        assert work(shared, running=False, has_run=False)[0] == "ok", "containers, say"
    (workers,) = doctor._check_workers(is_down=doctor._is_down(farm, running=False))
    assert workers.state == "warning" and "none is heard" in workers.text
    assert not doctor._is_down(farm, running=True) and not doctor._is_down(shared, running=False)


def test_messages_of_django_become_findings() -> None:
    message = SimpleNamespace(is_serious=lambda: True, msg="wrong", hint=None)
    assert doctor._of_message("broker", message) == Finding("broker", "problem", "wrong")  # type: ignore[arg-type]
