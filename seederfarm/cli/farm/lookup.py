"""Drives and workers named on a command line. Import after `django_setup.open_farm`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q

from ...registry.models import Drive, Worker
from ...settings.env import COMMAND
from ..common.failures import BadInput, Failure
from ..common.options import decode, label_of


def drives(keys: Sequence[str]) -> list[Drive]:
    """The registered drives of these keys, in any spelling. Raises BadInput, and Failure for unknown ones,
    before anything is changed."""
    wanted = {_key(text): text for text in keys}
    found = {drive.key: drive for drive in Drive.objects.filter(key__in=list(wanted))}
    missing = [label_of(text) for key, text in wanted.items() if key not in found]
    if missing:
        which = "it" if len(missing) == 1 else "them"
        raise Failure(
            f"this farm does not keep {', '.join(missing)}: `{COMMAND} add KEY` adds {which}, "
            f"`{COMMAND} list` shows what it keeps"
        )
    return [found[key] for key in wanted]


def _key(text: str) -> str:
    """The key in hex. Raises BadInput, with a hint if it is the name of a drive."""
    try:
        return decode(text).hex()
    except BadInput as error:
        if not Drive.objects.filter(Q(label=text) | Q(title=text)).exists():
            raise
        raise BadInput(f"{error.message}. A drive has this name: `{COMMAND} list` shows its key") from None


def worker(name: str) -> Worker:
    """A worker by name or id. Raises Failure for an unknown one."""
    found = Worker.objects.filter(name=name).first() or Worker.objects.filter(node_id=name).first()
    if found is None:
        known = ", ".join(Worker.objects.order_by("name").values_list("name", flat=True)[:10])
        raise BadInput(f"no worker is called {name!r}; there {'are ' + known if known else 'is none yet'}")
    return found
