"""Middleware that waits for nothing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from dashboard.api.middleware import ApiAnswers
from dashboard.middleware import ContentPolicy, FilesOrigin
from seederfarm.control.middleware import UndeliveredMessageMiddleware
from seederfarm.registry.middleware import InLoop, StaticFiles


class Noting(InLoop):
    """Notes in which threads its hooks run."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        self.threads: list[threading.Thread] = []
        self.refuses = False

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        self.threads.append(threading.current_thread())
        return HttpResponse(status=418) if self.refuses else None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        self.threads.append(threading.current_thread())
        response.headers["X-Seen"] = "1"
        return response


async def a_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("file")


@pytest.mark.parametrize(("refuses", "status"), [(False, 200), (True, 418)])
def test_its_hooks_run_in_the_thread_of_the_loop(refuses: bool, status: int) -> None:
    noting: Any = Noting(a_view)
    noting.refuses = refuses
    answer: Any = asyncio.run(noting(RequestFactory().get("/")))
    assert (answer.status_code, answer.headers["X-Seen"]) == (status, "1")
    assert noting.threads == [threading.current_thread()] * 2


def test_it_serves_views_that_are_not_asynchronous() -> None:
    answer: Any = Noting(lambda request: HttpResponse("page"))(RequestFactory().get("/"))
    assert (answer.content, answer.headers["X-Seen"]) == (b"page", "1")


@pytest.mark.parametrize("kind", [ApiAnswers, ContentPolicy, FilesOrigin, UndeliveredMessageMiddleware])
def test_middleware_of_the_farm_takes_no_turn_of_a_thread(kind: type[InLoop]) -> None:
    async def scene() -> Any:
        before = threading.active_count()
        middleware: Any = kind(a_view)
        answer = await middleware(RequestFactory().get("/"))
        assert threading.active_count() == before
        return answer

    assert asyncio.run(scene()).content == b"file"


@pytest.mark.parametrize("autorefresh", [False, True])
def test_static_files_are_found_whether_listed_before_or_looked_for(autorefresh: bool) -> None:
    with override_settings(SERVESTATIC_AUTOREFRESH=autorefresh):
        middleware: Any = StaticFiles(a_view)
        assert bool(middleware.files) is not autorefresh

        async def ask(path: str) -> Any:
            return await middleware(RequestFactory().head(path))

        found = asyncio.run(ask("/static/dashboard/farm.css"))
        assert (found.status_code, found.headers["Content-Type"]) == (200, 'text/css; charset="utf-8"')
        for path in ("/static/dashboard/none.css", "/static/../registry/roles.py", "/"):
            assert asyncio.run(ask(path)).content == b"file"
