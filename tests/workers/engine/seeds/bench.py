"""A seed with real cores, a clock and peers of the test's."""

from __future__ import annotations

from workers.engine.model.events import Synced
from workers.engine.model.kind import Kind
from workers.engine.seeds.seed import Seed
from workers.engine.settings.key_list import SeedSpec

from ..fakes import Log, Sessions

INTERVAL = 0.5


class Bench:
    """A seed on a bench: reviewed by hand, at times of our choosing."""

    def __init__(
        self,
        key: bytes,
        kind: Kind | None = None,
        sessions: Sessions | None = None,
        secrets: tuple[bytes, ...] = (),
    ) -> None:
        self.sessions = sessions or Sessions()
        self.log = Log()
        self.pokes = 0
        """Reviews that the seed asked for, and the prompt ones among them."""
        self.prompted = 0
        self.claimed: list[bytes] = []
        self.may_claim = True
        self.now = 100.0
        self.seed = Seed(
            SeedSpec(key, kind),
            open_session=self.sessions.open,
            emit=self.log,
            changed=self._poke,
            claim=self._claim,
            report_interval=lambda: INTERVAL,
            secrets=secrets,
        )

    def _claim(self, core: bytes) -> bool:
        self.claimed.append(core)
        return self.may_claim

    def _poke(self, prompt: bool) -> None:
        self.pokes += 1
        self.prompted += prompt

    def review(self, after: float = INTERVAL) -> float | None:
        self.now += after
        return self.seed.review(self.now)

    def flush(self) -> None:
        self.sessions.store.flush()

    def synced(self) -> list[Synced]:
        return [event for event in self.log.take() if isinstance(event, Synced)]
