"""Claims and reading of sources. The follower that claims a source first reads it; a reading that a later one
overtook changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings

from seederfarm.registry.models import Source, SourceEntry

from . import fetch
from .addresses import AddressPolicy
from .list_formats import Entry, Parsed, SourceError
from .live_lists import FollowedList, Version
from .parser_process import Parser

LEASE: Final = 600.0
"""Seconds until a source whose reader died is read again. Longer than two answers may take, each 60 s, behind
eight sources that are parsed twice, each time 30 s."""

log = logging.getLogger(__name__)


class Reading(NamedTuple):
    """The content of a source."""

    listed: dict[str, Entry]
    """Keys, without those that its removals endpoint lists."""
    removals: frozenset[str] = frozenset()
    refused: int = 0
    problems: tuple[str, ...] = ()
    skipped: int = 0
    etag: str = ""
    modified: str = ""
    version: Version | None = None
    """Of a seed list."""
    unchanged: bool = False


class Claim(NamedTuple):
    """A claimed source, and the validators of its last reading where they still hold."""

    source: Source
    etag: str = ""
    modified: str = ""
    version: Version | None = None


def enabled() -> list[Source]:
    """Enabled sources, those that wait longest first."""
    return list(Source.objects.filter(enabled=True).order_by("last_at", "pk"))


def is_due(source: Source, at: datetime) -> bool:
    """Whether a source is due, or was changed since it was read."""
    if source.next_at is None or source.next_at <= at:
        return True
    return bool((source.state or {}).get("tried") != config_digest(source))


def claim(pk: int, at: datetime, *, always: bool = False) -> Claim | None:
    """Claim a source. None if it is not due (without `always`), disabled, deleted, or claimed by another
    follower."""
    source = Source.objects.filter(pk=pk, enabled=True).first()
    if source is None or not (always or is_due(source, at)):
        return None
    unclaimed = Source.objects.filter(pk=pk, enabled=True)
    for field, seen in (("next_at", source.next_at), ("last_at", source.last_at)):
        unclaimed = unclaimed.filter(**({f"{field}__isnull": True} if seen is None else {field: seen}))
    asked = config_digest(source)
    state = {**(source.state or {}), "tried": asked}
    # `last_at` identifies this reading: it must differ from the one before.
    mine = at if source.last_at is None else max(at, source.last_at + timedelta(microseconds=1))
    if unclaimed.update(next_at=at + timedelta(seconds=LEASE), last_at=mine, state=state) != 1:
        return None
    source.last_at, source.state = mine, state
    if state.get("asked") != asked or not state.get("digest") or state["digest"] != registered_digest(source):
        return Claim(source)  # "not changed" would hide something that is to be done
    if source.kind == Source.Kind.HTTP and source.removals_url:
        return Claim(source)
    return Claim(source, str(state.get("etag", "")), str(state.get("modified", "")), version_of(source))


def release(source: Source) -> None:
    """Give up a claim."""
    Source.objects.filter(pk=source.pk, last_at=source.last_at).update(next_at=None)


def config_digest(source: Source) -> str:
    """Digest of all settings that the result of a reading depends on."""
    place = [source.kind, source.location, source.removals_url, source.headers]
    what = [*place, source.mapping, source.remove_unlisted, source.remove_last_copies, source.shrink]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def digest(keys: Iterable[str]) -> str:
    """SHA-256, in hex, of a set of keys. The order does not matter."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def registered_digest(source: Source) -> str:
    """Digest of the keys that the registry has from a source."""
    return digest(SourceEntry.objects.filter(source=source).values_list("drive__key", flat=True))


def version_of(source: Source) -> Version | None:
    """The version of a seed list that was applied last; None: apply any."""
    state = source.state or {}
    found = state.get("version")
    if state.get("asked") != config_digest(source) or not isinstance(found, list) or len(found) != 2:
        return None
    return int(found[0]), int(found[1])


def interval_of(source: Source) -> float:
    """Seconds between two readings of a source."""
    return float(source.every or settings.FARM.source_every)


