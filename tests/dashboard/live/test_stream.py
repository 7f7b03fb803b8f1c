"""The event stream: who may watch, what comes, what a fragment is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import AsyncRequestFactory, Client
from django.urls import reverse
from django.utils import timezone

from dashboard import streaming
from dashboard.live import hub as hub_module
from dashboard.live import stream
from dashboard.live.hub import MAX_TOPICS_EACH, Rendered
from dashboard.live.topics import FARM, RENEW, Fragments, known
from seederfarm.registry import roles, services
from seederfarm.registry.models import Drive, Replica, Worker

from ...seederfarm.registry.factories import key_of
from ..conftest import member
from ..farm import a_copy, a_drive, a_worker, populate

pytestmark = pytest.mark.usefixtures("database")

DRIVE_PARTS = ("verdict", "chips", "copies", "files", "events", "about", "title")


def render_now(topics: list[str], now: datetime) -> dict[str, str]:
    return Fragments(99).render(topics, (), now)


def test_a_fragment_is_what_the_page_shows(viewer: Client) -> None:
    populate()
    drive = Drive.objects.get(label="Coastal Field Recordings")
    # ages that do not change between the two renderings
    before = timezone.now() - timedelta(minutes=30)
    Drive.objects.update(health_since=before, proven_at=before)
    Replica.objects.update(last_proven_at=F("last_proven_at") - timedelta(minutes=10))
    of_drive = [f"drive.{drive.key}.{part}" for part in DRIVE_PARTS]
    rendered = render_now([*FARM, *of_drive], timezone.now())
    assert rendered.keys() == {*FARM, *of_drive}
    pages = "".join(
        viewer.get(address).text
        for address in (
            "/",
            "/workers/",
            "/alerts/",
            "/alerts/rules/",
            reverse("dashboard:drive", kwargs={"key": drive.key}),
        )
    )
    for topic, text in rendered.items():
        assert f'data-topic="{topic}"' in pages
        assert text in pages, topic


def test_files_come_to_a_page_that_was_opened_before_the_first_blocks(viewer: Client) -> None:
    now, fragments = timezone.now(), Fragments(99)
    drive = a_drive("Young", kind="", length=None, fork=None, byte_length=None, observed_at=None)
    page = viewer.get(reverse("dashboard:drive", kwargs={"key": drive.key})).text
    files, chips = f"drive.{drive.key}.files", f"drive.{drive.key}.chips"
    assert known(re.findall('data-topic="([^"]+)"', page)).count(files) == 1
    assert 'id="files"' in page and "data-load" not in page
    before = fragments.render([files, chips], (), now)
    assert "data-load" not in before[files] and before[files] in page
    Drive.objects.filter(pk=drive.pk).update(kind="drive", length=10, fork=0)
    after = fragments.render([files, chips], (), now)[files]
    listing = reverse("dashboard:files", kwargs={"key": drive.key, "path": ""})
    assert f'data-load="{listing}?fragment=1"' in after
    assert after in viewer.get(reverse("dashboard:drive", kwargs={"key": drive.key})).text, (
        "nor does a reload lack it"
    )


def test_loaded_files_are_asked_for_again_when_there_is_a_newer_version() -> None:
    now, fragments = timezone.now(), Fragments(99)
    drive = a_drive("Old", kind="drive")
    topic = f"drive.{drive.key}.files"
    seen = []
    for change in ({}, {"length": 11}, {"fork": 1}):
        Drive.objects.filter(pk=drive.pk).update(**change)
        seen += re.findall('data-of="([^"]+)"', fragments.render([topic], [topic], now)[topic])
    copy = a_copy(drive, a_worker("fra"), length=11, fork=1)
    seen += re.findall('data-of="([^"]+)"', fragments.render([topic], [topic], now)[topic])
    assert seen == ["0.10.0", "0.11.0", "1.11.0", "1.11.1"], copy


@pytest.mark.parametrize("kind", ["core", "bee"])
def test_what_turns_out_to_be_no_drive_loses_its_panel_of_files(kind: str) -> None:
    now, fragments = timezone.now(), Fragments(99)
    drive = a_drive("Young", kind="", length=None, fork=None)
    topics = [f"drive.{drive.key}.files", f"drive.{drive.key}.chips"]
    assert all("iles" in text for text in fragments.render(topics, (), now).values())
    Drive.objects.filter(pk=drive.pk).update(kind=kind, length=10, fork=0)
    after = fragments.render(topics, (), now)
    assert after.keys() == set(topics) and not any("iles" in text for text in after.values())


def test_what_is_no_topic_or_not_here_has_no_fragment() -> None:
    topics = [
        "farm.overview",
        "farm.secrets",
        "drive.x.verdict",
        f"drive.{key_of('a')}.verdict",
        "farm.overview",
        "",
    ]
    assert known(topics) == ["farm.overview", f"drive.{key_of('a')}.verdict"]
    assert render_now([f"drive.{key_of('a')}.verdict"], timezone.now()) == {}


def test_names_of_others_are_visible_and_escaped_in_fragments() -> None:
    populate()
    Worker.objects.filter(name="fra").update(name="<b>\u202efra")
    text = render_now(["workers.table"], timezone.now())["workers.table"]
    assert "&lt;b&gt;" in text and "<b>\u202e" not in text and "\u202e" not in text


def test_an_event_has_a_line_of_data_for_each_line() -> None:
    assert stream.event("a", "x\n y\r\nz") == "event: a\ndata: x\ndata:  y\ndata: z\n\n"
    assert stream.event("beat", "") == "event: beat\ndata: \n\n"
    assert stream.event("a", "x\n\nevent: b") == "event: a\ndata: x\ndata: \ndata: event: b\n\n"


def test_only_users_watch_and_only_topics(viewer: Client) -> None:
    assert Client().get("/live/?topics=farm.status").status_code == 401
    assert viewer.get("/live/").status_code == 400
    assert viewer.get("/live/?topics=nothing,farm").status_code == 400
    assert viewer.post("/live/?topics=farm.status").status_code == 405


def test_a_row_of_the_list_is_a_fragment(viewer: Client) -> None:
    populate()
    viewer.post(reverse("dashboard:mark_seen"), {"seen": "all"})  # what is new differs between users
    topics = [f"row.{pk}" for pk in Drive.objects.values_list("pk", flat=True)]
    rendered = render_now([*topics, "row.99999999"], timezone.now())
    assert rendered.keys() == set(topics)
    page = viewer.get("/drives/").text
    for topic, text in rendered.items():
        assert f'<tr data-topic="{topic}">{text}</tr>' in page
    assert known(["row.0", "row.", "row.1x", "row.-1", f"row.{'9' * 19}"]) == []


def test_what_changed_is_rendered_and_the_rest_when_it_is_old() -> None:
    populate()
    now, fragments = timezone.now(), Fragments(99)
    topics = [f"row.{pk}" for pk in Drive.objects.values_list("pk", flat=True)]
    topics += [
        f"drive.{key}.{part}"
        for key in Drive.objects.values_list("key", flat=True)
        for part in ("verdict", "events")
    ]
    assert fragments.render(topics, (), now).keys() == set(topics)
    assert fragments.render(topics, (), now) == {}
    assert fragments.render(topics, topics[:1], now).keys() == {topics[0]}, "asked for as fresh"
    copy = Replica.objects.filter(desired=True).first()
    assert copy is not None
    Replica.objects.filter(pk=copy.pk).update(peers=77)
    assert fragments.render(topics, (), now).keys() == {
        f"row.{copy.drive_id}",
        f"drive.{copy.drive.key}.verdict",
    }
    services.record_event("drive.seen", "seen", drive=copy.drive)
    assert fragments.render(topics, (), now).keys() == {f"drive.{copy.drive.key}.events"}
    Worker.objects.filter(pk=copy.worker_id).update(lost_since=now)
    assert f"drive.{copy.drive.key}.verdict" in fragments.render(topics, (), now)
    assert fragments.render(topics, (), now + RENEW).keys() == set(topics)


def test_a_portion_ends_and_what_changed_comes_first() -> None:
    populate()
    now, fragments = timezone.now(), Fragments(portion=0)
    topics = [f"row.{pk}" for pk in Drive.objects.values_list("pk", flat=True)]
    seen = [fragments.render(topics, (), now).keys() for _ in topics]
    assert [len(each) for each in seen] == [1] * len(topics), "one drive a call"
    assert fragments.render(topics, (), now) == {}
    changed = Drive.objects.get(pk=int(topics[-1].removeprefix("row.")))
    Drive.objects.filter(pk=changed.pk).update(label="Other")
    assert fragments.render(topics, (), now + RENEW).keys() == {topics[-1]}


def test_a_stream_gives_its_connection_back_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else as many tabs as the pool has connections stop the whole farm."""
    order: list[str] = []

    async def released() -> None:
        order.append("released")

    async def of_session() -> User:
        order.append("user")
        return User(username="vera", is_superuser=True)

    monkeypatch.setattr(stream, "release_database", released)

    async def scene() -> None:
        request = AsyncRequestFactory().get("/live/?topics=farm.status")
        request.auser = of_session
        response: Any = await stream.live(request)
        assert response.status_code == 200 and order == ["user", "released"]

    asyncio.run(scene())


