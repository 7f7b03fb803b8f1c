"""Answers that end early: one line in the server's log."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.core.exceptions import PermissionDenied

from seederfarm.unfinished import OneLine, Unfinished, WithoutTraceback


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """That of the server."""
    logger, added = logging.getLogger("uvicorn.error"), OneLine()
    logger.addFilter(added)
    yield logger
    logger.removeFilter(added)


def test_an_unfinished_answer_is_one_line(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise Unfinished("clip.mp4: 100 % gone")
    except Unfinished as error:
        log.error("Exception in ASGI application\n", exc_info=error)
    assert caplog.messages == ["An answer ended early: clip.mp4: 100 % gone"]
    assert caplog.records[0].levelname == "WARNING"
    assert "Traceback" not in caplog.text


def test_a_fault_keeps_its_traceback(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("a fault")
    except ValueError as error:
        log.error("Exception in ASGI application\n", exc_info=error)
    log.info("no exception at all")
    assert "Traceback" in caplog.text and caplog.messages[0] == "Exception in ASGI application\n"


def test_the_client_notices_and_the_log_has_one_line(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"x" * 60, "more_body": True})
        raise Unfinished("clip.mp4: the gateway has ended the connection")

    async def scene() -> bytes:
        server = uvicorn.Server(uvicorn.Config(application, port=0, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        writer.close()
        server.should_exit = True
        await serving
        return answer

    _, _, body = asyncio.run(asyncio.wait_for(scene(), 60)).partition(b"\r\n\r\n")
    assert body == b"x" * 60
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == ["An answer ended early: clip.mp4: the gateway has ended the connection"]
    assert "Traceback" not in caplog.text


def test_the_application_of_the_pages_has_it(tmp_path: Path) -> None:
    code = (
        "import logging, seederfarm.asgi\n"
        "from seederfarm.unfinished import Unfinished\n"
        "logging.getLogger('uvicorn.error').error('Exception', exc_info=Unfinished('clip.mp4'))\n"
    )
    env = {**os.environ, "SEEDERFARM_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("An answer ended early: clip.mp4\n")


def test_a_refused_request_is_one_line_and_a_failure_keeps_its_traceback() -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    log = logging.getLogger("test.refused")
    log.addHandler(handler)
    log.addFilter(WithoutTraceback())
    for error in (PermissionDenied(), ValueError("fault")):
        try:
            raise error
        except Exception:
            log.warning("Forbidden: %s", "/audit/", exc_info=True)
    log.removeHandler(handler)
    first, *rest = lines.getvalue().splitlines()
    assert first == "Forbidden: /audit/"
    assert rest[0] == "Forbidden: /audit/" and rest[-1] == "ValueError: fault"


def test_the_farm_logs_refused_requests_so(settings: Any) -> None:
    assert settings.LOGGING["loggers"]["django.request"]["filters"] == ["refused"]
    assert settings.LOGGING["filters"]["refused"]["()"] == "seederfarm.unfinished.WithoutTraceback"