async def fetch_source(
    claimed: Claim, parser: Parser, followed: FollowedList | None = None
) -> Reading | SourceError:
    """Read a source. Returns the error instead of raising it. Needs no database."""
    try:
        if claimed.source.kind == Source.Kind.BEE:
            return await _fetch_list(claimed, followed)
        return await _ask_place(claimed, parser)
    except SourceError as error:
        return error
    except MemoryError:
        return SourceError("the memory that sources may take is used up (SEEDERFARM_SOURCE_MEMORY)")
    except (
        Exception
    ):  # a bug of ours: it is shown, and the source waits longer each time, like for any failure
        log.exception("source %s: an error that was not foreseen", claimed.source.name)
        return SourceError("an error that was not foreseen; the log has it")


async def _fetch_list(claimed: Claim, followed: FollowedList | None) -> Reading:
    version = followed.version if followed is not None else None
    if followed is None or version is None:
        raise SourceError("no peer was found that has the list")
    if version == claimed.version:
        if followed.alone_for is not None:
            raise SourceError("no peer that has the list is online; its last version holds")
        return Reading({}, version=version, unchanged=True)
    parsed = await followed.read()
    _usable(parsed)
    return Reading(parsed.entries, frozenset(), parsed.refused, tuple(parsed.problems), version=version)


def headers_of(source: Source) -> dict[str, str]:
    """HTTP headers of a source. Raises SourceError unless they are an object of texts."""
    headers = source.headers or {}
    if not isinstance(headers, dict):
        raise SourceError("its headers are no JSON object of names and values")
    return headers


async def _ask_place(claimed: Claim, parser: Parser) -> Reading:
    source, farm = claimed.source, settings.FARM
    headers = {str(name): str(value) for name, value in headers_of(source).items()}
    if source.kind == Source.Kind.FILE and not fetch.is_url(source.location):
        answer = await asyncio.to_thread(
            fetch.read_file, source.location, farm.source_folder, max_bytes=farm.source_max_bytes
        )
    else:
        answer = await fetch.get(
            source.location,
            policy=AddressPolicy(farm.source_networks),
            headers=headers,
            etag=claimed.etag,
            modified=claimed.modified,
            max_bytes=farm.source_max_bytes,
        )
    if answer.unchanged:
        return Reading({}, unchanged=True)
    if source.kind == Source.Kind.FILE:
        parsed = await parser.parse("lines", answer.body)
    else:
        parsed = await parser.parse("json", answer.body, source.mapping)
    _usable(parsed)
    removals = await _removals(source, headers, parser)
    listed = {key: entry for key, entry in parsed.entries.items() if key not in removals}
    problems = tuple(parsed.problems)
    return Reading(listed, removals, parsed.refused, problems, parsed.skipped, answer.etag, answer.modified)


def _usable(parsed: Parsed) -> None:
    first = f"; {parsed.problems[0]}" if parsed.problems else ""
    if not parsed.entries:
        raise SourceError(f"the list has no keys{first}")
    if parsed.refused > len(parsed.entries):
        raise SourceError(f"most of the list is no keys ({parsed.refused:,} entries){first}")


async def _removals(source: Source, headers: dict[str, str], parser: Parser) -> frozenset[str]:
    """Keys of the removals endpoint; empty without one. Unknown keys are no error."""
    if source.kind != Source.Kind.HTTP or not source.removals_url:
        return frozenset()
    try:
        answer = await fetch.get(
            source.removals_url,
            policy=AddressPolicy(settings.FARM.source_networks),
            headers=headers if fetch.same_origin(source.removals_url, source.location) else {},
            max_bytes=settings.FARM.source_max_bytes,
        )
        parsed = await parser.parse("json", answer.body, source.mapping)
    except SourceError as error:
        raise SourceError(f"removals: {error}") from None
    if parsed.refused:
        raise SourceError(f"removals: {parsed.refused:,} of its entries are no keys; {parsed.problems[0]}")
    return frozenset(parsed.entries)
