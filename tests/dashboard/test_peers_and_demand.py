"""Peers of a watched drive, bytes served, and files: pages, stream and API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dashboard.live.topics import Fragments
from dashboard.reads.demand import demand_of
from dashboard.reads.peers import FRESH, SHOWN, peers_of
from farmwire.traffic import MAX_WATCHED
from hypercore.keys import encode_key
from seederfarm.registry.models import CopyPeers, Drive, Replica, Sample
from seederfarm.registry.services.watching import watch

from ..seederfarm.registry.factories import key_of
from .farm import ENGINE, a_copy, a_drive, a_worker, text_of

pytestmark = pytest.mark.usefixtures("database")


def peer(number: int, **values: Any) -> dict[str, Any]:
    given = {
        "id": f"{number:064x}", "way": "direct", "bytes_in": 0, "bytes_out": 5_000_000, "down": 0.0,
        "up": 0.0, "seconds": 130.0,
    }  # fmt: skip
    return given | values


def listed(copy: Replica, *peers: dict[str, Any], total: int | None = None, ago: float = 1.0) -> None:
    at = timezone.now() - timedelta(seconds=ago)
    number = len(peers) if total is None else total
    CopyPeers.objects.create(replica=copy, at=at, total=number, peers=list(peers))


def page_of(client: Client, drive: Drive) -> str:
    return text_of(client.get(reverse("dashboard:drive", kwargs={"key": drive.key})))


def test_a_page_asks_for_peers_and_lists_the_busiest_first(viewer: Client) -> None:
    drive, fra = a_drive("read"), a_worker("fra")
    hel = a_worker("hel", engine=ENGINE | {"engines": [{"running": True, "id": f"{3:064x}"}]})
    copies = [a_copy(drive, worker) for worker in (fra, hel)]
    assert "Its workers are asked" in page_of(viewer, drive)
    drive.refresh_from_db()
    assert drive.watched_until is not None
    listed(copies[0], peer(1), peer(2, up=7e6, way="punched"), total=10**6)
    listed(copies[1], peer(3, down=9e6, bytes_in=10**9, way="relayed"))
    text = page_of(viewer, drive)
    assert "1,000,001, of which 1 is reading" in text
    order = [text.index(words) for words in ("through a relay", "hole-punched", "direct")]
    assert order == sorted(order)
    assert "our hel" in text
    assert "7.0 MB/s" in text
    assert "3 of 1,000,001 shown" in text


def test_old_lists_and_those_of_released_copies_show_no_peer(viewer: Client) -> None:
    drive = a_drive("quiet")
    copies = [a_copy(drive, a_worker(name)) for name in ("fra", "hel")]
    listed(copies[0], peer(1), ago=FRESH.total_seconds() + 1)
    listed(copies[1], peer(2))
    Replica.objects.filter(pk=copies[1].pk).update(desired=False, released_at=timezone.now())
    found = peers_of(drive, timezone.now())
    assert (found.known, found.total, found.shown) == (False, 0, [])


def test_a_page_lists_a_bounded_number(viewer: Client) -> None:
    drive = a_drive("busy")
    for name in ("a", "b", "c"):
        listed(a_copy(drive, a_worker(name)), *(peer(number) for number in range(20)))
    assert (peers_of(drive, timezone.now()).total, len(peers_of(drive, timezone.now()).shown)) == (60, SHOWN)


def test_when_too_many_drives_are_looked_at_the_page_says_so(viewer: Client) -> None:
    keys = [key_of(f"open {number}") for number in range(MAX_WATCHED)]
    Drive.objects.bulk_create([Drive(key=key, dirty=False) for key in keys])
    watch(keys, timezone.now())
    assert "Too many drives are open" in page_of(viewer, a_drive("one more"))


def test_a_stream_renews_the_look_and_sends_new_lists() -> None:
    drive = a_drive("live")
    copy = a_copy(drive, a_worker("fra"))
    topic, now = f"drive.{drive.key}.peers", timezone.now()
    fragments = Fragments()
    assert "asked" in fragments.render([topic], [topic], now)[topic]
    drive.refresh_from_db()
    assert drive.watched_until == now + timedelta(seconds=60)
    assert fragments.render([topic], [], now) == {}
    listed(copy, peer(1), ago=0)
    assert encode_key(bytes.fromhex(f"{1:064x}")) in fragments.render([topic], [], timezone.now())[topic]
    later = now + timedelta(seconds=45)
    fragments.render([topic], [], later)
    drive.refresh_from_db()
    assert drive.watched_until == later + timedelta(seconds=60)


def test_most_and_least_read_drives_are_seen_and_sorted(viewer: Client) -> None:
    a_drive("never read")
    a_drive("read much", served_bytes=5 * 10**9)
    a_drive("read a little", served_bytes=1000)
    names = ["never read", "read a little", "read much"]
    for sort, expected in (("served", names), ("-served", names[::-1])):
        text = text_of(viewer.get(f"/drives/?sort={sort}"))
        assert sorted(names, key=text.index) == expected


def test_the_demand_of_a_drive_is_drawn_by_day(viewer: Client) -> None:
    drive = a_drive("read", served_bytes=40_000, served_at=timezone.now())
    now = datetime.now(UTC).replace(hour=12)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for back, size in ((0, 1000.0), (29, 4000.0), (30, 9e9)):
        Sample.objects.create(
            scope="drive", subject=drive.pk, metric="bytes_up", span=86400, at=today - timedelta(days=back),
            total=size,
        )  # fmt: skip
    demand = demand_of(drive, now)
    assert demand.bars == [("0.0", "0.0", "28.0"), ("96.7", "21.0", "7.0")]
    assert demand.sentence.endswith(": 5.0 kB in all")
    text = page_of(viewer, drive)
    assert "40 times its size" in text
    assert "never, since it was added" in page_of(viewer, a_drive("unread"))


def test_files_are_shown_with_their_version_unless_it_is_the_newest(viewer: Client) -> None:
    assert "Files 1,916, 12.4 GB Fork" in page_of(
        viewer, a_drive("counted", files=1916, file_bytes=12_400_000_000, files_version=10)
    )
    assert "Files 3, in version 8" in page_of(viewer, a_drive("older", files=3, files_version=8))
    assert "in version" not in page_of(viewer, a_drive("not counted"))
