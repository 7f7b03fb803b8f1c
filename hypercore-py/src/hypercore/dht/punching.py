"""Hole punching: what we know of the other side, and which way of punching fits the two NATs.

Source: hyperdht lib/holepuncher.js (6.34.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .address import Address
from .constants import Firewall
from .messages import HolepunchPayload
from .punch_probes import TICK_SECONDS, Probe, Volley, birthday_probes, consistent_probes, random_port_probes

MAX_REMOTE_ADDRESSES = 8
"""Addresses of the other side that are punched at."""
MAX_ECHOES = 16
"""Single bytes that are answered per puncher, so that two peers cannot echo each other for ever."""
ECHO_SECONDS = 0.5
"""Time between two of these: the other side sends one a second, an echo of our echo comes at once."""
MAX_RANDOM_PUNCHES = 1
"""Punches through random NATs at a time: each takes up to 256 sockets (hyperdht `randomPunchLimit`)."""
RANDOM_PUNCH_PAUSE_SECONDS = 20.0
"""Rest that our router gets after one (hyperdht `randomPunchInterval`)."""


class RandomPunches:
    """How many punches through random NATs there may be, over all servers and dials of a node."""

    def __init__(self) -> None:
        self._running = 0
        self._ended_at = float("-inf")

    def may_start(self, now: float) -> bool:
        return self._running < MAX_RANDOM_PUNCHES and now - self._ended_at >= RANDOM_PUNCH_PAUSE_SECONDS

    def start(self) -> None:
        self._running += 1

    def end(self, now: float | None) -> None:
        """One is over. None: it did not come to that, so there is nothing to rest from."""
        self._running -= 1
        if now is not None:
            self._ended_at = now


class Puncher:
    """What we know of the other side's addresses, and when to send it a byte."""

    def __init__(
        self,
        *,
        initiator: bool,
        remote_host: str,
        remote_firewall: int = Firewall.UNKNOWN,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`remote_host` is where the handshake says that the other side is."""
        self.remote_firewall = remote_firewall
        self.remote_punching = False
        self.punching = False
        self.exhausted = False
        """Whether all bytes were sent, and a while has passed."""
        self._initiator = initiator
        self._remote_host = remote_host
        self._random_bytes = random_bytes
        self._addresses: dict[Address, bool] = {}
        self._plan: Iterator[Volley] = iter(())
        self._guessed_host: str | None = None
        self._at: float | None = None
        self._output: list[Probe] = []
        self._echoes = 0
        self._echo_at = float("-inf")

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(self._addresses)

    def update(self, payload: HolepunchPayload, verified_host: str | None) -> None:
        """Take the other side's state. `verified_host`: it proved to read what is sent there."""
        verified = {address.host for address, known in self._addresses.items() if known}
        if verified_host is not None:
            verified.add(verified_host)
        self._addresses = {
            address: address.host in verified for address in (payload.addresses or ())[:MAX_REMOTE_ADDRESSES]
        }
        self.remote_firewall = payload.firewall
        self.remote_punching = payload.punching

    def is_random(self, local_firewall: int) -> bool:
        """Whether punching takes many bytes: one of the NATs is random."""
        return Firewall.RANDOM in (local_firewall, self.remote_firewall)

    def start(self, local_firewall: int, now: float) -> bool:
        """Begin to punch. False if that is of no use for these two NATs."""
        if self.punching:
            return True
        plan = self._choose(local_firewall)
        if plan is None:
            return False
        self.punching = True
        self._plan = plan
        # The server has just answered with a byte of its own ("fast open"): it gives that a moment
        patient = not self._initiator and not self.is_random(local_firewall)
        self._at = now + TICK_SECONDS if patient else now
        return True

    def _choose(self, local_firewall: int) -> Iterator[Volley] | None:
        ours, theirs = _is_stable(local_firewall), _is_stable(self.remote_firewall)
        if ours and theirs:
            reachable = any(address.port for address in self._addresses)
            return consistent_probes(lambda: self._addresses) if reachable else None
        # Hundreds of bytes go only to somebody who asked for them
        verified = [address for address, proved in self._addresses.items() if proved]
        if ours and self.remote_firewall == Firewall.RANDOM and verified:
            self._guessed_host = verified[0].host
            return random_port_probes(verified[0].host, self._random_bytes)
        target = next((address for address in verified if address.port), None)
        if theirs and local_firewall == Firewall.RANDOM and target is not None:
            return birthday_probes(target)
        return None

    def stop(self) -> None:
        self.punching = False
        self._at = None

    def next_deadline(self) -> float | None:
        return self._at

    def handle_timer(self, now: float) -> None:
        if self._at is None or now < self._at:
            return
        volley = next(self._plan, None)
        if volley is None:
            self.exhausted = True
            self.stop()
            return
        probes, pause = volley
        self._output += probes
        self._at = now + pause

    def take_output(self, now: float) -> list[Probe]:
        """Single bytes that are to be sent now."""
        output, self._output = self._output, []
        return output

    def may_echo(self, source: Address, now: float) -> bool:
        """A byte came from `source`: whether to answer it. Only the side that did not start does."""
        if self._initiator or self._echoes >= MAX_ECHOES or now < self._echo_at:
            return False
        if not self.expects(source.host):
            return False
        self._echoes += 1
        self._echo_at = now + ECHO_SECONDS
        return True

    @property
    def hosts(self) -> frozenset[str]:
        """Where the other side may be: at most one more than MAX_REMOTE_ADDRESSES."""
        return frozenset((self._remote_host, *(address.host for address in self._addresses)))

    def expects(self, host: str) -> bool:
        """Whether the other side may be at `host`."""
        return host == self._remote_host or any(host == address.host for address in self._addresses)

    def awaits(self, source: Address) -> bool:
        """Whether a byte from `source` is what we punch for.

        Exactly, unless the other side's ports are a guess: another port of the same host may be another
        socket of the same peer, dialling us.
        """
        return source in self._addresses or source.host == self._guessed_host


def _is_stable(firewall: int) -> bool:
    return firewall in (Firewall.OPEN, Firewall.CONSISTENT)
