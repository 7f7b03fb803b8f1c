"""What permanent-seeder's dashboard shows, and where it is here (docs/ancestor.md)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from seederfarm.registry.models import Drive

from .farm import ENGINE, HOST, a_copy, a_drive, a_worker, text_in, text_of

pytestmark = pytest.mark.usefixtures("database")


def cells_of(client: Client, drive: Drive) -> list[str]:
    """What the row of a drive in the list says, cell by cell."""
    page = client.get("/drives/").text
    row = page.split(f'<tr data-topic="row.{drive.pk}">')[1].split("</tr>")[0]
    return [text_in(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]


def test_the_bar_at_the_side_has_the_farms_name_and_every_part_of_it(viewer: Client) -> None:
    side = text_in(viewer.get("/").text.split("<aside")[1].split("</aside>")[0])
    words = ("Seeder Farm", "Overview", "Drives", "Copies", "Workers", "Sources", "Alerts", "Events")
    places = [side.index(word) for word in words]
    assert places == sorted(places) and "Audit log" in side


def test_a_row_has_title_key_blocks_size_percent_and_peers(viewer: Client) -> None:
    drive = a_drive("", label="", title="Tides", length=1234, byte_length=8_000_000)
    for name, share, peers in (("fra", 0.5, 3), ("hel", 0.125, 4)):
        a_copy(
            drive, a_worker(name), phase="downloading", completed_at=None, last_proven_at=None, length=1234,
            have_blocks=int(1000 * share), total_blocks=1000, have_bytes=int(8_000_000 * share),
            total_bytes=8_000_000, peers=peers,
        )  # fmt: skip
    cells = cells_of(viewer, drive)
    short = f"{drive.z32[:6]}…{drive.z32[-6:]}"
    for words in ("Tides NEW", short, "0/1", "50 %", "8.0 MB", "1,234", "7", "never"):
        assert words in cells, cells
    page = viewer.get("/drives/").text
    assert f'title="{drive.z32}"' in page and f'data-copy="{drive.z32}"' in page


def test_the_page_of_a_drive_has_what_each_copy_has_of_it(viewer: Client) -> None:
    drive = a_drive("tides", byte_length=8_000_000)
    sizes = {"total_blocks": 1000, "total_bytes": 8_000_000, "peers": 7}
    a_copy(drive, a_worker("fra"), have_blocks=1000, have_bytes=8_000_000, **sizes)
    a_copy(
        drive, a_worker("hel"), have_blocks=999, have_bytes=7_999_999, phase="downloading",
        completed_at=None, last_proven_at=None, grew_at=timezone.now(), **sizes,
    )  # fmt: skip
    page = text_of(viewer.get(f"/drives/{drive.z32}/"))
    assert "8.0 MB all 10" in page, "all of it, in version 10"
    assert " of 8.0 MB 99 %" in page, "not all is not 100 %"
    assert "Peers 14" in page


def test_a_drive_is_new_until_it_is_marked_as_seen(viewer: Client) -> None:
    drive = a_drive("tides")
    button = f'name="seen" value="{drive.pk}"'
    assert button in viewer.get("/drives/").text
    viewer.post("/drives/seen/", {"seen": str(drive.pk)})
    assert button not in viewer.get("/drives/").text


def test_a_worker_shows_processor_memory_load_disk_and_uptime(viewer: Client) -> None:
    worker = a_worker("fra", host=HOST | {"load_5": 0.3, "load_15": 0.2}, used_bytes=2 * 10**9)
    page = text_of(viewer.get(f"/workers/{worker.node_id}/"))
    for words in (
        "CPU 12 % load 0.40 on 4 cores", "Load 0.40, 0.30, 0.20 on 4 cores", "Memory 1.0 GB used",
        "Disk 500 GB free of 1.0 TB", "Up for 25 h", "2.0 GB of",
    ):  # fmt: skip
        assert words in page, (words, page)


def test_a_row_opens_to_the_peers_and_files_of_its_drive(viewer: Client) -> None:
    drive, core = a_drive("tides", kind="drive"), a_drive("list", kind="core")
    a_copy(drive, a_worker("fra"))
    assert f'data-expand="/drives/{drive.z32}/inner/"' in viewer.get("/drives/").text
    inner = viewer.get(f"/drives/{drive.z32}/inner/")
    assert inner.headers["X-Fragment"] == "1" and "<html" not in inner.text
    assert f'data-topic="drive.{drive.key}.peers"' in inner.text and "Its workers are asked" in inner.text
    assert f'data-load="/drives/{drive.z32}/files/?fragment=1"' in inner.text
    drive.refresh_from_db()
    assert drive.watched_until is not None and drive.watched_until > timezone.now() + timedelta(seconds=30)
    assert "data-load" not in viewer.get(f"/drives/{core.z32}/inner/").text
    assert viewer.get(f"/drives/{'y' * 52}/inner/").status_code == 404
    assert Client().get(f"/drives/{drive.z32}/inner/").status_code == 302


def test_the_line_below_every_page_says_how_the_network_is_reached(viewer: Client) -> None:
    one = {"index": 0, "running": True, "online": True, "nat": "consistent", "address": "203.0.113.41:49737"}
    a_worker("fra", engine=ENGINE | {"engines": [one]})
    for address in ("/", "/drives/", "/audit/"):
        foot = text_in(viewer.get(address).text.split('<footer class="foot"')[1].split("</footer>")[0])
        for words in (
            "Network good", "7 peers", "Workers online 1 of 1", "Online 1 of 1 worker",
            "Hole-punchable 1 of 1", "Address 203.0.113.41:49737",
        ):  # fmt: skip
            assert words in foot, (address, foot)
