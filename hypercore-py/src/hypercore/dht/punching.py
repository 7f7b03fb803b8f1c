"""Hole punching: the other side's addresses, and the method that fits the two NATs.

Source: hyperdht lib/holepuncher.js (6.34.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .address import Address
from .constants import Firewall
from .messages import HolepunchPayload
from .punch_probes import TICK_SECONDS, Probe, Volley, birthday_probes, consistent_probes, random_port_probes

MAX_REMOTE_ADDRESSES = 8
"""Addresses of the other side that get bytes."""
MAX_ECHOES = 16
"""Single bytes answered per puncher, so that two peers do not answer each other for ever."""
ECHO_SECONDS = 0.5
"""Least seconds between two of these answers: the other side sends one byte a second, and answers at once."""
MAX_RANDOM_PUNCHES = 1
"""Punches through random NATs at a time: each takes up to 256 sockets (hyperdht `randomPunchLimit`)."""
RANDOM_PUNCH_PAUSE_SECONDS = 20.0
"""Seconds without such a punch afterwards, for our router (hyperdht `randomPunchInterval`)."""


class RandomPunches:
    """Limits the punches through random NATs over all servers and dials of a node."""

    def __init__(self) -> None:
        self._running = 0
        self._ended_at = float("-inf")

    def may_start(self, now: float) -> bool:
        return self._running < MAX_RANDOM_PUNCHES and now - self._ended_at >= RANDOM_PUNCH_PAUSE_SECONDS

    def start(self) -> None:
        self._running += 1

    def end(self, now: float | None) -> None:
        """A punch has ended at `now`. None: it never began, so no pause follows."""
        self._running -= 1
        if now is not None:
            self._ended_at = now


class Puncher:
    """The other side's addresses, and the times of bytes to it."""

    def __init__(
        self,
        *,
        initiator: bool,
        remote_host: str,
        remote_firewall: int = Firewall.UNKNOWN,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`remote_host`: the other side's host from the handshake."""
        self.remote_firewall = remote_firewall
        self.remote_punching = False
        self.punching = False
        self.exhausted = False
        """Whether all bytes were sent and the wait for answers has ended."""
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
        """Use a payload of the other side. `verified_host`: the host at which it has proven that it
        receives."""
        verified = {address.host for address, known in self._addresses.items() if known}
        if verified_host is not None:
            verified.add(verified_host)
        self._addresses = {
            address: address.host in verified for address in (payload.addresses or ())[:MAX_REMOTE_ADDRESSES]
        }
        self.remote_firewall = payload.firewall
        self.remote_punching = payload.punching

    def is_random(self, local_firewall: int) -> bool:
        """Whether one of the NATs is random, so that punching takes many bytes."""
        return Firewall.RANDOM in (local_firewall, self.remote_firewall)

    def start(self, local_firewall: int, now: float) -> bool:
        """Start to punch. False if that cannot work for these two NATs."""
        if self.punching:
            return True
        plan = self._choose(local_firewall)
        if plan is None:
            return False
        self.punching = True
        self._plan = plan
        # The server has just sent a byte of its own ("fast open"), which may arrive first
        patient = not self._initiator and not self.is_random(local_firewall)
        self._at = now + TICK_SECONDS if patient else now
        return True

    def _choose(self, local_firewall: int) -> Iterator[Volley] | None:
        ours, theirs = _is_stable(local_firewall), _is_stable(self.remote_firewall)
        if ours and theirs:
            reachable = any(address.port for address in self._addresses)
            return consistent_probes(lambda: self._addresses) if reachable else None
        # Hundreds of bytes go only to a host that has proven that it wants them
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
        """Single bytes to send now."""
        output, self._output = self._output, []
        return output

    def may_echo(self, source: Address, now: float) -> bool:
        """A byte came from `source`. Returns whether to answer it; only the side that did not start does."""
        if self._initiator or self._echoes >= MAX_ECHOES or now < self._echo_at:
            return False
        if not self.expects(source.host):
            return False
        self._echoes += 1
        self._echo_at = now + ECHO_SECONDS
        return True

    @property
    def hosts(self) -> frozenset[str]:
        """Possible hosts of the other side, at most MAX_REMOTE_ADDRESSES + 1."""
        return frozenset((self._remote_host, *(address.host for address in self._addresses)))

    def expects(self, host: str) -> bool:
        """Whether the other side may be at `host`."""
        return host == self._remote_host or any(host == address.host for address in self._addresses)

    def awaits(self, source: Address) -> bool:
        """Whether a byte from `source` completes the punch.

        Host and port must match, unless the other side's ports are guessed: another port of the same host may
        be another socket of the same peer, dialling us.
        """
        return source in self._addresses or source.host == self._guessed_host


def _is_stable(firewall: int) -> bool:
    return firewall in (Firewall.OPEN, Firewall.CONSISTENT)
