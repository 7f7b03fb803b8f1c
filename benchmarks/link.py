"""A bad line between two network namespaces: delay, loss and a bounded queue, in plain Python.

Linux has `tc netem` for this, but not every kernel has netem. So each namespace has a TUN device, and a
process carries packets from one to the other. The devices offer no offloads: what a peer sends in one piece
(UDP_SEGMENT) leaves the kernel as packets of the MTU's size, and each of them is delayed or lost on its own.
Needs root.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

QUEUE_PACKETS = 1000
"""Packets on their way in one direction; more are dropped. netem's default."""

TICK = 0.0005
"""Seconds between two looks at the devices while packets are on their way."""

MTU = 1500
TUN = Path("/dev/net/tun")
SIDES = ("a", "b")
_HOSTS = {"a": "10.203.0.1", "b": "10.203.0.2"}
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_CLONE_NEWNET = 0x40000000
_DEVICE_QUEUE = "4000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the line does to a packet, either way."""

    delay: float = 0.020
    """Seconds one way."""
    loss: float = 0.01
    """The share of packets that is lost, each on its own."""


class Lane:
    """One direction of a line."""

    def __init__(self, line: Line, rng: Random) -> None:
        self._line = line
        self._random = rng.random
        self._packets: deque[tuple[float, bytes]] = deque()
        self.dropped = 0
        """Packets for which the queue had no room."""

    def push(self, packet: bytes, now: float) -> None:
        """Takes a packet, or loses it."""
        if self._random() < self._line.loss:
            return
        if len(self._packets) >= QUEUE_PACKETS:
            self.dropped += 1
            return
        self._packets.append((now + self._line.delay, packet))

    def take(self, now: float) -> Iterator[bytes]:
        """Packets that have arrived by `now`, in order."""
        packets = self._packets
        while packets and packets[0][0] <= now:
            yield packets.popleft()[1]

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._packets


class Link:
    """Two namespaces and the line between them, until `close`."""

    def __init__(self, line: Line, *, seed: int = 1) -> None:
        self._names = {side: f"line-{os.getpid()}-{side}" for side in SIDES}
        self._forwarder: subprocess.Popen[bytes] | None = None
        try:
            devices = [self._open_side(side) for side in SIDES]
            arguments = [str(value) for value in (*devices, line.delay, line.loss, seed)]
            self._forwarder = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.link", *arguments],
                pass_fds=devices,
                cwd=Path(__file__).resolve().parent.parent,
            )
            for device in devices:
                os.close(device)
        except BaseException:
            self.close()
            raise

    def _open_side(self, side: str) -> int:
        """Makes the namespace of one side and its device; gives the device's other end."""
        name, device = self._names[side], f"line{os.getpid() % 10**8}{side}"
        _ip("netns", "add", name)
        end = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN_NO_PI))
        _ip("link", "set", device, "netns", name)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "set", device, "mtu", str(MTU), "txqueuelen", _DEVICE_QUEUE, "up")
        _ip("-n", name, "address", "add", f"{_HOSTS[side]}/24", "dev", device)
        return end

    def host(self, side: str) -> str:
        """The address of a side."""
        return _HOSTS[side]

    def namespace(self, side: str) -> Path:
        """Where the kernel shows the namespace of a side."""
        return Path("/run/netns", self._names[side])

    @contextmanager
    def inside(self, side: str) -> Iterator[None]:
        """Processes that this thread starts meanwhile live on that side."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            self.namespace(side).open("rb") as there,
        ):
            _set_namespace(there.fileno())
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    def close(self) -> None:
        """Ends the forwarder and removes the namespaces; the devices go with them."""
        if self._forwarder is not None:
            self._forwarder.kill()
            self._forwarder.wait()
        for side, name in self._names.items():
            if self.namespace(side).exists():
                _ip("netns", "delete", name)


def missing() -> str | None:
    """Why there can be no link here, or None when there can."""
    if os.geteuid() != 0:
        return "a lossy link takes network namespaces, which only root may make"
    if not TUN.exists():
        return f"a lossy link takes {TUN}, which this kernel does not have"
    return None


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def forward(devices: Sequence[int], lanes: Sequence[Lane]) -> None:
    """Carries packets between two devices until one of them fails. Never sleeps longer than TICK while any is
    on its way."""
    ways = [(devices[0], devices[1], lanes[0]), (devices[1], devices[0], lanes[1])]
    while True:
        for source, target, lane in ways:
            now = time.monotonic()
            with suppress(BlockingIOError):
                while True:
                    lane.push(os.read(source, MTU), now)
            for packet in lane.take(now):
                with suppress(BlockingIOError):
                    os.write(target, packet)
        if all(lane.idle for lane in lanes):
            select.select(devices, [], [])
        else:
            time.sleep(TICK)


def main(argv: Sequence[str]) -> None:
    """The forwarder: two descriptors of devices, delay, loss, seed."""
    line = Line(delay=float(argv[2]), loss=float(argv[3]))
    with suppress(PermissionError):
        os.nice(-10)  # a line does not wait for those who use it
    forward([int(argv[0]), int(argv[1])], [Lane(line, Random(f"{argv[4]} {side}")) for side in SIDES])


if __name__ == "__main__":
    main(sys.argv[1:])
