"""The stream of changes: what comes, where it goes on, its bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dashboard.api.access import Caller
from dashboard.api.changes import operation, rows
from dashboard.api.changes.feed import MAX_OF_TOKEN, MAX_STREAMS, Feed, Places, Reads
from dashboard.api.changes.stable import Position, Seen
from seederfarm.registry import services, stored_health
from seederfarm.registry.models import ApiToken, Drive, Event, StateChange

from ....seederfarm.registry.factories import make_drive, make_replica, make_worker
from ..client import ApiClient, close, document, errors_of
from ..conftest import make_operator, token_for

pytestmark = pytest.mark.usefixtures("database")

LINE = document()["paths"]["/api/v1/changes"]["get"]["responses"]["200"]["content"]["application/x-ndjson"]


FIRST = Position(0, 0)


def shown(text: str) -> list[dict[str, Any]]:
    """The lines, each as the document has it."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert errors_of(line, LINE["schema"]) == []
    return found


def some_changes(name: str = "tides") -> Drive:
    drive = make_drive(name, length=10, byte_length=1000)
    services.record_event("drive.seen", "seen", drive=drive)
    make_replica(drive, make_worker(), length=10, have_blocks=10, total_blocks=10)
    stored_health.refresh([drive.pk])
    services.record_event("worker.lost", "gone")
    return drive


def drive_state(drive: Drive) -> str:
    return Drive.objects.get(pk=drive.pk).health


