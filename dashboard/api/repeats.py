"""Requests with an Idempotency-Key, answered once: a repetition gets the same answer and changes nothing.

Answers are in the memory of the process that serves the API. After a restart a repetition is carried out
again; additions are safe to repeat, they differ in what is new.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest

from .access import caller_of
from .problems import ProblemError

MAX_KEPT: Final = 200
"""Answers that are kept, of all tokens. Ours."""
MAX_KEPT_BYTES: Final = 2 << 20
"""Bytes of the bodies of their requests, which bound the answers: some 30,000 keys. Ours."""
MAX_KEY: Final = 100
"""Characters of an Idempotency-Key. Ours."""

_kept: Final[OrderedDict[tuple[int, str], tuple[str, int, Any]]] = OrderedDict()
"""Token and key to the digest of the request, its size and the answer."""


def once(request: HttpRequest, work: Callable[[], Any]) -> Any:
    """Return the answer of `work`, or the kept answer to an earlier request with the same key and token.

    Raises ProblemError: 422 for another request with that key, or a key that is too long.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return work()
    if len(key) > MAX_KEY:
        raise ProblemError(422, f"An Idempotency-Key has at most {MAX_KEY} characters.")
    place = (caller_of(request).token.pk, key)
    digest = hashlib.sha256(f"{request.method} {request.path}\n".encode() + request.body).hexdigest()
    kept = _kept.get(place)
    if kept is not None:
        if kept[0] != digest:
            raise ProblemError(422, "Another request had this Idempotency-Key.")
        return kept[2]
    answer = work()
    _kept[place] = (digest, len(request.body), answer)
    while len(_kept) > MAX_KEPT or sum(size for _, size, _ in _kept.values()) > MAX_KEPT_BYTES:
        _kept.popitem(last=False)
    return answer
