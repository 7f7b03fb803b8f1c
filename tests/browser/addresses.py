"""Every page, the account that looks at it, and what to open on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .private_farm import PrivateFarm

WIDTHS = {1440: 900, 390: 844}
"""Widths of the window and their heights."""
THEMES = ("light", "dark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A page in one state."""

    name: str
    path: str
    """With `{safe}` for the key of that drive and `{fra-01}` for the id of that worker."""
    account: str = "anna"
    """Empty: without a login."""
    status: int = 200
    opens: str = ""
    """Selector of what is clicked once the page is there."""
    then: str = ""
    """And what is clicked after that."""
    fills: tuple[tuple[str, str], ...] = ()
    """Selectors of fields, and what is written into them before."""
    on_empty: bool = False
    """Of the farm without drives."""
    is_variant: bool = False
    """Made of the parts of another page, wide: axe looks at it on a phone alone."""
    is_breaking: bool = False
    """The table that it reads is taken away, as when a migration has failed."""


KEY = "frq3suptf33txnh86hsusjmtu6zmdiq3qakwoewb6oqcapxdncxo"
LINES = f"{KEY}\n{'yb' * 26}\nhyper://{KEY}\nnot a key\n"
PAGES = (
    Shown(name="overview", path="/"),
    Shown(name="overview-viewer", path="/", account="vera", is_variant=True),
    Shown(name="empty", path="/", on_empty=True),
    Shown(name="empty-viewer", path="/", account="vera", on_empty=True, is_variant=True),
    Shown(name="drives", path="/drives/"),
    Shown(name="drives-filters", path="/drives/", opens="[popovertarget=filters]"),
    Shown(name="drives-menu", path="/drives/", opens=".c-menu button", is_variant=True),
    Shown(name="drives-remove", path="/drives/", opens=".c-menu button", then=".menu button.danger"),
    Shown(name="drives-opened", path="/drives/?q=coastal", opens="[data-expand]"),
    Shown(name="drives-search", path="/drives/?q=audio&state=safe", is_variant=True),
    Shown(name="drives-none", path="/drives/?q=nothing+has+this+name", is_variant=True),
    Shown(name="drives-empty", path="/drives/", on_empty=True),
    Shown(name="add", path="/drives/add/", account="otto"),
    Shown(name="add-preview", path="/drives/add/", opens="[name=preview]", fills=(("#keys", LINES),)),
    Shown(name="drive", path="/drives/{safe}/"),
    Shown(name="drive-viewer", path="/drives/{safe}/", account="vera", is_variant=True),
    Shown(name="drive-at-risk", path="/drives/{at risk}/", account="otto", is_variant=True),
    Shown(name="drive-copying", path="/drives/{copying}/", is_variant=True),
    Shown(name="drive-waiting", path="/drives/{waiting}/"),
    Shown(name="drive-unavailable", path="/drives/{unavailable}/", is_variant=True),
    Shown(name="drive-rewritten", path="/drives/{rewritten}/", is_variant=True),
    Shown(name="drive-wrong-proof", path="/drives/{wrong proof}/", is_variant=True),
    Shown(name="drive-error", path="/drives/{error}/", is_variant=True),
    Shown(name="drive-removing", path="/drives/{removing}/", is_variant=True),
    Shown(name="drive-hostile", path="/drives/{hostile}/"),
    Shown(name="files", path="/drives/{safe}/files/"),
    Shown(name="files-folder", path="/drives/{safe}/files/2026/07/", account="vera", is_variant=True),
    Shown(name="preview-text", path="/drives/{safe}/preview/README.md"),
    Shown(name="preview-audio", path="/drives/{safe}/preview/2026/07/rain-on-tin-roof.flac"),
    Shown(name="files-missing", path="/drives/{safe}/files/nothing/", status=404, is_variant=True),
    Shown(name="copies", path="/copies/"),
    Shown(name="workers", path="/workers/"),
    Shown(name="workers-menu", path="/workers/", opens=".c-menu button", is_variant=True),
    Shown(name="workers-retired", path="/workers/?retired=1", is_variant=True),
    Shown(name="workers-empty", path="/workers/", on_empty=True),
    Shown(name="worker", path="/workers/{fra-01}/"),
    Shown(name="worker-lost", path="/workers/{pi-studio}/", is_variant=True),
    Shown(name="worker-draining", path="/workers/{pi-harbour}/", account="otto", is_variant=True),
    Shown(name="worker-pending", path="/workers/{ams-01}/", is_variant=True),
    Shown(name="plan", path="/plan/", account="otto"),
    Shown(name="plan-empty", path="/plan/", on_empty=True, is_variant=True),
    Shown(name="sources", path="/sources/"),
    Shown(name="sources-empty", path="/sources/", on_empty=True),
    Shown(name="alerts", path="/alerts/", account="otto"),
    Shown(name="alerts-viewer", path="/alerts/", account="vera", is_variant=True),
    Shown(name="alerts-silence", path="/alerts/", opens=".alert-card details summary"),
    Shown(name="alerts-over", path="/alerts/?state=over", is_variant=True),
    Shown(name="alerts-empty", path="/alerts/", on_empty=True),
    Shown(name="alert-rules", path="/alerts/rules/"),
    Shown(name="events", path="/events/"),
    Shown(name="audit", path="/audit/"),
    Shown(name="public", path="/p/{safe}/", account=""),
    Shown(name="public-files", path="/drives/{safe}/files/", account="", is_variant=True),
    Shown(name="public-preview", path="/drives/{safe}/preview/README.md", account="", is_variant=True),
    Shown(name="login", path="/login/", account=""),
    Shown(name="login-wrong", path="/login/", account="", opens="[type=submit].big", is_variant=True,
          fills=(("#user", "anna"), ("#pass", "a wrong one"))),
    Shown(name="no-role", path="/", account="nora", status=403),
    Shown(name="forbidden", path="/drives/add/", account="vera", status=403, is_variant=True),
    Shown(name="not-found", path="/nothing/", status=404, is_variant=True),
    Shown(name="failed", path="/audit/", status=500, is_breaking=True),
    Shown(name="menu-account", path="/", opens="[popovertarget=me]"),
    Shown(name="menu-network", path="/", opens="[popovertarget=net]"),
)  # fmt: skip
"""`opens` of the account's menu is in the sidebar, and that of the phone in the bar at the bottom."""


