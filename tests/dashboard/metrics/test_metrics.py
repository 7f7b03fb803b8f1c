"""The farm's metrics: who gets them, values, cost; boards and rules use no other names."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dashboard.metrics import page
from dashboard.metrics.numbers import FRESH, MAX_WORKERS, FarmCollector, make_registry
from hypercore.crypto import KeyPair
from hypercore.dht.address import BootstrapNode
from seederfarm.registry.models import ControlPulse, PlanState, Worker
from workers.agent.agent import Agent
from workers.agent.metrics.collector import registry_of
from workers.agent.settings import WorkerSettings
from workers.state import State

from ...support.databases import FarmDatabase
from ...support.paths import ROOT
from ...support.require import require
from ...workers.agent.metrics.test_metrics import LINE, hear
from ..api.conftest import make_operator, token_for
from ..farm import a_copy, a_drive, a_worker, populate

pytestmark = pytest.mark.usefixtures("database")

MONITORING = ROOT / "deploy" / "monitoring"
TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def fresh_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "registry", make_registry())


def pulse() -> None:
    now = timezone.now()
    ControlPulse.objects.create(
        at=now, queues={"control": 1, "reports": 2, "join": 3, "workers": 4, "worker_reports": 5, "new": 6},
        broker_used_bytes=10, broker_max_bytes=100, cpu_seconds=1.5, memory_bytes=9,
    )  # fmt: skip
    PlanState.objects.update_or_create(pk=1, defaults={"swept_at": now, "swept_seconds": 0.25})


def values(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped() -> dict[tuple[str, tuple[str, ...]], float]:
    return values(generate_latest(make_registry()).decode())


def test_metrics_need_a_token_that_may_read(viewer: Client, administrator: Client) -> None:
    populate()
    client = Client()
    reader = token_for(make_operator(), "read")
    other = token_for(make_operator("paul"), "drives")
    assert client.get("/metrics").status_code == viewer.get("/metrics").status_code == 401
    assert administrator.get("/metrics").status_code == 401, "a session is no token"
    for wrong, status in ((other, 403), ("sft_" + "A" * 43, 401), (TOKEN, 401), ("\udcff", 401)):
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {wrong}"})
        assert (answer.status_code, b"seederfarm_" in answer.content) == (status, False)
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {reader}"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    assert client.post("/metrics", headers={"Authorization": f"Bearer {reader}"}).status_code in (403, 405)


def test_a_token_of_the_settings_opens_metrics_alone(settings: Any) -> None:
    from dataclasses import replace

    with override_settings(FARM=replace(settings.FARM, metrics_token=TOKEN)):
        client = Client(headers={"Authorization": f"Bearer {TOKEN}"})
        assert client.get("/metrics").status_code == 200
        assert client.get("/api/v1/farm").status_code == 401
        assert Client(headers={"Authorization": f"Bearer {TOKEN}x"}).get("/metrics").status_code == 401


def test_the_numbers_are_those_of_the_pages() -> None:
    populate()
    pulse()
    found = scraped()
    states = {labels[0]: count for (name, labels), count in found.items() if name == "seederfarm_drives"}
    assert states == {
        "safe": 1, "at_risk": 1, "copying": 1, "waiting": 1, "unavailable": 1, "rewritten": 0, "paused": 0,
        "removing": 0,
    }  # fmt: skip
    statuses = {labels[0]: count for (name, labels), count in found.items() if name == "seederfarm_workers"}
    assert {word: count for word, count in statuses.items() if count} == {
        "online": 2, "lost": 1, "wants_to_join": 1,
    }  # fmt: skip
    expected = {
        ("seederfarm_copies", ("complete",)): 4, ("seederfarm_copies", ("downloading",)): 1,
        ("seederfarm_copies_wanted", ()): 5, ("seederfarm_alerts_open", ("warning",)): 1,
        ("seederfarm_alerts_open", ("error",)): 0, ("seederfarm_sources", ("failing",)): 1,
        ("seederfarm_source_failures_max", ()): 2, ("seederfarm_queue_messages", ("worker_reports",)): 5,
        ("seederfarm_broker_max_bytes", ()): 100, ("seederfarm_control_cpu_seconds_total", ()): 1.5,
        ("seederfarm_plan_seconds", ()): 0.25, ("seederfarm_peers", ()): 14,
        ("seederfarm_used_bytes", ()): 3e9, ("seederfarm_worker_used_bytes", ("fra",)): 1e9,
    }  # fmt: skip
    assert {at: found[at] for at in expected} == expected
    assert ("seederfarm_queue_messages", ("new",)) not in found
    age = timezone.now().timestamp() - found[("seederfarm_last_beat_timestamp_seconds", ())]
    assert 0 <= age < 60


def test_labels_are_bounded_and_hold_no_key() -> None:
    workers = [
        Worker(node_id=f"{'y' * 48}{n:04d}".replace("0", "o").replace("2", "d"), name=f"w{n}", state="active")
        for n in range(MAX_WORKERS + 3)
    ]
    Worker.objects.bulk_create(workers)
    Worker.objects.filter(name="w1").update(name='evil"\n\u202e')
    drive = a_drive("Secret title")
    a_copy(drive, a_worker("fra"))
    text = generate_latest(make_registry()).decode()
    found = values(text)
    named = [labels for name, labels in found if name == "seederfarm_worker_used_bytes"]
    assert len(named) == MAX_WORKERS
    assert drive.key not in text and drive.z32 not in text and "Secret title" not in text
    assert "\u202e" not in text


def test_queries_do_not_grow_and_scrapes_in_a_row_cost_none() -> None:
    now = [1000.0]
    collector = FarmCollector(clock=lambda: now[0])

    def queries() -> int:
        with CaptureQueriesContext(connection) as made:
            list(collector.collect())
        return len(made)

    populate()
    first = queries()
    assert 0 < first <= 14
    assert queries() == 0
    worker = Worker.objects.get(name="fra")
    for number in range(30):
        a_copy(a_drive(f"more {number}"), worker)
    now[0] += FRESH
    assert queries() == first


# --- what is deployed --------------------------------------------------------------------------------------


@pytest.fixture
def exposed(tmp_path: Path, database: FarmDatabase) -> set[str]:
    """Names of all metrics of a farm and a worker."""
    populate()
    pulse()
    worker = WorkerSettings(
        data=tmp_path / "worker", name="testing", bootstrap=(BootstrapNode("127.0.0.1", 1),), host="127.0.0.1"
    )
    state = State(worker.data)
    agent = Agent(worker, state, KeyPair.from_seed(b"w" * 32))
    hear(agent, LINE)
    text = generate_latest(make_registry()).decode() + generate_latest(registry_of(agent)).decode()
    state.close()
    return {name for name, _ in values(text)} | {"up"}


FUNCTIONS = {"time", "sum", "rate", "increase", "predict_linear", "and"}


def names_in(expression: str) -> set[str]:
    without = re.sub(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"', "", expression)
    return set(re.findall(r"[a-z_][a-z0-9_]*", without)) - FUNCTIONS


def test_the_board_uses_names_that_exist(exposed: set[str]) -> None:
    board = json.loads((MONITORING / "grafana.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    used = set().union(*map(names_in, expressions))
    assert len(used) > 45
    assert used - exposed == set()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_rules_use_names_that_exist(exposed: set[str]) -> None:
    text = (MONITORING / "rules.yml").read_text()
    found = re.findall(r"expr: (?!>-)(.+)|expr: >-\n((?: {10}.+\n)+)", text)
    assert len(found) == text.count("- alert:") > 20
    used = set().union(*(names_in(" ".join(parts)) for parts in found))
    assert used - exposed == set()


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("check rules", "rules.yml"),
        ("test rules", "rules_test.yml"),
        ("check config --syntax-only", "prometheus.yml"),
    ],
)
def test_prometheus_accepts_what_is_deployed(command: str, file: str) -> None:
    tool = shutil.which("promtool") or shutil.which("promtool", path=str(Path(sys.executable).parent))
    require(None if tool else "promtool of Prometheus is not installed, so its rules are not checked")
    done = subprocess.run(
        [str(tool), *command.split(), file], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
