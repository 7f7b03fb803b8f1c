"""The five verbs of a state machine without I/O, the same for all machines.

    machine.receive(data, now)         # something has arrived
    machine.take_output(now)           # until it gives nothing: what is to be sent
    machine.next_event()               # until None: what the owner has to know
    machine.next_deadline()            # when `handle_timer` is to be called; None: never
    machine.handle_timer(now)          # at that moment, or somewhat later

A machine has only the verbs that it needs: `Muxer` has no timer, `Replicator` gets its input from a muxer,
and commands that are not bytes have their own names (`Replicator.attach`, `ServerCore.handshake`). `now` is
seconds of one monotonic clock.

Rules of all machines, tested for all of them: `next_deadline`, and `next_event` and `take_output` without a
result, change nothing; an early timer does nothing; a due one moves the deadline behind `now`, once output
and events were taken; bytes of a peer raise only RemoteProtocolError.

Codecs (`SecretStream`, `Handshake`, `TimeWait`) are no machines: they have no time, and a call returns its
result.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

_Input = TypeVar("_Input", contravariant=True)
_Output = TypeVar("_Output", covariant=True)
_Event = TypeVar("_Event", covariant=True)


@runtime_checkable
class Receiver(Protocol[_Input]):
    def receive(self, data: _Input, now: float, /) -> None:
        """Process input. Raises RemoteProtocolError, or drops invalid input."""


@runtime_checkable
class Producer(Protocol[_Output]):
    def take_output(self, now: float, /) -> _Output:
        """The next output; None or an empty list without output."""


@runtime_checkable
class EventSource(Protocol[_Event]):
    def next_event(self) -> _Event | None:
        """The oldest event; None without events."""


@runtime_checkable
class Timed(Protocol):
    def next_deadline(self) -> float | None:
        """When `handle_timer` must be called at the latest; None: never."""

    def handle_timer(self, now: float, /) -> None:
        """Handle timers that are due by `now`."""
