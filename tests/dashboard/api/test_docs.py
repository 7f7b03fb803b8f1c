"""The examples of docs/api.md work."""

from __future__ import annotations

import re
import shlex

import pytest
from django.contrib.auth.models import User

from ...support.paths import ROOT
from ..farm import populate
from .client import ApiClient
from .conftest import token_for

pytestmark = pytest.mark.usefixtures("database")

PAGE = (ROOT / "docs" / "api.md").read_text()


def examples() -> list[list[str]]:
    return [shlex.split(line) for line in re.sub(r"\\\n", " ", PAGE).splitlines() if line.startswith("curl ")]


def test_the_page_has_examples() -> None:
    assert len(examples()) >= 3


@pytest.mark.parametrize("words", examples(), ids=lambda words: words[-1])
def test_an_example_works_as_it_is_written(otto: User, words: list[str]) -> None:
    populate()
    from seederfarm.registry.models import Drive, Worker

    drive, worker = Drive.objects.get(label="Tide tables"), Worker.objects.get(name="fra")
    token = token_for(otto, "read", "drives", "workers", "sources", "alerts")
    method, body, address, headers = "GET", None, "", {}
    rest = iter(words[1:])
    for word in rest:
        match word:
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value.replace("$TOKEN", token)
            case "-X":
                method = next(rest)
            case "-d" | "--json":
                body = next(rest).replace("KEY", drive.z32)
                method = "POST" if method == "GET" else method
            case _:
                address = word.replace("KEY", drive.z32).replace("/ID", f"/{worker.node_id}")
    path = address.removeprefix("http://127.0.0.1:8000")
    answer = ApiClient(**headers)(method, path, body)
    assert 200 <= answer.status < 300, answer
