"""Settings of a replicator, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PEERS = 640
"""Connections on which one core is replicated; on others its channels are rejected. More than a swarm has by
itself (512 and 64), which decides who may connect, with a share for each host, so that one host cannot take
up a core. Ours."""

WANT_BATCH = 2**21
"""Blocks of the regions that a downloader subscribes to, and the longest a peer may ask for (hypercore
lib/wants.js)."""

MAX_LOCAL_WANTS = 4
"""Regions wanted from one peer at a time. With batches of 2^21 they need half of MAX_REMOTE_PAGES. (Official:
512.)"""

MAX_REMOTE_PAGES = 512
"""Pages of 32,768 bits (4 KiB) that are neither empty nor full, and runs of full ones, kept about what a peer
has beyond its leading run; what it says beyond that is asked for again (`want`) when the download gets there.
Ours."""

MAX_REMOTE_FIELD_BYTES = 24 * 2**20
"""Bytes of such pages over all peers of all cores. Above it the peers with most of them are forgotten, and
asked again later. Ours."""

MAX_REMOTE_WANTS = 512
"""Regions that a peer may subscribe to before it gets all announcements (lib/wants.js MAX)."""
MAX_REMOTE_WANT_SIZES = 4
"""Different sizes of such regions (lib/wants.js MAX_REMOTE_BATCHES)."""
MAX_REMOTE_ANY_WANTS = 16
"""Subscriptions of the kind "any block will do" (lib/wants.js MAX_ANY)."""
MIN_WANT_BATCH = 32
"""Smallest region that is remembered as such (lib/wants.js MIN_RANGE)."""

LAST_BLOCKS = 256
"""New blocks this close to the end are announced to every peer (lib/replicator.js LAST_BLOCKS)."""

MAX_BACKLOG = 2048
"""Requests and wants of a peer that may wait for an answer; a peer with more is cut off. Ours: official peers
keep up to 512 in flight."""
REQUEST_BYTES = 400
"""Memory that such a request takes, about."""
MAX_INVALID_REQUESTS = 64
"""Requests that cannot be proven after which a peer is cut off (lib/replicator.js MAX_INVALID_REQUESTS)."""
MAX_REASONED_REFUSALS = 16
"""Answers `noData` with a reason that one peer gets. Official peers give up on us for good after 32 of them;
without a reason they just look elsewhere, since we take back (`range` drop) before we refuse."""

MAX_REFUSALS = 32
"""`noData` in a row after which we ask a peer nothing more for a while (lib/replicator.js MAX_BACKOFFS: for
good)."""
MAX_LACKING = 1024
"""Blocks that a peer announced and then refused, remembered so that they are not asked for again. Ours."""
MAX_BROKEN_CLAIMS = 4
"""Blocks that a peer announced and did not give, in a row, after which what it announces delays nothing until
it gives one. Ours."""
MAX_INVALID_ANSWERS = 3
"""Invalid answers after which a peer is disconnected; one more is granted for each STRIKE_BLOCKS valid ones,
so that a peer with a corrupt disk is still of use. Ours."""
STRIKE_BLOCKS = 256
MAX_UNASKED_PROOFS = 8
"""Proofs of a conflict that a peer may send without being asked; each costs a signature check. Ours."""
MAX_REOPENS = 8
"""Times a channel that the peer closed as idle is opened again at once, for as long as nothing was downloaded
over it."""

SCALE_RTT = 0.05
"""Round-trip time in seconds from which on the window grows with it (lib/replicator.js SCALE_LATENCY)."""
MAX_HOLDERS = 3
"""Peers that may be asked for the same block at once (lib/hotswap-queue.js)."""
MIN_HOTSWAP = 16
"""Requests in flight below which a peer may always be given blocks of slower ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationConfig:
    """How one core is replicated. Times in seconds."""

    downloading: bool = True
    """Follow the writer and fetch blocks. Also keeps peers from closing an idle channel."""
    max_fork: int | None = None
    """Follow the writer up to this fork; None: any. When a higher one is proven, `ForkAvailable` is emitted,
    and nothing is deleted. A core without blocks goes to any fork."""
    max_peers: int = MAX_PEERS
    request_timeout: float = 30.0
    """A peer that answers nothing for so long loses its requests to others; a request never waits more than
    four times as long. Official peers wait for ever."""
    stall_pause: float = 5.0
    """How long such a peer is then left alone, if it stays silent."""
    retry_after: float = 30.0
    """After how long a peer is asked again for what it refused."""
    check_interval: float = 0.5
    """Seconds between checks for slow requests while there is another peer."""
    hotswap_after: float = 0.5
    """Age of a request from which on an idle peer is asked for the same block."""
    refine_timeout: float = 3.0
    """Seconds that a reorg waits for peers that know exactly what both histories share; then the coarse
    answer is taken."""
    probe_timeout: float = 30.0
    """How long a peer whose data did not verify has to prove that it is on our history."""
    doubt_delay: float = 1.0
    """How long nothing else has to come from a peer, of any core, until it is asked for what may end the
    connection."""
    inflight_min: int = 16
    inflight_max: int = 512
    """Requests in flight to one peer (official: [16, 512])."""
    inflight_bytes: int = 4 * 2**20
    """Bytes in flight to one peer at a round-trip time of SCALE_RTT or less, as far as that is between the
    two above. Small blocks are asked for in larger numbers than official peers do."""
    want_batch: int = WANT_BATCH
    """Size of our own wants: 2^21, or 4096 as official blind peers."""
