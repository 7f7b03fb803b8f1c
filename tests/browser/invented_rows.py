"""Rows of an invented farm: every state that a page can show, and texts that publishers may give."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from farmwire.software import software
from seederfarm.registry import roles, services
from seederfarm.registry.alert_rules import RULES
from seederfarm.registry.models import (
    Alert,
    AlertChannel,
    AlertSilence,
    Drive,
    DriveDay,
    Event,
    Sample,
    Source,
    SourceEntry,
    Tag,
)

from ..dashboard.farm import ENGINE, HOST, a_copy, a_drive, a_worker
from ..seederfarm.registry.factories import store_health

GB = 10**9
PASSWORD = "only on this machine"
ACCOUNTS = {"vera": "viewer", "otto": "operator", "anna": "admin", "nora": "", "vic": "viewer"}
"""Names of the accounts and their roles. Nora has none."""
STAFF = ("otto", "anna", "vic")
"""Those that see the admin."""
TITLES = (
    "Allotment handbook, 6th edition", "Bird calls of the northern isles", "Broadband outage reports",
    "Cooking on one ring", "Dialect atlas, audio", "Drive-by-wire for small boats", "Estuary water levels",
    "Ferry timetables since 1911", "Glacier photographs, repeated", "Hand looms, plans", "Island radio plays",
    "Knots and splices", "Lichen survey, plates", "Moor fires, satellite tiles", "Night trains, sounds of",
    "Open seed register", "Parish maps", "Quarry survey, point cloud", "River gauge, live",
    "Sea shanties, 78 rpm", "Tool library catalogue", "Underground press, scans", "Village hall lectures",
    "Weather balloons, raw", "Yard sale price index", "Zine archive", "Asteroid plates", "Beekeeping diary",
    "Cave surveys", "Drystone walling, a course",
)  # fmt: skip


def make_accounts() -> dict[str, str]:
    """Returns the value of the session cookie of each account."""
    roles.sync_roles()
    found = {}
    for name, role in ACCOUNTS.items():
        user = User.objects.create_user(
            name, password=PASSWORD, is_staff=name in STAFF, is_superuser=role == "admin"
        )
        if role:
            user.groups.add(Group.objects.get(name=role))
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        found[name] = str(session.session_key)
    return found


def fill(key: str) -> dict[str, Any]:
    """Returns keys of drives by name, in z-base-32, and ids of workers by name."""
    workers = make_workers()
    drives = make_drives(workers, key)
    make_history(drives, workers)
    make_sources(drives)
    make_alerts(drives, workers)
    services.issue_api_token(User.objects.get(username="anna"), "grafana", actor="cli")
    services.issue_enrolment(name="pi-kitchen", actor="cli")
    return {
        "keys": {name: drive.z32 for name, drive in drives.items()},
        "workers": {name: worker.node_id for name, worker in workers.items()},
    }


def make_workers() -> dict[str, Any]:
    now = timezone.now()
    given: dict[str, dict[str, Any]] = {
        "fra-01": {"zone": "Frankfurt", "used_bytes": 2860 * GB, "free_bytes": 1140 * GB},
        "hel-01": {"zone": "Helsinki", "used_bytes": 5120 * GB, "free_bytes": 2880 * GB},
        "nyc-01": {"zone": "New York", "used_bytes": 2930 * GB, "free_bytes": 1070 * GB, "tags": ["archive"]},
        "sgp-01": {"zone": "Singapore", "used_bytes": 1960 * GB, "free_bytes": 40 * GB},
        "pi-attic": {"zone": "attic", "used_bytes": 1310 * GB, "free_bytes": 690 * GB,
                     "engine": {**ENGINE, "firewalled": True, "connections": 58}},
        "pi-harbour": {"zone": "harbour", "used_bytes": 210 * GB, "free_bytes": 290 * GB,
                       "state": "draining", "draining_since": now - timedelta(hours=2)},
        "pi-library": {"zone": "library", "used_bytes": 740 * GB, "free_bytes": 260 * GB,
                       "engine": {**ENGINE, "running": False}},
        "pi-school": {"zone": "school", "paused": True, "quota_bytes": 500 * GB, "upload_limit": 2_000_000},
        # Silent for more than three heartbeats, which are an hour here
        "pi-studio": {"zone": "studio", "lost_since": now - timedelta(hours=4),
                      "last_seen_at": now - timedelta(hours=5)},
        "ams-01": {"zone": "", "state": "pending", "host": {}, "engine": {}, "free_bytes": 4000 * GB},
        "old-01": {"zone": "cellar", "state": "retired", "retired_at": now - timedelta(days=40)},
    }  # fmt: skip
    made = {}
    for number, (name, values) in enumerate(given.items()):
        engine = {**ENGINE, "up_per_second": 2.4e6 * (number + 1), "connections": 31 * (number + 1)}
        facts = {"engine": engine, "host": {**HOST, "load": 0.4 * number}, "software": software()}
        made[name] = a_worker(name, **{**facts, **values})
    return made


def make_drives(workers: dict[str, Any], key: str) -> dict[str, Any]:
    now = timezone.now()
    fra, hel, nyc, studio = (workers[name] for name in ("fra-01", "hel-01", "nyc-01", "pi-studio"))
    wanted = {"replicas_min": 2, "replicas_max": 3}

    def drive(title: str, size: float, **values: Any) -> Any:
        blocks = max(1, round(size / 65536))
        given = {"label": "", "title": title, "kind": "drive", "length": blocks, "byte_length": int(size)}
        return a_drive(title, **{**given, **wanted, **values})

    def copy(of: Any, on: Any, share: float = 1.0, **values: Any) -> None:
        blocks, size = of.length or 0, of.byte_length or 0
        sizes = {"length": blocks, "total_blocks": blocks, "total_bytes": size, "peers": 4}
        sizes |= {"completed_at": now - timedelta(days=5)}
        sizes |= {"have_blocks": int(blocks * share), "have_bytes": int(size * share)}
        if share < 1:
            sizes |= {"phase": "downloading", "completed_at": None, "last_proven_at": None, "grew_at": now}
        a_copy(of, on, **{**sizes, **values})

    made = {}
    safe = made["safe"] = drive(
        "Coastal Field Recordings", 12.4 * GB, public=True, last_writer_seen_at=now - timedelta(days=3),
        note="Asked for by the museum, call before removing.", key=key,
    )  # fmt: skip
    for worker in (fra, hel, workers["pi-attic"]):
        copy(safe, worker, last_proven_at=now - timedelta(minutes=4), peers=14)
    for name in ("audio", "museum"):
        safe.tags.add(Tag.objects.get_or_create(name=name)[0])
    risk = made["at risk"] = drive(
        "Tide tables 1890–1990, scans", 412 * GB, required_tags=["archive"],
        last_writer_seen_at=now - timedelta(days=31),
    )  # fmt: skip
    copy(risk, nyc, last_proven_at=now - timedelta(hours=6))
    wrong = made["wrong proof"] = drive("Open Seeds field notes", 2.17 * GB)
    copy(wrong, fra)
    copy(wrong, workers["sgp-01"], proof_failures=2)
    archive = made["older"] = drive("Lighthouse Radio Archive", 38.4 * GB)
    copy(archive, hel)
    copy(archive, studio)
    copy(archive, nyc, 0.34)
    for title, size, share in (
        ("Peatland survey 2026, drone tiles", 186 * GB, 0.612),
        ("Community mesh wiki", 742e6, 0.884),
        ("Municipal council, minutes", 9.3 * GB, 0.073),
    ):
        copying = drive(title, size)
        copy(copying, hel, share)
        copy(copying, fra, share / 2)
        made.setdefault("copying", copying)
    waiting = made["waiting"] = a_drive(
        "", label="", length=None, fork=None, byte_length=None, observed_at=None
    )
    copy(waiting, fra, phase="looking", completed_at=None, last_proven_at=None, created_at=now, have_blocks=0)
    gone = made["unavailable"] = drive("Harbour webcam, hourly stills", 64.8 * GB)
    copy(gone, studio)
    rewritten = made["rewritten"] = drive("River crossings", 3.1 * GB, fork=2, max_fork=2)
    for worker in (fra, hel):
        copy(rewritten, worker, fork=2)
    Alert.objects.create(
        kind="drive.forked", subject=f"drive.forked/{rewritten.key}", drive=rewritten,
        text="The publisher of River crossings rewrote its history"
    )  # fmt: skip
    store_health(rewritten)
    paused = made["paused"] = drive("Festival 2024, raw footage", 1860 * GB, state="paused")
    copy(paused, nyc, last_proven_at=now - timedelta(hours=19))
    removing = made["removing"] = drive("Old map tiles", 91.2 * GB, state="removing", removing_since=now)
    copy(removing, nyc, desired=False, released_at=now, phase="removing")
    failing = made["error"] = drive("Bus timetable", 18e6, kind="bee", expires_at=now + timedelta(days=20))
    copy(failing, hel, 0.5, phase="error", error="no space left on the disk of this worker")
    hostile = made["hostile"] = drive(
        "\u202eelif dab</title><script>alert(1)</script> " + "very long title without an end " * 4, 5e6
    )
    for worker in (fra, hel):
        copy(hostile, worker)
    for number, title in enumerate(TITLES):
        other = drive(title, 48e6 * (number + 1) ** 2)
        for worker in (fra, hel, nyc)[: 2 + number % 2]:
            copy(other, worker, last_proven_at=now - timedelta(hours=number / 2), peers=number)
    return made


def make_history(drives: dict[str, Any], workers: dict[str, Any]) -> None:
    now = timezone.now()
    studio, safe = workers["pi-studio"], drives["safe"]
    for kind, text, severity, drive, worker in (
        ("drive.seen", "seen for the first time", "info", safe, None),
        ("replica.assigned", "hel-01 gets a copy", "info", safe, workers["hel-01"]),
        ("replica.complete", "hel-01 has all of it", "info", safe, workers["hel-01"]),
        ("worker.lost", "pi-studio is lost; its 2 copies are made elsewhere", "warning", None, studio),
        ("replica.error", "no space left on the disk of this worker", "error", drives["error"], None),
        ("copy.proof", "sgp-01 answered a challenge with other blocks", "error", drives["wrong proof"], None),
        ("drive.forked", "its publisher rewrote its history", "warning", drives["rewritten"], None),
    ):
        services.record_event(kind, text, severity=severity, drive=drive, worker=worker)
    for number, event in enumerate(Event.objects.order_by("pk")):
        Event.objects.filter(pk=event.pk).update(at=now - timedelta(hours=(7 - number) * 5))
    services.record_audit("otto", "drive.add", "Added 38 drives")
    services.record_audit("anna", "worker.drain", "Drained pi-harbour")
    Drive.objects.filter(pk=safe.pk).update(created_at=now - timedelta(days=70))
    for back, column in ((70, "safe"), (40, "at_risk"), (39, "safe"), (12, "unavailable"), (11, "safe")):
        day = (now - timedelta(days=back)).date()
        seconds = {column: 80_000} if column != "safe" else {"safe": 80_000, "at_risk": 900 * (back == 39)}
        DriveDay.objects.create(drive=safe, day=day, ends=column, **seconds)
    rows = []
    for number in range(288):
        at = now.replace(minute=0, second=0, microsecond=0) - timedelta(minutes=5 * number)
        for name, share in (("fra-01", 1.0), ("hel-01", 1.6)):
            wave = 1.4 + math.sin(number / 27) + 0.3 * math.sin(number / 6)
            for metric, rate in (("bytes_up", 2.2e7), ("bytes_down", 8e6)):
                total = rate * share * wave * 300
                rows.append(
                    Sample(
                        scope="worker", subject=workers[name].pk, metric=metric, span=60, at=at, total=total
                    )
                )
    Sample.objects.bulk_create(rows)


def make_sources(drives: dict[str, Any]) -> None:
    now = timezone.now()
    before, soon = now - timedelta(minutes=3), now + timedelta(minutes=2)
    read = {"last_at": before, "last_success_at": before, "next_at": soon}
    for name, values in {
        "museum": {"location": "https://museum.example/keys.json", **read},
        "open-archive": {"location": "https://me:s3cret@archive.example/keys.json", "failures": 14,
                         "last_error": "answered 503", "last_success_at": now - timedelta(hours=5),
                         "next_at": soon},
        "shrunken": {"location": "https://lists.example/seeds.txt", "kind": "file", "held": 12,
                     "held_because": "12 of 20 keys are missing", **read},
        "friends": {"location": "a list that was switched off", "enabled": False},
        "new": {"location": "https://new.example/keys.json"},
    }.items():  # fmt: skip
        source = Source.objects.create(name=name, **values)
        SourceEntry.objects.create(source=source, drive=drives["safe"])


def make_alerts(drives: dict[str, Any], workers: dict[str, Any]) -> None:
    now = timezone.now()
    otto = User.objects.get(username="otto")
    hour = timedelta(hours=1)
    sgp, later = workers["sgp-01"], now + hour
    for kind, text, values in (
        ("worker.lost", "pi-studio is lost",
         {"worker": workers["pi-studio"], "severity": "error", "count": 4}),
        ("drive.short", "Tide tables 1890–1990, scans has 1 of 2 copies", {"drive": drives["at risk"]}),
        ("copy.proof", "Open Seeds field notes: wrong answer from sgp-01", {"drive": drives["wrong proof"]}),
        ("source.failing", "Source open-archive answers 503",
         {"acknowledged_at": now - hour, "acknowledged_by": otto}),
        ("worker.disk_forecast", "sgp-01 will be full in 16 days", {"worker": sgp, "silenced_until": later}),
        ("worker.silent", "fra-01 was silent for 7 min",
         {"resolved_at": now - hour, "opened_at": now - 2 * hour}),
    ):  # fmt: skip
        given = {"opened_at": now - hour, "hint": RULES[kind].hint}
        Alert.objects.create(kind=kind, subject=f"{kind}/{text}", text=text, **{**given, **values})
    AlertSilence.objects.create(
        worker=workers["sgp-01"], reason="a disk is on its way", actor="otto", user=otto, ends_at=now + hour
    )
    AlertChannel.objects.create(
        name="to the operators", kind="email", target="ops@farm.example", last_ok_at=now - hour
    )
    AlertChannel.objects.create(
        name="chat", kind="webhook", target="https://chat.example/hook", secret="x" * 20,
        last_failed_at=now - hour, last_error="answered 404", min_severity="error",
    )  # fmt: skip
    AlertChannel.objects.create(name="night", kind="ntfy", target="https://ntfy.example/farm", enabled=False)