_MODELS = {
    "drive": "registry", "replica": "registry", "worker": "registry", "source": "registry",
    "alert": "registry", "event": "registry", "auditentry": "registry", "sample": "registry",
    "tag": "registry", "apitoken": "registry", "enrolmenttoken": "registry", "user": "auth", "group": "auth",
}  # fmt: skip
"""Models with a list in the admin, and the apps that they are of."""
_MADE = ("drive", "source", "tag", "apitoken", "enrolmenttoken", "user", "group")
"""Those of which people make rows there."""


def _of_admin(name: str, path: str, **given: Any) -> Shown:
    return Shown(name=f"admin-{name}", path=f"/admin/{path}", **given)


ADMIN_PAGES = (
    _of_admin("index", ""),
    *(_of_admin(f"{model}s", f"{app}/{model}/") for model, app in _MODELS.items()),
    *(_of_admin(model, f"{app}/{model}/1/change/", is_variant=model not in ("drive", "worker"))
      for model, app in _MODELS.items()),
    *(_of_admin(f"add-{model}", f"{_MODELS[model]}/{model}/add/", is_variant=True) for model in _MADE),
    _of_admin("drive-operator", "registry/drive/1/change/", account="otto", is_variant=True),
    _of_admin("source-viewer", "registry/source/1/change/", account="vic", is_variant=True),
    _of_admin("history", "registry/drive/1/history/", is_variant=True),
    _of_admin("remove-drive", "registry/drive/1/remove_one/"),
    _of_admin("retire-worker", "registry/worker/1/retire_one/", is_variant=True),
    _of_admin("delete-tag", "registry/tag/1/delete/", is_variant=True),
    _of_admin("password", "password_change/", is_variant=True),
    _of_admin("missing", "nothing/", status=404, is_variant=True),
)  # fmt: skip
"""Pages of the admin. Rows with the key 1 are those of the invented farm that were made first."""


def address(shown: Shown, farm: PrivateFarm) -> str:
    """The path with keys and ids in it."""
    places: dict[str, Any] = {**farm.keys, **farm.workers}
    path = shown.path
    for name, value in places.items():
        path = path.replace(f"{{{name}}}", value)
    return path
