"""Parsing in a process of its own: what a hostile answer may take."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from seederfarm.sources import parser_process
from seederfarm.sources.list_formats import SourceError
from seederfarm.sources.parser_process import Parser

ONE = "01" * 32
MAX_BYTES = 8 << 20


def parse(form: str, body: bytes, mapping: str = "") -> Any:
    return asyncio.run(Parser().parse(form, body, mapping))


def test_entries_come_back_as_they_were_read() -> None:
    body = json.dumps([{"key": ONE, "label": "é", "kind": "bee", "n": [1]}, 7, f"seeders {ONE}"]).encode()
    parsed = parse("json", body)
    (entry,) = parsed.entries.values()
    assert entry == (ONE, "bee", "é", {"key": ONE, "label": "é", "kind": "bee", "n": [1]})
    assert (parsed.refused, parsed.skipped, len(parsed.problems)) == (1, 1, 2)
    assert list(parse("lines", ONE.encode()).entries) == [ONE]
    with pytest.raises(SourceError, match="HTML"):
        parse("lines", b"<html>")


PEAK = """
import asyncio, resource, sys
from seederfarm.sources.list_formats import SourceError
from seederfarm.sources.parser_process import Parser

body, mapping = sys.stdin.buffer.read(), sys.argv[1]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def main():
    reader = Parser()
    tasks = (reader.parse("json", body, mapping) for _ in range(2))
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(item, SourceError) for item in done), done
    assert all("entries" in str(item) or "MiB of memory" in str(item) for item in done), done

asyncio.run(main())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.parametrize(
    ("item", "mapping"),
    [(b"{}", ""), (b"[]", "@"), (b"{}", "[].{key: k}"), (b"{}", "[*].[@,@,@,@,@,@,@,@]")],
    ids=["plain", "all", "objects", "more"],
)
def test_the_peak_of_a_hostile_answer_is_bounded(item: bytes, mapping: str) -> None:
    """8 MiB that CPython makes 180 MB of, or gigabytes with a mapping that multiplies."""
    body = b"[" + item + (b"," + item) * (MAX_BYTES // 3 - 1) + b"]"
    done = subprocess.run(
        [sys.executable, "-c", PEAK, mapping], input=body, capture_output=True, timeout=120, check=True
    )
    own, children = (int(line) << 10 for line in done.stdout.split())
    assert own < 32 << 20, "the process that reads sources"
    assert children < (
        96 << 20
        if not mapping
        else parser_process.BASE_MEMORY
        + parser_process.REPORT_MEMORY
        + parser_process.MEMORY_PER_BYTE * len(body)
    )


def test_a_mapping_that_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_process, "TIMEOUT", 1.0)
    before = children()
    began = time.monotonic()
    with pytest.raises(SourceError, match="takes longer than 1 s"):
        parse("json", b"[1]", BOMB)
    assert time.monotonic() - began < 10
    assert children() <= before, "nothing goes on"


DOUBLED = " | ".join(["[@, @]"] * 60)
BOMB = f"[({DOUBLED}), ({DOUBLED})] | [0] == [1]"
"""Two values of 60 lists each, whose comparison looks at 2^60 pairs."""


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_deep_json_is_refused() -> None:
    for body in (b"[" * MAX_BYTES, b'[{"a":' * (MAX_BYTES // 6)):
        with pytest.raises(SourceError, match="not JSON"):
            parse("json", body)


def test_the_parser_knows_nothing_of_the_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither passwords in the environment nor Django."""
    seen = {}

    async def start(*argv: str, **options: Any) -> Any:
        seen.update(options)
        return await real(*argv, **options)

    real = asyncio.create_subprocess_exec
    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    monkeypatch.setenv("DATABASE_URL", "postgres://farm:s3cret@db/farm")
    parse("lines", ONE.encode())
    assert set(seen["env"]) == {"PYTHONPATH"}
    loaded = "import sys, seederfarm.sources.parser_process; print('django' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