def in_a_loop(scene: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(scene())


def reads(seen: Callable[[Position], tuple[Seen, Seen]], page: Callable[..., rows.Page]) -> Reads:
    async def check(stable: Position) -> tuple[Seen, Seen]:
        return seen(stable)

    async def one(after: Position, until: Position) -> rows.Page:
        return page(after, until)

    return Reads(check, one)


def test_a_page_has_events_and_changes_of_states_with_the_place_behind_each() -> None:
    drive = some_changes()
    _, newest = rows.bounds()
    page = rows.page(Position(0, 0), newest)
    lines = shown(page.text)
    assert page.end == newest
    assert [line["event"]["text"] for line in lines if line["type"] == "event"] == ["seen", "gone"]
    states = [line["state"] for line in lines if line["type"] == "state"]
    assert [state["after"] for state in states][-1] == drive_state(drive)
    assert [state["before"] for state in states[1:]] == [state["after"] for state in states[:-1]]
    assert {state["drive"]["hex"] for state in states} == {drive.key}
    assert Position.read(lines[-1]["id"]) == newest
    again = rows.page(Position.read(lines[0]["id"]), newest)
    assert [line["id"] for line in shown(again.text)] == [line["id"] for line in lines[1:]]


def test_long_pages_end_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROWS", 2)
    drive = make_drive("a")
    for number in range(5):
        services.record_event("drive.seen", str(number), drive=drive)
        StateChange.objects.create(at=timezone.now(), drive=drive.pk, before="safe", after="at_risk")
    _, newest = rows.bounds()
    after, texts = Position(0, 0), []
    while after.is_before(newest):
        page = rows.page(after, newest)
        texts += shown(page.text)
        after = page.end
    assert [line["event"]["text"] for line in texts if line["type"] == "event"] == list("01234")
    assert len({line["id"] for line in texts}) == 10


def test_changes_of_a_drive_that_is_removed_have_no_lines() -> None:
    drive = some_changes()
    drive.delete()
    _, newest = rows.bounds()
    page = rows.page(Position(0, 0), newest)
    assert [line["type"] for line in shown(page.text)] == ["event", "event"] and page.end == newest


@pytest.mark.parametrize("after", ["", "1", "x-y", "1-1-1", "9" * 20 + "-0", "-1-0", "%00", "1e3-0", "0x1-0"])
def test_an_id_that_is_none_is_refused(reader: ApiClient, after: str) -> None:
    some_changes()
    assert reader("GET", f"changes?after={after}").status == 422


def test_an_id_of_the_future_is_refused_and_one_too_old_is_gone(reader: ApiClient) -> None:
    for name in "abc":
        some_changes(name)
    first, last = rows.bounds()
    assert reader("GET", f"changes?after={last}").status == 200
    assert reader("GET", f"changes?after={last.event + 1}-{last.state}").status == 422
    assert reader("GET", f"changes?after={first.event - 1}-{first.state - 1}").status == 200
    Event.objects.filter(pk__lte=first.event + 1).delete()
    answer = reader("GET", f"changes?after={first.event - 1}-{first.state - 1}")
    assert answer.status == 410 and "not kept" in answer.body["detail"]
    assert reader("GET", f"changes?after={first.event + 1}-{last.state}").status == 200
    Event.objects.all().delete()
    assert reader("GET", f"changes?after={last}").status == 410


def test_the_stream_needs_the_scope(otto: User) -> None:
    assert ApiClient()("GET", "changes").status == 401
    assert ApiClient(token_for(otto, "drives"))("GET", "changes").status == 403


def test_streams_of_a_token_and_of_all_are_bounded(
    otto: User, reader: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places()
    monkeypatch.setattr(operation, "places", places)
    mine = ApiToken.objects.get().pk
    for _ in range(MAX_OF_TOKEN):
        places.enter(mine)
    answer = reader("GET", "changes")
    assert answer.status == 429 and answer.headers["Retry-After"] == "60"
    places.leave(mine)
    assert reader("GET", "changes").status == 200
    for token in range(1000, 1000 + MAX_STREAMS - len(places)):
        places.enter(token)
    assert reader("GET", "changes").status == 503


class Rows:
    """Stands for the database: events 1, 2, … that appear."""

    def __init__(self) -> None:
        self.last = 3
        self.checks = self.pages = 0

    def seen(self, stable: Position) -> tuple[Seen, Seen]:
        self.checks += 1
        return Seen(range(stable.event + 1, self.last + 1), 1, 1), Seen([], 1, 1)

    def page(self, after: Position, until: Position) -> rows.Page:
        self.pages += 1
        text = "".join(rows.heartbeat(Position(n, 0)) for n in range(after.event + 1, until.event + 1))
        return rows.Page(text, until)

    @property
    def feed(self) -> Feed:
        return Feed(reads(self.seen, self.page), tick=0.01)


@pytest.fixture
def caller(otto: User) -> Caller:
    token_for(otto, "read")
    return Caller(otto, ApiToken.objects.get())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Rows:
    made = Rows()
    feeds: list[Feed] = []

    def feed() -> Feed:
        feeds[:] = feeds or [made.feed]
        return feeds[0]

    monkeypatch.setattr(operation, "feed", feed)
    monkeypatch.setattr(operation, "places", Places())
    return made


def stream(caller: Caller, start: Position = FIRST) -> AsyncIterator[str]:
    return operation.lines(caller, start, Position(3, 0))


async def ids_of(body: AsyncIterator[str], number: int) -> list[str]:
    found: list[str] = []
    while len(found) < number:
        found += [json.loads(line)["id"] for line in (await anext(body)).splitlines()]
    return found


def test_a_stream_begins_behind_an_id_and_goes_on(caller: Caller, here: Rows) -> None:
    async def scene() -> None:
        body = stream(caller, Position(1, 0))
        assert await ids_of(body, 3) == ["1-0", "2-0", "3-0"], "where it is, and what follows"
        here.last = 5
        assert await ids_of(body, 2) == ["4-0", "5-0"]
        assert len(operation.places) == 1
        await body.aclose()  # type: ignore[attr-defined]
        assert len(operation.places) == 0
        checks = here.checks
        await asyncio.sleep(0.05)
        assert here.checks == checks, "without streams the database is left alone"

    in_a_loop(scene)


def test_streams_at_one_place_share_what_is_read(caller: Caller, here: Rows) -> None:
    async def scene() -> None:
        bodies = [stream(caller) for _ in range(MAX_OF_TOKEN)]
        assert await asyncio.gather(*(ids_of(body, 4) for body in bodies))
        assert here.pages == 1
        assert [text async for text in stream(caller)] == [], "one too many ends at once"
        for body in bodies:
            await body.aclose()  # type: ignore[attr-defined]

    in_a_loop(scene)


def test_silence_is_broken_by_heartbeats(caller: Caller, here: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "BEAT", 0.01)

    async def scene() -> None:
        body = stream(caller, Position(3, 0))
        assert await ids_of(body, 3) == ["3-0"] * 3
        await body.aclose()  # type: ignore[attr-defined]

    in_a_loop(scene)


def test_a_stream_ends_with_its_token_and_after_a_while(
    caller: Caller, here: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "BEAT", 0.01)
    monkeypatch.setattr(operation, "CHECKED", 0.0)
    answers = iter([True, True, False])
    monkeypatch.setattr(operation, "_lasts", lambda caller: next(answers))
    assert len(in_a_loop(lambda: _all(stream(caller, Position(3, 0))))) == 3
    monkeypatch.setattr(operation, "LASTS", 0.0)
    assert len(in_a_loop(lambda: _all(stream(caller, Position(3, 0))))) == 1


async def _all(body: AsyncIterator[str]) -> list[str]:
    return [text async for text in body]


def test_a_revoked_token_a_lost_right_and_a_closed_account_last_no_longer(caller: Caller) -> None:
    assert caller.lasts()
    caller.user.user_permissions.clear()
    assert not caller.lasts()
    other = make_operator("vera")
    token_for(other, "read", name="v")
    found = Caller(other, ApiToken.objects.get(name="v"))
    assert found.lasts()
    services.revoke_api_token(found.token, "cli")
    assert not found.lasts()


def test_a_reader_that_takes_nothing_is_dropped(
    caller: Caller, here: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "STALLED", 0.02)

    async def send() -> None:
        async for _ in stream(caller):
            await asyncio.Event().wait()  # as a server whose client reads nothing

    async def scene() -> None:
        sending = asyncio.create_task(send())
        await asyncio.wait([sending], timeout=5)
        assert sending.cancelled()
        await asyncio.sleep(0.01)
        assert len(operation.places) == 0

    in_a_loop(scene)


def test_a_database_that_goes_away_ends_the_stream_without_a_traceback(
    caller: Caller, here: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def fail(*_: object) -> rows.Page:
        raise OperationalError("gone")

    monkeypatch.setattr(here, "page", fail)
    assert len(in_a_loop(lambda: _all(stream(caller)))) == 1


def test_a_stream_has_given_its_connection_back(reader: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[bool] = []
    monkeypatch.setattr(operation, "release", lambda: done.append(True))
    response = Client().get("/api/v1/changes", headers=reader.headers)
    assert response.status_code == 200 and done == [True]
    assert response["Content-Type"] == "application/x-ndjson"
    assert response["Cache-Control"] == "no-store"
    close(response)


def test_retention_deletes_changes_of_states_too() -> None:
    from datetime import timedelta

    from seederfarm.control.history.retention import prune

    now = timezone.now()
    StateChange.objects.create(at=now - timedelta(days=400), drive=1, before="safe", after="at_risk")
    kept = StateChange.objects.create(at=now, drive=1, before="at_risk", after="safe")
    prune(now)
    assert list(StateChange.objects.all()) == [kept]
