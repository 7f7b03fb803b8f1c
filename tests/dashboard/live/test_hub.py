"""Fan-out: a topic is rendered once a tick, however many watch it; slow readers hold one text a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from dashboard.live import hub as hub_module
from dashboard.live.hub import REST, Full, Hub, Rendered


class Renderer:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.texts: dict[str, str] = {"a": "a 1", "b": "b 1"}
        self.fails = 0
        self.work = 0.0

    async def __call__(self, topics: Collection[str], fresh: Collection[str]) -> Rendered:
        self.asked.append(tuple(topics))
        if self.fails:
            self.fails -= 1
            raise OSError("the database is away")
        return Rendered({topic: self.texts[topic] for topic in topics if topic in self.texts}, self.work)


def run(scene: object) -> None:
    asyncio.run(scene)  # type: ignore[arg-type]


def test_each_topic_is_rendered_once_for_all_its_watchers() -> None:
    async def scene() -> None:
        render = Renderer()
        hub = Hub(render, tick=0.01)
        watchers = [hub.watch(["a"]) for _ in range(50)] + [hub.watch(["a", "b"])]
        assert [await each.take(5) for each in watchers[:-1]] == [{"a": "a 1"}] * 50
        assert await watchers[-1].take(5) == {"a": "a 1", "b": "b 1"}
        assert sorted(render.asked[0]) == ["a", "b"]
        ticks = len(render.asked)
        assert ticks < 20
        render.texts["a"] = "a 2"
        assert [await each.take(5) for each in watchers] == [{"a": "a 2"}] * 51
        for each in watchers:
            hub.leave(each)
        hub.leave(watchers[0])
        assert (len(hub), hub.topics) == (0, 0)
        ticks = len(render.asked)
        await asyncio.sleep(0.05)
        assert len(render.asked) == ticks, "nothing is rendered when there is no watcher"

    run(scene())


def test_what_did_not_change_is_not_sent_again() -> None:
    async def scene() -> None:
        render = Renderer()
        hub = Hub(render, tick=0.005)
        watcher = hub.watch(["a"])
        assert await watcher.take(5) == {"a": "a 1"}
        asked = len(render.asked)
        assert await watcher.take(0.1) == {}
        assert len(render.asked) > asked
        late = hub.watch(["a"])
        assert await late.take(5) == {"a": "a 1"}, "the newest comes first"

    run(scene())


def test_a_slow_reader_gets_the_newest_text_alone() -> None:
    async def scene() -> None:
        render = Renderer()
        hub = Hub(render, tick=0.001)
        slow, fast = hub.watch(["a"]), hub.watch(["a"])
        for number in range(20):
            render.texts["a"] = f"a {number}"
            assert await fast.take(5) == {"a": f"a {number}"}
        assert await slow.take(5) == {"a": "a 19"}

    run(scene())


def test_a_failure_is_logged_and_the_next_tick_comes(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        render = Renderer()
        render.fails = 2
        assert await Hub(render, tick=0.005).watch(["a"]).take(5) == {"a": "a 1"}

    run(scene())
    assert "live pages were not updated" in caplog.text


def test_watchers_and_topics_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_WATCHERS", 3)
    monkeypatch.setattr(hub_module, "MAX_TOPICS", 2)

    async def scene() -> None:
        hub = Hub(Renderer())
        first = hub.watch(["a", "b"])
        with pytest.raises(Full):
            hub.watch(["c"])
        hub.watch(["a"])
        hub.watch(["b"])
        with pytest.raises(Full):
            hub.watch(["a"])
        hub.leave(first)
        assert not hub.has_room(["c"]) and hub.has_room(["a"])

    run(scene())


def test_it_rests_by_the_work_of_a_tick_and_not_by_how_long_others_made_it_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests: list[float] = []
    pause = asyncio.sleep

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        await pause(0)

    async def scene() -> None:
        class Preempted(Renderer):
            async def __call__(self, topics: Collection[str], fresh: Collection[str]) -> Rendered:
                await pause(0.2)
                return await super().__call__(topics, fresh)

        render = Preempted()
        hub = Hub(render, tick=2.0)
        watcher = hub.watch(["a"])
        for work, expected in ((0.001, 2.0), (0.4, REST * 0.4)):
            render.work, before = work, len(rests)
            while len(rests) < before + 2:
                await pause(0.01)
            assert rests[-1] == expected
        render.fails, before = 1, len(rests)
        while len(rests) < before + 2:
            await pause(0.01)
        assert min(rests[before:]) > 2.9, "work that failed is not known"
        hub.leave(watcher)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    run(scene())


def test_what_no_user_was_shown_yet_is_asked_for_as_fresh() -> None:
    async def scene() -> None:
        asked: list[set[str]] = []

        async def render(topics: Collection[str], fresh: Collection[str]) -> Rendered:
            asked.append(set(fresh))
            return Rendered({topic: topic for topic in fresh}, 0.0)

        hub = Hub(render, tick=0.005)
        first = hub.watch(["a"])
        assert await first.take(5) == {"a": "a"}
        second = hub.watch(["a", "b"])
        found: dict[str, str] = {}
        while len(found) < 2:
            found |= await second.take(5)
        assert asked[0] == {"a"}
        assert {"b"} in asked and {"a", "b"} not in asked, "a text that is known is not rendered again"

    run(scene())


def test_the_text_of_all_fragments_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_TEXT", 5)

    async def scene() -> None:
        hub = Hub(Renderer(), tick=0.005)
        watcher = hub.watch(["a", "b"])
        while not hub.has_room(["a"]) or hub.has_room(["c"]):  # until "a 1" and "b 1" are known
            await watcher.take(5)
        hub.leave(watcher)
        assert hub.has_room(["c"])

    run(scene())
