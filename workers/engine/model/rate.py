"""Bytes a second from a growing counter, over a sliding window. The time is an argument."""

from __future__ import annotations

WINDOW = 4.0
"""Seconds of the window. Long enough to be readable, short enough to show a stall."""

SAMPLE_INTERVAL = 0.25
"""Seconds between two samples: the window holds a bounded number of them."""

MAX_SAMPLES = int(WINDOW / SAMPLE_INTERVAL) + 1
"""Samples in it."""


class Rate:
    """The rate of a counter, from samples of it."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: tuple[tuple[float, int], ...] = ()

    def sample(self, counter: int, now: float) -> None:
        """Record the counter. Samples closer than SAMPLE_INTERVAL to the previous one are dropped."""
        if not self._samples or now - self._samples[-1][0] >= SAMPLE_INTERVAL:
            self._samples = (*self._samples[-MAX_SAMPLES + 1 :], (now, counter))

    def per_second(self, now: float) -> float:
        """Growth a second over the window that ends now; 0.0 without samples."""
        recent = [sample for sample in self._samples if now - sample[0] <= WINDOW]
        if len(recent) < 2:
            return 0.0
        (start, first), (end, last) = recent[0], recent[-1]
        # Up to now, not up to the last sample: a counter that is no longer fed must not keep its last rate.
        return max(0.0, (last - first) / max(end - start, now - start))
