"""The five verbs of a state machine without I/O, spelled the same on every one.

    machine.receive(data, now)         # something has arrived
    machine.take_output(now)           # until it gives nothing: what is to be sent
    machine.next_event()               # until None: what the owner has to know
    machine.next_deadline()            # when `handle_timer` is to be called; None: never
    machine.handle_timer(now)          # at that moment, or somewhat later

A machine has the verbs that it has a use for: `Muxer` has no timer, `Replicator` gets its input from a muxer,
and commands that are not bytes have names of their own (`Replicator.attach`, `ServerCore.handshake`). `now`
is seconds of one monotonic clock.

What holds for all of them, and is tested for all of them: asking (`next_deadline`, `next_event` and
`take_output` that give nothing) changes nothing; a timer that comes early does nothing; one that is due moves
the deadline behind `now`, once output and events were taken; and no bytes of a peer raise anything but
RemoteProtocolError.

Codecs (`SecretStream`, `Handshake`, `TimeWait`) are no machines: they have no time, and what comes of a call
is what it returns.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

_Input = TypeVar("_Input", contravariant=True)
_Output = TypeVar("_Output", covariant=True)
_Event = TypeVar("_Event", covariant=True)


@runtime_checkable
class Receiver(Protocol[_Input]):
    def receive(self, data: _Input, now: float, /) -> None:
        """Something has arrived. Raises RemoteProtocolError, if it does not drop what makes no sense."""


@runtime_checkable
class Producer(Protocol[_Output]):
    def take_output(self, now: float, /) -> _Output:
        """The next of what is to be sent; something false (None, an empty list) if that is nothing."""


@runtime_checkable
class EventSource(Protocol[_Event]):
    def next_event(self) -> _Event | None:
        """The oldest event that was not taken yet; None if there is none."""


@runtime_checkable
class Timed(Protocol):
    def next_deadline(self) -> float | None:
        """When `handle_timer` is to be called at the latest; None if nothing is waited for."""

    def handle_timer(self, now: float, /) -> None:
        """Do what is due by `now`."""
