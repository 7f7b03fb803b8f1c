"""Output of `seederfarm seed` when stdout is no terminal: a line for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypercore.keys import encode_key, short_key
from workers import units
from workers.engine.model.events import (
    BlindCoreChanged,
    Event,
    Forked,
    LimitChanged,
    NetworkChanged,
    PeerChanged,
    Problem,
    Progress,
    Published,
    Ready,
    Synced,
)
from workers.engine.model.kind import Kind

REACHED = "nodes of the DHT answer again"

PROGRESS_INTERVAL = 10.0
"""Seconds between two progress lines of a key."""


class PlainLines:
    """Writes lines for the events it is given."""

    def __init__(self, labels: Mapping[bytes, str], write: Callable[[str], None]) -> None:
        self._labels = labels
        self._write = write
        self._printed_at: dict[bytes, float] = {}

    def put(self, event: Event, now: float) -> None:
        """Write the lines for an event, if it needs any. `now`: seconds of any monotonic clock, to space
        lines of progress."""
        match event:
            case Ready():
                self._ready(event)
            case Progress():
                self._progress(event, now)
            case Synced():
                what = f"{units.plural(event.length, 'block')}, {units.format_size(event.bytes)}"
                if event.unavailable_blocks:
                    what += f"; {unavailable(event.unavailable_blocks, event.unavailable_bytes)}"
                self._write(f"{self._name(event.key, event.kind)} synced: version {event.version}, {what}")
            case Published():
                self._write(f"{self._label(event.key)} {published(event)}")
            case PeerChanged(state="open"):
                self._write(f"{self._label(event.key)} peer {short_key(event.peer)} connected")
            case PeerChanged():
                moved = f"{units.format_size(event.bytes_in)} in, {units.format_size(event.bytes_out)} out"
                self._write(f"{self._label(event.key)} peer {short_key(event.peer)} left ({moved})")
            case Forked(state="followed"):
                before, after = f"fork {event.fork} of {event.length:,}", f"fork {event.new_fork}"
                self._write(f"{self._label(event.key)} its publisher went from {before} blocks to {after}")
            case BlindCoreChanged():
                self._blind_core(event)
            case NetworkChanged(state="reached"):
                self._write(REACHED)
            case LimitChanged(limit="disk", state="reached"):
                pass  # the error event with it is more precise
            case LimitChanged():
                shown = event.text or units.format_limit(event.limit, event.value, event.max)
                self._write(f"limit {event.state}: {shown}")
            case Problem():
                about = "" if event.key is None else f"{self._label(event.key)} "
                self._write(f"{about}error: {event.message}")
            case _:
                pass

    def _ready(self, event: Ready) -> None:
        self._write(f"on the network as {encode_key(event.public_key)}")
        self._write(f"at {units.format_address(event.host, event.port)}; Ctrl-C leaves the swarm and stops")
        if event.blind_peer is not None:
            for line in mirror_lines(event.blind_peer):
                self._write(line)
        labels = list(self._labels.values())
        if labels:  # `publish` names its drive later
            whose = f"{labels[0]} " if len(labels) == 1 else f"{units.plural(len(labels), 'key')}: "
            self._write(f"{whose}looking for peers")

    def _blind_core(self, event: BlindCoreChanged) -> None:
        what: str = event.state
        if event.state == "complete":
            held = f"{units.plural(event.length, 'block')}, {units.format_size(event.bytes)}"
            what = f"complete: {held}"
        self._write(f"{short_key(event.core)} of client {short_key(event.client)} {what}")

    def _progress(self, event: Progress, now: float) -> None:
        known = event.have_blocks + event.unavailable_blocks
        if known >= event.blocks or now - self._printed_at.get(event.key, -1e9) < PROGRESS_INTERVAL:
            return
        self._printed_at[event.key] = now
        done = units.format_count_of(event.have_blocks, event.blocks)
        size = units.format_have_of(event.have_bytes, event.bytes)
        peers = units.plural(event.peers, "peer")
        self._write(f"{self._name(event.key, event.kind)} {done} blocks, {size}, {peers}")

    def _label(self, key: bytes) -> str:
        return self._labels.get(key) or short_key(key)

    def _name(self, key: bytes, kind: Kind | None) -> str:
        return f"{self._label(key)} {kind.value}" if kind else self._label(key)


def mirror_lines(key: bytes) -> list[str]:
    """Return the lines by which an app uses this blind peer."""
    mirror = encode_key(key)
    return [
        f"blind peer {mirror}",
        f"in an app: new BlindPeering(dht, store, {{ keys: ['{mirror}'] }})",
    ]


def unavailable(blocks: int, size: int) -> str:
    """The unavailable part of a key, as text."""
    return f"no peer has {units.plural(blocks, 'block')} of it ({units.format_size(size)})"


def published(event: Published) -> str:
    """A change of a published folder, in words."""
    counts = ((event.added, "added"), (event.changed, "changed"), (event.removed, "removed"))
    news = ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing new"
    holds = f"{units.plural(event.files, 'file')}, {units.format_size(event.bytes)}"
    return f"published: {news}; version {event.version} holds {holds}"
