"""The event stream: who may watch, what comes, what a fragment is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncRequestFactory, Client
from django.urls import reverse
from django.utils import timezone

from dashboard.live import stream
from dashboard.live.hub import MAX_TOPICS_EACH
from dashboard.live.topics import FARM, known, render_all
from seederfarm.registry import roles
from seederfarm.registry.models import Drive, Worker

from ...seederfarm.registry.factories import key_of
from ..conftest import member
from ..farm import populate

pytestmark = pytest.mark.usefixtures("database")


def test_a_fragment_is_what_the_page_shows(viewer: Client) -> None:
    populate()
    drive = Drive.objects.get(label="Coastal Field Recordings")
    of_drive = [f"drive.{drive.key}.{part}" for part in ("verdict", "copies", "events", "about")]
    rendered = render_all([*FARM, *of_drive], timezone.now())
    assert rendered.keys() == {*FARM, *of_drive}
    pages = "".join(
        viewer.get(address).text
        for address in ("/", "/workers/", reverse("dashboard:drive", kwargs={"key": drive.key}))
    )
    for topic, text in rendered.items():
        assert f'data-topic="{topic}"' in pages
        assert text in pages, topic


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
    assert render_all([f"drive.{key_of('a')}.verdict"], timezone.now()) == {}


def test_names_of_others_are_visible_and_escaped_in_fragments() -> None:
    populate()
    Worker.objects.filter(name="fra").update(name="<b>\u202efra")
    text = render_all(["workers.table"], timezone.now())["workers.table"]
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


async def parts(body: AsyncIterator[bytes], count: int) -> list[str]:
    return [(await anext(body)).decode() for _ in range(count)]


def test_the_stream_begins_with_what_is_now_and_ends_without_a_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = member("vera", roles.VIEWER)
    user.get_all_permissions()  # they are cached: another thread does not see this transaction

    async def of_session() -> User:
        return user

    async def render(topics: Any) -> dict[str, str]:
        return {topic: f"<p>{topic}</p>" for topic in topics}

    monkeypatch.setattr(stream, "_render", render)

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


def test_a_quiet_stream_beats_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def render(topics: Any) -> dict[str, str]:
        return {}

    monkeypatch.setattr(stream, "_render", render)
    monkeypatch.setattr(stream, "BEAT", 0.01)
    monkeypatch.setattr(stream, "LASTS", 0.05)

    async def scene() -> list[str]:
        return [part async for part in stream._events(["farm.status"])]

    _retry, *rest = asyncio.run(scene())
    assert rest and set(rest) == {"event: beat\ndata: \n\n"}
    assert MAX_TOPICS_EACH >= 6
