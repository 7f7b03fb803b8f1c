"""Charts: what was measured, as JSON and as a drawing; cached; a point a minute."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dashboard.reads import charts, minutes
from dashboard.reads.drawings import shapes
from dashboard.reads.room import forecast
from seederfarm.registry.models import Sample, Worker

from .farm import a_drive, a_worker

pytestmark = pytest.mark.usefixtures("database")

HOUR = 3600


def sample(worker: Worker, metric: str, at: datetime, total: float, span: int = 60, count: int = 1) -> None:
    start = datetime.fromtimestamp(int(at.timestamp()) // span * span, at.tzinfo)
    Sample.objects.create(
        scope="worker", subject=worker.pk, metric=metric, span=span, at=start, total=total, count=count
    )


def ago(**units: float) -> datetime:
    return timezone.now() - timedelta(**units)


def address(worker: Worker, query: str = "") -> str:
    return reverse("dashboard:worker_charts", args=[worker.node_id]) + query


def known(values: Any) -> list[float]:
    return [value for value in values if value is not None]


def test_amounts_become_rates_and_what_was_not_measured_a_gap(viewer: Client) -> None:
    worker = a_worker("fra")
    sample(worker, "bytes_up", ago(hours=3), 6000)
    sample(worker, "bytes_up", ago(hours=3), 600, span=1)  # of the same ten minutes
    sample(a_worker("hel"), "bytes_down", ago(minutes=30), 1200)
    answer = viewer.get(reverse("dashboard:farm_charts") + "?range=24h")
    plot = answer.json()["rates"]
    served, received = (one["values"] for one in plot["series"])
    assert (plot["unit"], plot["step"], len(served)) == ("bytes/s", 600, 144)
    assert known(served) == [11.0] and known(received) == [2.0]
    assert "served 11 B/s on average, 11 B/s at most at " in plot["sentence"]
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("name", "span", "step"), [("1h", 60, 60), ("24h", 60, 600), ("7d", 900, HOUR), ("90d", 21600, 21600)]
)
def test_each_range_takes_the_samples_of_its_age(viewer: Client, name: str, span: int, step: int) -> None:
    worker = a_worker("fra")
    sample(worker, "bytes_up", timezone.now() - timedelta(seconds=charts.RANGES[name].seconds / 2), 1, span)
    sample(worker, "bytes_up", timezone.now() - timedelta(seconds=charts.RANGES[name].seconds * 2), 1, span)
    plot = viewer.get(address(worker, f"?range={name}")).json()["rates"]
    assert plot["step"] == step and len(plot["series"][0]["values"]) == charts.RANGES[name].seconds // step
    assert known(plot["series"][0]["values"]) == [pytest.approx(1 / step)]


def test_a_worker_has_its_own_rates_processor_and_memory(viewer: Client) -> None:
    worker, other = a_worker("fra"), a_worker("hel")
    sample(worker, "cpu", ago(hours=1), 60.0, count=3)
    sample(worker, "memory_used", ago(hours=1), 2e9)
    sample(worker, "bytes_up", ago(hours=1), 600)
    sample(other, "bytes_up", ago(hours=1), 999_999)
    plots = viewer.get(address(worker)).json()
    assert known(plots["cpu"]["series"][0]["values"]) == [20.0] and plots["cpu"]["top"] == 100.0
    assert known(plots["memory"]["series"][0]["values"]) == [2e9] and plots["memory"]["top"] == 8e9
    assert known(plots["rates"]["series"][0]["values"]) == [1.0]


def test_a_second_viewer_within_a_minute_costs_no_query_more(viewer: Client) -> None:
    a_drive("one")
    worker = a_worker("fra")
    sample(worker, "bytes_up", ago(hours=1), 600)

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            viewer.get(reverse("dashboard:farm_charts"))
        return sum("registry_sample" in query["sql"] for query in queries)

    assert (asked(), asked()) == (1, 0)


def test_only_users_see_charts_and_only_of_workers_of_the_farm(viewer: Client) -> None:
    worker = a_worker("fra")
    for place in (reverse("dashboard:farm_charts"), address(worker)):
        assert Client().get(place).status_code == 302
        assert viewer.post(place).status_code == 405
    assert viewer.get(reverse("dashboard:worker_charts", args=["nobody"])).status_code == 404
    assert viewer.get(address(worker, "?range=<script>&disk=")).json() == {}


def test_pages_have_the_drawing_a_sentence_and_what_draws_it_anew(viewer: Client) -> None:
    a_drive("one")
    worker = a_worker("fra")
    for minutes_ago in (50, 40, 30):
        sample(worker, "bytes_up", ago(minutes=minutes_ago), 6e6)
    for place in ("/", reverse("dashboard:worker", args=[worker.node_id])):
        page = viewer.get(place + "?range=1h").text
        assert 'data-range="1h" aria-current="true"' in page, place
        assert 'role="img" aria-label="Last hour: served 100 kB/s on average' in page
        assert "dashboard/charts.js" in page and "uPlot.iife.min.js" in page and "<noscript>" in page
    drives = viewer.get("/drives/").text
    assert "uPlot" not in drives, "only where there is a chart"


def test_a_gap_stays_a_gap_in_the_drawing() -> None:
    values = [1.0, 2.0, None, 3.0, 4.0, None, 5.0]
    plot = charts.Plot("bytes/s", 0, 60, (charts.Series("Served", "is-safe", values),), "", 8.0)
    drawn = shapes(plot)
    assert [shape.points for shape in drawn] == [
        "0.0,160 0.0,140.0 160.0,120.0 160.0,160",
        "480.0,160 480.0,100.0 640.0,80.0 640.0,160",
    ]


class TestForecast:
    def grown(self, days: float = 6.5, before: float = 1e9) -> Worker:
        worker = a_worker("fra", used_bytes=14 * 10**9, free_bytes=20 * 10**9)
        sample(worker, "stored_bytes", ago(days=days), before, span=900)
        return worker

    def test_it_names_the_day_and_the_pace(self, viewer: Client) -> None:
        worker = self.grown()
        page = viewer.get(reverse("dashboard:worker", args=[worker.node_id])).text
        at = timezone.localtime(timezone.now() + timedelta(days=10))
        assert f"full about {at.day} {at:%B %Y}, at 2.0 GB a day" in page
        assert "with room for about 10 days" in page
        assert "full about" in viewer.get("/workers/").text

    def test_the_chart_goes_on_to_the_room(self, viewer: Client) -> None:
        worker = self.grown()
        plot = viewer.get(address(worker, "?disk=30d")).json()["disk"]
        used, ahead = (one["values"] for one in plot["series"])
        assert plot["line"] == 34e9 and len(used) == len(ahead)
        assert known(ahead)[0] == 14e9 and 33e9 < known(ahead)[-1] < 34e9
        assert "at 2.0 GB a day they fill 34.0 GB about" in plot["sentence"]

    def test_what_does_not_grow_or_is_not_known_has_none(self, viewer: Client) -> None:
        worker = self.grown(before=15e9)
        assert (
            forecast(worker, -1.0, timezone.now()) is None and forecast(worker, None, timezone.now()) is None
        )
        plot = viewer.get(address(worker, "?disk=30d")).json()["disk"]
        assert [one["word"] for one in plot["series"]] == ["Used"]
        assert "full about" not in viewer.get(reverse("dashboard:worker", args=[worker.node_id])).text

    def test_what_grows_hardly_is_far_away_and_breaks_no_date(self) -> None:
        found = forecast(a_worker("fra", free_bytes=10**15), 1.0, timezone.now())
        assert found is not None and found.when == "in more than 5 years" == f"in {found.takes}"


def test_the_newest_minute_is_one_that_all_have_reported() -> None:
    now = timezone.now()
    worker = a_worker("fra")
    end = (int(now.timestamp()) - charts.LATE) // 60 * 60
    for at, total in ((end - 120, 1), (end - 60, 600), (end, 9)):
        sample(worker, "bytes_up", datetime.fromtimestamp(at, now.tzinfo), total)
    found = minutes.newest(now)
    assert (found.farm.at, found.farm.up, found.of(worker.node_id).up) == (end - 60, 10.0, 10.0)
    assert found.of("nobody") == (end - 60, None, None, None, None)
    Sample.objects.all().delete()
    assert minutes.newest(now).farm.up == 10.0, "kept"
