"""Limits on requests: for each token, and for each address whose tokens are refused. No clock, no network.

Counts are in the memory of the process that serves the API, and end with it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from seederfarm.registry.buckets import Buckets, RateLimit
from seederfarm.registry.logins import place_of

MAX_COUNTED: Final = 10_000
"""Tokens and addresses that are counted; beyond it the least recently used are removed. Ours."""
MAX_KNOWN: Final = 1_000
"""Valid tokens that are remembered. Ours."""
REQUESTS: Final = RateLimit(200, 0.0625)
"""For one token: 16 a second, and 200 at once. Ours."""
REFUSED: Final = RateLimit(20, 30.0)
"""Refused tokens from one address (IPv6: a /64): as for logins."""


class TokenLimit:
    """Times are seconds of a monotonic clock, `digest` is that of the secret.

    At the bound of an address no token is looked up, except those that were valid before: others behind the
    same proxy cannot lock them out.
    """

    def __init__(self) -> None:
        self._requests = Buckets(REQUESTS, MAX_COUNTED)
        self._refused = Buckets(REFUSED, MAX_COUNTED)
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait(self, digest: str, address: str, now: float) -> float:
        """Seconds to wait before this token is looked up; 0: now."""
        if digest in self._known:
            return 0.0
        return self._refused.wait(place_of(address), now)

    def refused(self, digest: str, address: str, now: float) -> None:
        """Count a request with a token that is wrong. `digest`: SHA-256 of what was sent; `now`: seconds of
        any monotonic clock."""
        self._known.pop(digest, None)
        self._refused.add(place_of(address), now)

    def accepted(self, digest: str, now: float) -> float:
        """Count a request. Returns 0, or the seconds to wait if it is one too many."""
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return 0.0 if self._requests.take(digest, now) else self._requests.wait(digest, now)
