"""Sizes, bounds and times of UDX. Sources are libudx (a9af5de) unless another is named; times in seconds."""

from __future__ import annotations

MTU_BYTES = 1200
"""IP packet size that every path is taken to carry (udx.h UDX_MTU_BASE)."""

IPV4_OVERHEAD_BYTES = 48
"""IP, UDP and UDX headers."""

PAYLOAD_BYTES = MTU_BYTES - IPV4_OVERHEAD_BYTES
"""Most payload in a packet as long as nothing is known about the path."""

MAX_BURST_BYTES = 65507
"""Most that one send with UDP_SEGMENT can carry: a UDP datagram over IPv4."""

MAX_BURST_PACKETS = 54
"""Most datagrams handed to the kernel in one go. It takes 64."""

RECEIVE_WINDOW_BYTES = 4 << 20
"""What we offer to hold for an application that does not read, out-of-order packets included (udx.c:44)."""

MAX_DATAGRAM_BYTES = 2048
"""Largest datagram that official peers read, and so the largest that any peer sends (udx.h:23)."""

MAX_OUT_OF_ORDER_PACKETS = 4096
"""How far beyond the next packet expected one may lie. A window of full packets is 3641 of them."""

MAX_FLIGHT_BYTES = 16 << 20
"""Most that is sent and not acknowledged, whatever window the peer offers: it has to be kept."""

WRITE_BUFFER_BYTES = 256 << 10
"""Unsent bytes above the congestion window from which on a writer must wait (udx.c:46)."""

INITIAL_RTO = 1.0
"""Retransmission timeout before there is any sample of the round trip (udx.c:2313)."""
MIN_RTO = 1.0
"""Shortest retransmission timeout (udx.c:1339)."""
MAX_RTO = 30.0
"""Longest retransmission timeout (udx.c:41)."""

MAX_TIMEOUTS = 6
"""Retransmission timeouts of one packet that are survived (udx.c:39)."""

RTT_OUTLIER = 5.0
"""A sample above this and above srtt + 5 rttvar is clamped to the latter (udx.c:1254)."""

MIN_RTT_WINDOW = 300.0
"""For how long the smallest round trip is remembered for loss detection (udx.c:43)."""

TIMER_GRANULARITY = 0.001
"""What an event loop's timer can be trusted with."""

HALF_CLOSED_HEARTBEAT = 5.0
"""How often a stream that has ended, and whose peer has not, asks a silent peer for a sign of life: nothing
is in flight then whose loss would show that the peer is gone. After MAX_TIMEOUTS without one it gives up.
Ours (udx.c waits for ever)."""

TIME_WAIT_SECONDS = 15.0
"""How long a closed stream still answers. There is no TIME_WAIT in the protocol: a peer that
misses our last ack repeats its END for about 13 s and then reports a timeout."""
