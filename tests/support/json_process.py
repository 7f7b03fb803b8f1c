"""A child process that prints one JSON object a line; its output can be waited for, its errors are kept."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Event = dict[str, Any]

STDERR_LINES_SHOWN = 60
"""Lines of a child's standard error repeated in a failure."""

STATE_WAIT = 0.5
"""Seconds for a child to write its state to standard error."""

COMMAND_TIMEOUT = 60.0

STOP_GRACE = 10.0
"""Seconds a child gets to end after it was asked to, before SIGKILL."""


DISPOSE_GRACE = 2.0
"""Seconds that a teardown leaves between the end of standard input and SIGKILL."""


def catches(pid: int, number: int) -> bool:
    """Whether a process handles that signal: others end for it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


class ProcessFailed(AssertionError):
    """A child ended, or wrote something, that the test did not expect."""


class JsonProcess:
    """Starts `command`; a thread each reads its stdout (JSON lines) and stderr (text).

    Every event carries the monotonic time of its arrival under ``"at"``.
    """

    ends_with_stdin = False
    """Whether it ends when its standard input does."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.events: list[Event] = []
        self.noise: list[str] = []
        self._stderr: deque[str] = deque(maxlen=2_000)
        self._changed = threading.Condition()
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,  # a Ctrl-C of the test run must not race our own teardown
        )
        self._readers = [
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    # -- output -----------------------------------------------------------------------------------

    def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            at = time.monotonic()
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            with self._changed:
                if isinstance(event, dict):
                    event["at"] = at
                    self.events.append(event)
                else:
                    self.noise.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._stderr.append(line)

    @property
    def stderr(self) -> str:
        return "".join(self._stderr)

    def describe(self) -> str:
        """The end of what the process wrote, for a failure's message, and its state if it reports that."""
        if self.process.poll() is None and catches(self.process.pid, signal.SIGUSR2):
            self.signal(signal.SIGUSR2)
            time.sleep(STATE_WAIT)
        errors = "".join(list(self._stderr)[-STDERR_LINES_SHOWN:]) or "(nothing)\n"
        last = "\n".join(json.dumps(event)[:400] for event in self.events[-15:]) or "(nothing)"
        status = self.process.poll()
        state = "still runs" if status is None else f"ended with {status}"
        return f"--- {self.name} {state}\n--- last events\n{last}\n--- standard error\n{errors}"

    def select(self, match: Callable[[Event], bool], *, since: int = 0) -> Iterator[Event]:
        return (event for event in self.events[since:] if match(event))

    def wait_for(
        self, match: Callable[[Event], bool], *, timeout: float, what: str = "an event", since: int = 0
    ) -> Event:
        """The first event from position `since` that matches; ProcessFailed on time-out or early end."""
        deadline = time.monotonic() + timeout
        seen = since
        with self._changed:
            while True:
                for event in self.events[seen:]:
                    if match(event):
                        return event
                seen = len(self.events)
                left = deadline - time.monotonic()
                ended = self.process.poll() is not None and not self._readers[0].is_alive()
                if ended or left <= 0:
                    break
                self._changed.wait(min(left, 0.5))
        reason = "it ended" if ended else f"{timeout:g} s passed"
        raise ProcessFailed(f"{self.name}: waiting for {what}: {reason}\n{self.describe()}")

    def position(self) -> int:
        """Where the next event will be: pass it to `wait_for(since=…)` to look only at what is new."""
        return len(self.events)

    # -- input ------------------------------------------------------------------------------------

    def send_line(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise ProcessFailed(
                f"{self.name}: cannot be told anything: {error}\n{self.describe()}"
            ) from error

    # -- end --------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout: float) -> int:
        """The exit status; ProcessFailed when it is still running after `timeout` seconds."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{self.name} has not ended in {timeout:g} s\n{self.describe()}") from None
        for reader in self._readers:
            reader.join(5)
        return status

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, as a power cut would; returns when it is gone."""
        self.signal(signal.SIGKILL)
        self.wait(STOP_GRACE)
        self._close_pipes()

    def interrupt(self, timeout: float = STOP_GRACE) -> int:
        """Ctrl-C; gives the exit status."""
        self.signal(signal.SIGINT)
        return self.wait(timeout)

    def dispose(self) -> None:
        """Ends it in any case; never raises, for teardown."""
        if self.running and self.ends_with_stdin:
            self._close_stdin()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(DISPOSE_GRACE)
        if self.running:
            self.signal(signal.SIGKILL)
            self.process.wait(STOP_GRACE)
        for reader in self._readers:
            reader.join(5)
        self._close_pipes()

    def _close_stdin(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class CommandedProcess(JsonProcess):
    """A child that takes commands, {id, cmd, …} a line, and answers them with {reply: id, …}."""

    ends_with_stdin = True

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        start_timeout: float,
    ) -> None:
        super().__init__(name, command, env=env)
        self._asked = 0
        self.ready = self.wait_for(
            lambda event: event.get("event") == "ready", timeout=start_timeout, what="ready"
        )

    def send(self, cmd: str, **arguments: Any) -> int:
        """Sends a command without waiting; `answer` takes the number it gives."""
        self._asked += 1
        self.send_line({"id": self._asked, "cmd": cmd, **arguments})
        return self._asked

    def answer(self, number: int, *, timeout: float = COMMAND_TIMEOUT) -> dict[str, Any]:
        reply = self.wait_for(
            lambda event: event.get("reply") == number, timeout=timeout, what=f"the reply to command {number}"
        )
        if "error" in reply:
            raise ProcessFailed(f"{self.name}: command {number} failed: {reply['error']}\n{self.describe()}")
        return reply

    def ask(self, cmd: str, *, timeout: float = COMMAND_TIMEOUT, **arguments: Any) -> dict[str, Any]:
        return self.answer(self.send(cmd, **arguments), timeout=timeout)