def test_connections_are_released_but_not_out_of_a_transaction() -> None:
    class Connection:
        def __init__(self, *, in_atomic_block: bool) -> None:
            self.in_atomic_block, self.closed = in_atomic_block, False

        def close(self) -> None:
            self.closed = True

    class Connections:
        def __init__(self) -> None:
            self.each = [Connection(in_atomic_block=True), Connection(in_atomic_block=False)]

        def all(self, *, initialized_only: bool) -> list[Connection]:
            assert initialized_only
            return self.each

    here = Connections()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "connections", here)
        asyncio.run(streaming.release_database())
    assert [each.closed for each in here.each] == [False, True]


def test_a_list_goes_without_live_rows_when_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_TOPICS", 2)
    watched: list[set[str]] = []

    async def of_session() -> User:
        return User(username="vera", is_superuser=True)

    async def events(topics: list[str]) -> AsyncIterator[str]:
        watched.append(set(topics))
        yield ""

    monkeypatch.setattr(stream, "_events", events)

    async def scene() -> list[int]:
        found = []
        for topics in ("farm.status,farm.alerts,row.1,row.2", "row.1,row.2,row.3"):
            request = AsyncRequestFactory().get(f"/live/?topics={topics}")
            request.auser = of_session
            response: Any = await stream.live(request)
            found.append(response.status_code)
            if response.status_code == 200:
                async for _ in response.streaming_content:
                    pass
        return found

    assert asyncio.run(scene()) == [200, 503]
    assert watched == [{"farm.status", "farm.alerts"}]


