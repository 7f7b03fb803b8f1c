"""The pipe through which a process reports that it is ready (`workers.ready`)."""

from __future__ import annotations

import asyncio
import os

from workers.settings.table import READY_FD


class ReadyPipe:
    """The pipe by which one run of a process reports to be ready. Call `close` when that has ended."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    @property
    def env(self) -> dict[str, str]:
        """Variables with which the process finds where to write its byte."""
        return {READY_FD.name: str(self._write)}

    @property
    def fds(self) -> tuple[int, ...]:
        """Descriptors that the process inherits."""
        return (self._write,)

    def close_write_end(self) -> None:
        """Close the write end here: otherwise the pipe would stay open after the process ended."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    async def wait(self) -> bool:
        """Wait until the process is ready. False: it closed its end without reporting."""
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._read, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._read)
        return bool(os.read(self._read, 1))

    def close(self) -> None:
        """Close both ends."""
        self.close_write_end()
        if self._read >= 0:
            os.close(self._read)
            self._read = -1
