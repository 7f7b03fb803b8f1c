"""How peers reach the workers, as pages, the API and metrics show it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from dashboard.reads.frame import status
from seederfarm.registry.models import Worker

from .farm import ENGINE, HOST, a_worker, text_of

pytestmark = pytest.mark.usefixtures("database")


def one(index: int = 0, **values: Any) -> dict[str, Any]:
    given = {
        "index": index, "running": True, "hung": False, "restarts": 3, "id": "ab" * 32, "online": True,
        "nat": "consistent", "address": "203.0.113.41:49737", "seen_by": 6, "seen_same": 5, "direct": 5,
        "punched": 38, "relayed": 2,
    }  # fmt: skip
    return given | values


def reported(name: str, *engines: dict[str, Any], **host: Any) -> Worker:
    return a_worker(name, engine=ENGINE | {"engines": list(engines)}, host=HOST | host)


def page_of(viewer: Client, worker: Worker) -> str:
    return text_of(viewer.get(reverse("dashboard:worker", args=[worker.node_id])))


def test_the_page_of_a_worker_says_how_peers_reach_it(viewer: Client) -> None:
    text = page_of(viewer, reported("fra", one(), load_5=0.3, load_15=0.2))
    assert "Hole-punchable" in text and "Hole-punched" not in text, "none may have been punched yet"
    assert "through holes, its NAT keeps ports" in text
    assert "203.0.113.41:49737" in text
    assert "the same from 5 of 6 nodes" in text
    assert "45, of which 38 through a hole, 2 through relays" in text
    assert "0.40, 0.30, 0.20 on 4 cores" in text
    assert "Engine 0" not in text, "one engine needs no list"


def test_each_of_several_engines_is_listed_with_its_restarts(viewer: Client) -> None:
    worker = reported("fra", one(), one(1, running=False, restarts=1), one(2, hung=True, running=False))
    text = page_of(viewer, worker)
    assert "Engine 0 45 peers, 3 restarts" in text
    assert "Engine 1 not running, 1 restart" in text
    assert "Engine 2 hangs, 3 restarts" in text


def test_what_a_worker_does_not_report_has_no_row(viewer: Client) -> None:
    text = page_of(viewer, reported("fra", one(nat="unknown", address="", seen_by=0)))
    assert "Not known yet" in text
    panel = text.split("Before you switch")[0]
    assert not any(word in panel for word in ("Reachable", "Seen as", "Hole-punchable"))
    assert "Network of" not in page_of(viewer, a_worker("old")).split("Before you switch")[0]


def test_the_card_of_the_status_bar_sums_the_workers_up(viewer: Client) -> None:
    reported("direct", one(nat="open", punched=0, relayed=0))
    assert (status().network.word, status().network.addresses) == ("good", ["203.0.113.41:49737"])
    reported("punched", one())
    assert status().network.word == "good"
    reported("hard", one(nat="random"))
    network = status().network
    assert (network.word, network.online, network.direct, network.punchable) == ("limited", 3, 1, 2)
    assert (network.hard, network.addresses) == (["hard"], [])
    text = text_of(viewer.get("/"))
    assert "Hole-punchable 2 of 3" in text
    assert "Directly reachable 1 of 3" in text
    assert "the NAT changes ports" in text


def test_a_farm_that_no_node_answers_is_offline() -> None:
    reported("fra", one(online=False))
    assert (status().network.word, status().network.tone) == ("offline", "is-fail")
