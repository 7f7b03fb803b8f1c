"""The pipe into which a process says that it is ready (`workers.ready`)."""

from __future__ import annotations

import asyncio
import os

from workers.settings.table import READY_FD


class ReadyPipe:
    """For one run of a process. `close` when that has ended."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    @property
    def env(self) -> dict[str, str]:
        return {READY_FD.name: str(self._write)}

    @property
    def fds(self) -> tuple[int, ...]:
        """That the process is to inherit."""
        return (self._write,)

    def handed_over(self) -> None:
        """The process has its end: ours would keep the pipe open when it is gone."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    async def wait(self) -> bool:
        """Whether it said so. False: it closed its end without a word."""
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._read, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._read)
        return bool(os.read(self._read, 1))

    def close(self) -> None:
        self.handed_over()
        if self._read >= 0:
            os.close(self._read)
            self._read = -1
