"""The frame of every page: navigation, number of open alerts, the farm's status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from seederfarm.registry.models import Alert, Worker
from seederfarm.registry.models.worker import silent_since
from seederfarm.registry.roles import SEE_FLOWER
from seederfarm.settings.env import COMMAND

from .network import FarmNetwork, farm_network

THEMES: Final = ("", "light", "dark")
"""Values of the cookie `theme`; empty: as the system."""
MAX_COUNTED: Final = 1000
"""Open alerts beyond it are shown as `999+`. Ours."""

NAVIGATION: Final = (
    (
        "Farm",
        (
            ("overview", "Overview", "dashboard"),
            ("drives", "Drives", "hard_drive"),
            ("copies", "Copies", "content_copy"),
            ("workers", "Workers", "dns"),
            ("sources", "Sources", "rss_feed"),
        ),
    ),
    (
        "What happened",
        (
            ("alerts", "Alerts", "notifications"),
            ("events", "Events", "history"),
            ("audit", "Audit log", "fact_check"),
        ),
    ),
)
MAIN: Final = ("overview", "drives", "workers", "alerts")


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the menu."""

    name: str
    word: str
    icon: str
    href: str
    is_current: bool
    is_main: bool
    """Whether it is in the bar at the bottom of a phone."""


@dataclass(frozen=True, slots=True)
class Status:
    """The line at the bottom."""

    workers: int
    online: int
    up: float
    """Bytes a second."""
    down: float
    peers: int
    network: FarmNetwork
    heard_at: Any
    """The newest report of any worker."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The menu, the number of open alerts, the state of workers."""

    name: str
    theme: str
    groups: tuple[tuple[str, tuple[Link, ...]], ...]
    alerts: int
    status: Status
    may_add: bool
    may_manage: bool
    may_see_flower: bool


def bare(request: HttpRequest) -> dict[str, str]:
    """Return the values of pages without the frame: the farm's name, the theme, the command. No query."""
    return {"name": settings.FARM.name, "theme": theme_of(request), "command": COMMAND}


def theme_of(request: HttpRequest) -> str:
    """`light` or `dark`, as chosen in this browser; empty: as the system has it."""
    chosen = request.COOKIES.get("theme", "")
    return chosen if chosen in THEMES else ""


def frame(request: HttpRequest) -> Frame:
    """Return the frame of a page. Two queries; kept for the request."""
    kept: Frame | None = getattr(request, "farm_frame", None)
    if kept is None:
        kept = _load(request)
        request.farm_frame = kept  # type: ignore[attr-defined]
    return kept


def _load(request: HttpRequest) -> Frame:
    here = request.path
    user = request.user
    groups = tuple(
        (title, tuple(_link(name, word, icon, here) for name, word, icon in items))
        for title, items in NAVIGATION
    )
    return Frame(
        name=settings.FARM.name,
        theme=theme_of(request),
        groups=groups,
        alerts=open_alerts(),
        status=status(),
        may_add=user.has_perm("registry.add_drive"),
        may_manage=bool(getattr(user, "is_staff", False)),
        may_see_flower=user.has_perm(SEE_FLOWER),
    )


def _link(name: str, word: str, icon: str, here: str) -> Link:
    href = reverse(f"dashboard:{name}")
    current = here == href if name == "overview" else here.startswith(href)
    return Link(name, word, icon, href, current, name in MAIN)


def open_alerts() -> int:
    """Alerts that are not acknowledged and not silenced, MAX_COUNTED at most."""
    loud = Q(silenced_until__isnull=True) | Q(silenced_until__lte=timezone.now())
    rows = Alert.objects.filter(loud, resolved_at__isnull=True, acknowledged_at__isnull=True).order_by()
    return len(rows.values_list("pk")[:MAX_COUNTED])


def status() -> Status:
    """Return the number of workers and the rates of those that are online. One query."""
    rows = list(
        Worker.objects.filter(state__in=[Worker.State.ACTIVE, Worker.State.DRAINING])
        .order_by()
        .values_list("name", "last_seen_at", "engine")
    )
    since = silent_since(timezone.now())
    online = [engine for _, seen, engine in rows if seen is not None and seen >= since]
    return Status(
        workers=len(rows),
        online=len(online),
        up=sum(float(engine.get("up_per_second", 0)) for engine in online),
        down=sum(float(engine.get("down_per_second", 0)) for engine in online),
        peers=sum(int(engine.get("connections", 0)) for engine in online),
        network=farm_network(rows, since),
        heard_at=max((seen for _, seen, _ in rows if seen is not None), default=None),
    )
