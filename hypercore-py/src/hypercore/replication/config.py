"""Settings of a replicator, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PEERS = 640
"""Connections on which one core is replicated; on others its channels are rejected. More than the default of
a swarm (512 and 64), which limits the connections of each host. Ours."""

WANT_BATCH = 2**21
"""Blocks in a region that a downloader subscribes to; the longest region of a peer (hypercore
lib/wants.js)."""

MAX_LOCAL_WANTS = 4
"""Regions wanted from one peer at a time. With batches of 2^21 they need half of MAX_REMOTE_PAGES. (Official:
512.)"""

MAX_REMOTE_PAGES = 512
"""Pages of 32,768 bits (4 KiB) that are neither empty nor full, and runs of full ones, kept of a peer's
blocks beyond its leading run. Further announcements are dropped and requested again (`want`) when the
download gets there. Ours."""

MAX_REMOTE_FIELD_BYTES = 24 * 2**20
"""Bytes of such pages over all peers of all cores. Above it the largest are dropped, and requested again
later. Ours."""

MAX_REMOTE_WANTS = 512
"""Regions that a peer may subscribe to before it gets all announcements (lib/wants.js MAX)."""
MAX_REMOTE_WANT_SIZES = 4
"""Different sizes of such regions (lib/wants.js MAX_REMOTE_BATCHES)."""
MAX_REMOTE_ANY_WANTS = 16
"""Subscriptions of the kind "any block will do" (lib/wants.js MAX_ANY)."""
MIN_WANT_BATCH = 32
"""Smallest region that is stored as a region (lib/wants.js MIN_RANGE)."""

LAST_BLOCKS = 256
"""New blocks this close to the end are announced to every peer (lib/replicator.js LAST_BLOCKS)."""

MAX_BACKLOG = 2048
"""Requests and wants of a peer that may wait for an answer; a peer with more is disconnected. Ours: official
peers keep up to 512 in flight."""
REQUEST_BYTES = 400
"""Bytes of memory for a waiting request, about."""
MAX_INVALID_REQUESTS = 64
"""Requests that cannot be proven, after which a peer is disconnected (lib/replicator.js
MAX_INVALID_REQUESTS)."""
MAX_REASONED_REFUSALS = 16
"""`noData` answers with a reason sent to one peer. Official peers stop requesting for good after 32 of them;
without a reason they ask other peers, since we withdraw the block (`range` drop) before we refuse."""

MAX_REFUSALS = 32
"""`noData` answers in a row after which a peer rests for a while (lib/replicator.js MAX_BACKOFFS: for
good)."""
MAX_LACKING = 1024
"""Blocks that a peer announced and then refused, kept so that they are not requested again. Ours."""
MAX_BROKEN_CLAIMS = 4
"""Blocks in a row that a peer announced and did not give, after which its announcements delay `Fullness` no
more until it gives one. Ours."""
MAX_INVALID_ANSWERS = 3
"""Invalid answers that a peer may give; one more for each STRIKE_BLOCKS valid ones, so that a peer with a
corrupt disk stays useful. Ours."""
STRIKE_BLOCKS = 256
MAX_UNASKED_PROOFS = 8
"""Unrequested proofs of a conflict that a peer may send; each costs a signature check. Ours."""
MAX_REOPENS = 8
"""Times that a channel which the peer closed as idle is opened again at once, while nothing is downloaded
over it."""

SCALE_RTT = 0.05
"""Round-trip time in seconds from which on the window grows with it (lib/replicator.js SCALE_LATENCY)."""
MAX_HOLDERS = 3
"""Peers from which one block is requested at a time (lib/hotswap-queue.js)."""
MIN_HOTSWAP = 16
"""Requests in flight below which blocks of slower peers may always be requested from a peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationConfig:
    """How one core is replicated. Times in seconds."""

    downloading: bool = True
    """Follow the writer and fetch blocks. Also keeps peers from closing an idle channel."""
    max_fork: int | None = None
    """Follow the writer up to this fork; None: any. When a higher one is proven, `ForkAvailable` is emitted
    and blocks are kept. A core without blocks follows any fork."""
    max_peers: int = MAX_PEERS
    request_timeout: float = 30.0
    """After this time without an answer, a peer's requests are cancelled and sent to others. A single request
    waits at most four times as long. Official peers wait for ever."""
    stall_pause: float = 5.0
    """How long such a peer rests, if it stays silent."""
    retry_after: float = 30.0
    """Time after which refused blocks are requested from the same peer again."""
    check_interval: float = 0.5
    """Seconds between checks for slow requests while there is another peer."""
    hotswap_after: float = 0.5
    """Age of a request from which its block is requested from an idle peer as well."""
    refine_timeout: float = 3.0
    """Seconds that a reorg waits for peers that know exactly which blocks both histories share; then the
    coarse result is used."""
    probe_timeout: float = 30.0
    """Time in which a peer whose data did not verify must prove that it is on our history."""
    doubt_delay: float = 1.0
    """Seconds without any answer of a peer, for any core, before a request that may end the connection is
    sent."""
    inflight_min: int = 16
    inflight_max: int = 512
    """Requests in flight to one peer (official: [16, 512])."""
    inflight_bytes: int = 4 * 2**20
    """Bytes in flight to one peer at a round-trip time of SCALE_RTT or less, within the two bounds on
    requests. So more small blocks are requested at a time than by official peers."""
    want_batch: int = WANT_BATCH
    """Blocks of our own wants: 2^21, or 4096 as of official blind peers."""
