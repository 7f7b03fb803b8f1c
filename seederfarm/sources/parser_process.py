"""Parses an answer in a process of its own, within limits of memory and CPU that a hostile list or a
multiplying mapping cannot exceed.

`Parser.parse` starts `python -m seederfarm.sources.parser_process`, writes the question and the answer's
bytes to its standard input, and reads one JSON line per entry, then one with the rest. One parse runs at a
time.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Final

from .list_formats import Entry, Parsed, SourceError, parse_json, parse_lines

TIMEOUT: Final = 30.0
"""Seconds of one parse, the start of the process included. Ours."""
CPU_SECONDS: Final = 25
"""CPU seconds of it (RLIMIT_CPU), in case its parent dies."""
BASE_MEMORY: Final = 64 << 20
"""Bytes of address space (RLIMIT_AS) of a process that parses nothing. Ours; 29 MiB measured."""
MEMORY_PER_BYTE: Final = 40
"""Bytes of address space beside that, per byte of answer. CPython takes 22 for `[[],[]]`, a mapping
copies."""
REPORT_MEMORY: Final = 16 << 20
"""Bytes of address space beside that, to report that it was used up."""
MAX_OUTPUT: Final = 96 << 20
"""Bytes of entries from one parse: a mapping can produce more than the answer has."""


class Parser:
    """Parses one answer at a time; other calls wait."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def parse(self, form: str, body: bytes, mapping: str = "") -> Parsed:
        """Parse `body`; `form` is `json` or `lines`. Raises SourceError, also when a limit is exceeded."""
        async with self._turn:
            return await self._parse(form, body, mapping)

    async def _parse(self, form: str, body: bytes, mapping: str) -> Parsed:
        head = {"form": form, "mapping": mapping, "memory": BASE_MEMORY + MEMORY_PER_BYTE * len(body)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "seederfarm.sources.parser_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": ":".join(part for part in sys.path if part)},
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                output, _ = await process.communicate(json.dumps(head).encode() + b"\n" + body)
        except TimeoutError:
            raise SourceError(f"parsing the list takes longer than {TIMEOUT:g} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return await asyncio.to_thread(_decode, output, process.returncode)


def _decode(output: bytes, status: int | None) -> Parsed:
    entries: dict[str, Entry] = {}
    lines = output.splitlines()
    if status != 0 or not lines:
        raise SourceError(f"the list cannot be parsed: the parser ended with status {status}")
    for line in lines[:-1]:
        entry = Entry(*json.loads(line))
        entries[entry.key] = entry
    rest = json.loads(lines[-1])
    if "error" in rest:
        raise SourceError(rest["error"])
    return Parsed(entries, rest["refused"], rest["problems"], rest["skipped"])


def _run(source: BinaryIO, target: BinaryIO) -> None:
    """Body of the child process."""
    head = json.loads(source.readline())
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    hard = head["memory"] + REPORT_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (head["memory"], hard))
    rest: dict[str, Any]
    try:
        body = source.read()
        parsed = parse_lines(body) if head["form"] == "lines" else parse_json(body, head["mapping"])
        del body
        _write(parsed, target)
        rest = {"refused": parsed.refused, "problems": parsed.problems, "skipped": parsed.skipped}
    except SourceError as error:
        rest = {"error": str(error)}
    except MemoryError:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        rest = {"error": f"parsing the list takes more than {head['memory'] >> 20} MiB of memory"}
    target.write(json.dumps(rest).encode())
    target.flush()


def _write(parsed: Parsed, target: BinaryIO) -> None:
    left = MAX_OUTPUT
    for entry in parsed.entries.values():
        line = json.dumps(entry).encode() + b"\n"
        left -= len(line)
        if left < 0:
            raise SourceError(f"the list makes more than {MAX_OUTPUT >> 20} MiB of entries")
        target.write(line)


if __name__ == "__main__":
    _run(sys.stdin.buffer, sys.stdout.buffer)