async def parts(body: AsyncIterator[bytes], count: int) -> list[str]:
    return [(await anext(body)).decode() for _ in range(count)]


def test_the_stream_begins_with_what_is_now_and_ends_without_a_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = member("vera", roles.VIEWER)
    user.get_all_permissions()  # they are cached: another thread does not see this transaction

    async def of_session() -> User:
        return user

    async def render(topics: Any, fresh: Any) -> Rendered:
        return Rendered({topic: f"<p>{topic}</p>" for topic in topics}, 0.0)

    monkeypatch.setattr(stream, "_renderer", lambda fragments: render)

    async def scene() -> None:
        request = AsyncRequestFactory().get(f"/live/?topics=farm.status,farm.alerts{',x' * 20}")
        request.auser = of_session
        response: Any = await stream.live(request)
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        body = aiter(response.streaming_content)
        first, news = await parts(body, 2)
        assert first == "retry: 3000\n\n"
        assert "event: farm.status\ndata: <p>farm.status</p>\n\n" in news
        assert "event: farm.alerts\n" in news
        assert len(stream.hub()) == 1
        waiting = asyncio.create_task(parts(body, 1))
        await asyncio.sleep(0)
        waiting.cancel()  # as the server does when the browser has gone
        await asyncio.wait([waiting])
        assert (len(stream.hub()), stream.hub().topics) == (0, 0)

    asyncio.run(scene())


def test_work_is_that_of_a_processor_and_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"thread": 1.0, "wall": 1.0}
    monkeypatch.setattr(time, "thread_time", lambda: clock["thread"])
    monkeypatch.setattr(time, "perf_counter", lambda: clock["wall"])

    def pass_by(wall: float, thread: float) -> str:
        clock["wall"] += wall
        clock["thread"] += thread
        return "found"

    class Preempted(Fragments):
        def render(self, topics: Any, fresh: Any, now: datetime) -> dict[str, str]:
            return {"a": pass_by(8.0, 0.25)}

    assert async_to_sync(stream._renderer(Preempted()))((), ()) == Rendered({"a": "found"}, 0.25)
    waits = stream.Waits()
    assert waits(lambda *_: pass_by(2.0, 0.5), "SELECT", (), False, {}) == "found"
    assert waits.seconds == (1.5 if connection.vendor == "postgresql" else 0.0)


def test_a_quiet_stream_beats_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def render(topics: Any, fresh: Any) -> Rendered:
        return Rendered({}, 0.0)

    monkeypatch.setattr(stream, "_renderer", lambda fragments: render)
    monkeypatch.setattr(stream, "BEAT", 0.01)
    monkeypatch.setattr(stream, "LASTS", 0.05)

    async def scene() -> list[str]:
        return [part async for part in stream._events(["farm.status"])]

    _retry, *rest = asyncio.run(scene())
    assert rest and set(rest) == {"event: beat\ndata: \n\n"}
    assert MAX_TOPICS_EACH >= 6
