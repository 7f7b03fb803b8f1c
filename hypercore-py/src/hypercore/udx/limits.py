"""Sizes, bounds and times of UDX. Sources are libudx (a9af5de) unless another is named; times in seconds."""

from __future__ import annotations

MTU_BYTES = 1200
"""IP packet size assumed to pass every path (udx.h UDX_MTU_BASE)."""

IPV4_OVERHEAD_BYTES = 48
"""IP, UDP and UDX headers."""

PAYLOAD_BYTES = MTU_BYTES - IPV4_OVERHEAD_BYTES
"""Bytes of payload in a packet before the path MTU is known."""

MAX_BURST_BYTES = 65507
"""Bytes in one send with UDP_SEGMENT: a UDP datagram over IPv4."""

MAX_BURST_PACKETS = 54
"""Datagrams in one send. The kernel accepts 64."""

RECEIVE_WINDOW_BYTES = 4 << 20
"""Bytes offered to hold for an application that does not read, including out-of-order packets (udx.c:44)."""

MAX_DATAGRAM_BYTES = 2048
"""Largest datagram that official peers read, and so the largest that any peer sends (udx.h:23)."""

MAX_OUT_OF_ORDER_PACKETS = 4096
"""Largest distance of a packet from the next expected one. A window has 3641 full packets."""

MAX_FLIGHT_BYTES = 16 << 20
"""Bytes sent and not acknowledged, whatever window the peer offers: they must be kept."""

WRITE_BUFFER_BYTES = 256 << 10
"""Unsent bytes above the congestion window from which a writer must wait (udx.c:46)."""

INITIAL_RTO = 1.0
"""Retransmission timeout before there is any sample of the round trip (udx.c:2313)."""
MIN_RTO = 1.0
"""Shortest retransmission timeout (udx.c:1339)."""
MAX_RTO = 30.0
"""Longest retransmission timeout (udx.c:41)."""

MAX_TIMEOUTS = 6
"""Retransmission timeouts of one packet before the stream closes (udx.c:39)."""

RTT_OUTLIER = 5.0
"""A sample above this and above srtt + 5 rttvar is clamped to the latter (udx.c:1254)."""

MIN_RTT_WINDOW = 300.0
"""Seconds for which the smallest round trip is used for loss detection (udx.c:43)."""

TIMER_GRANULARITY = 0.001
"""Precision of an event loop's timer in seconds."""

HALF_CLOSED_HEARTBEAT = 5.0
"""Seconds between heartbeats of a stream that has ended while its silent peer has not: no packet is in flight
whose loss would show that the peer is gone. After MAX_TIMEOUTS without an answer it closes. Ours (udx.c waits
for ever)."""

TIME_WAIT_SECONDS = 15.0
"""Seconds for which a closed stream still answers. The protocol has no TIME_WAIT: a peer that misses our last
acknowledgement repeats its END for about 13 s and then reports a timeout."""
