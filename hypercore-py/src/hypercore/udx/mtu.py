"""Finding out how large packets may be: probes of packetisation-layer path MTU discovery (RFC 8899).

A probe is a packet with data, padded by means of the data offset (transport.md a.7). So a peer needs to
know nothing of it, and when it is lost its data is sent again without the padding. Official streams climb
in steps of 32 bytes; here the steps are the sizes that paths have.
"""

from __future__ import annotations

from .limits import IPV4_OVERHEAD_BYTES, MTU_BYTES

LADDER = (1280, 1400, 1452, 1492, 1500)
"""MTUs that are probed: IPv6's minimum, common tunnels, PPPoE, Ethernet (udx.h's maximum). A step is at most
255 bytes, what the data offset can say."""

MAX_LOST_PROBES = 3
"""So many probes of one size may get lost before the search ends (udx.h:18-21)."""


class MtuSearch:
    """`payload_bytes` is the largest proven payload of a packet."""

    __slots__ = ("_lost", "_step", "payload_bytes", "probe_seq")

    def __init__(self) -> None:
        self.payload_bytes = MTU_BYTES - IPV4_OVERHEAD_BYTES
        self.probe_seq: int | None = None
        """Number of the probe in flight."""
        self._step = 0
        self._lost = 0

    @property
    def searching(self) -> bool:
        """Whether the next full packet may be sent as a probe."""
        return self.probe_seq is None and self._step < len(LADDER)

    @property
    def padding(self) -> int:
        """Bytes of padding that make a full packet a probe."""
        return LADDER[self._step] - IPV4_OVERHEAD_BYTES - self.payload_bytes

    def on_arrived(self) -> None:
        """The probe has arrived."""
        self.payload_bytes = LADDER[self._step] - IPV4_OVERHEAD_BYTES
        self._step += 1
        self._lost = 0
        self.probe_seq = None

    def on_lost(self) -> None:
        """The probe was lost, or its repetition may have arrived instead."""
        self.probe_seq = None
        self._lost += 1
        if self._lost >= MAX_LOST_PROBES:
            self._step = len(LADDER)

    def stop(self) -> None:
        """No more probes."""
        self.probe_seq = None
        self._step = len(LADDER)
