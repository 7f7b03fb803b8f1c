"""The question before an action on many drives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from seederfarm.registry.models import Drive
from seederfarm.registry.services.bulk import Act
from seederfarm.registry.services.drives import Guarded, last_copies
from workers import units

NAMED: Final = 12
"""Drives that the question names."""

TITLES: Final = {
    Act.PROVE: "Ask {} for proof",
    Act.COPIES: "Change the number of copies of {}",
    Act.TAG: "Change the tags of {}",
    Act.PAUSE: "Pause {}",
    Act.RESUME: "Resume {}",
    Act.REMOVE: "Remove {}",
}
TEXTS: Final = {
    Act.PROVE: "Each complete copy is asked for random blocks; the results come within minutes.",
    Act.COPIES: "Copies that are missing are made; what is above the larger number is released.",
    Act.TAG: "Words to find them by, with commas between.",
    Act.PAUSE: "Copies stay where they are and are served; none is made or moved.",
    Act.RESUME: "Copies are made and moved again. Removals that are not finished are cancelled.",
    Act.REMOVE: "All copies are deleted from the workers.",
}
BUTTONS: Final = {
    Act.PROVE: "Ask for proof",
    Act.COPIES: "Change copies",
    Act.TAG: "Change tags",
    Act.PAUSE: "Pause",
    Act.RESUME: "Resume",
}


@dataclass(frozen=True, slots=True)
class Question:
    """The question before many drives change."""

    act: Act
    title: str
    text: str
    button: str
    count: int
    named: list[Drive]
    guarded: list[Guarded]
    """Some of the drives of which the farm has the fullest known copy."""
    alone: int
    """Number of such drives."""
    words: str
    """The words to enter so that these are deleted, too."""
    digest: str
    """Digest of the question: it differs for other drives or other last copies."""

    @property
    def more(self) -> int:
        """Number of drives that are not named."""
        return self.count - len(self.named)

    @property
    def is_danger(self) -> bool:
        """Whether something is deleted."""
        return self.act is Act.REMOVE


def question(act: Act, ids: Sequence[int], now: datetime) -> Question:
    """Return the question for an action. Two queries, three for a removal."""
    named = list(Drive.objects.filter(pk__in=ids[:NAMED]).order_by("pk"))
    rows = Drive.objects.filter(pk__in=ids).exclude(state=Drive.State.REMOVING)
    guarded = last_copies(rows, now) if act is Act.REMOVE else []
    drives = units.plural(len(ids), "drive")
    return Question(
        act=act,
        title=TITLES[act].format(drives),
        text=TEXTS[act],
        button=BUTTONS.get(act, f"Delete the copies of {drives}"),
        count=len(ids),
        named=named,
        guarded=guarded[:NAMED],
        alone=len(guarded),
        words=words_for(len(guarded)),
        digest=_digest(act, ids, [item.drive.pk for item in guarded]),
    )


def words_for(alone: int) -> str:
    """Return the words to enter to delete so many last copies."""
    return "delete the last copy" if alone == 1 else f"delete {alone:,} last copies"


def _digest(act: Act, ids: Sequence[int], alone: Sequence[int]) -> str:
    """Of the drives where it matters; for the rest, what matches a filter may change between."""
    meant = (sorted(ids), sorted(alone)) if act is Act.REMOVE else ()
    return hashlib.sha256(repr((act.value, meant)).encode()).hexdigest()[:32]
