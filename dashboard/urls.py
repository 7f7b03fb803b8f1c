"""Addresses of the pages. Filters, order and page are in the query: every view can be sent to a colleague."""

from __future__ import annotations

from django.urls import path, register_converter
from django.views.generic import RedirectView

from seederfarm.registry.queries import whole_key

from .api.app import api
from .api.page import docs
from .flower.proxy import flower
from .gateway import views as gateway
from .live import stream
from .metrics.page import metrics
from .pages import account, alerts, bulk, charts, drive, drives, history, overview, plan, sources, workers
from .pages.access import key_in_address
from .public import pages as public


class KeyConverter:
    """A key in any spelling, as hex."""

    regex = r"(?:[a-z]+:/{1,2})?[^/]+"

    def to_python(self, value: str) -> str:
        """The key in hex. Raises ValueError, for which Django answers 404."""
        found = whole_key(value)
        if found is None:
            raise ValueError("no key")
        return found

    def to_url(self, value: str) -> str:
        """The key in z-base-32, as addresses of pages have it."""
        return key_in_address(value)


class PathConverter:
    """A path in a drive, whatever its characters."""

    regex = r"(?s:.*)"

    def to_python(self, value: str) -> str:
        """The path as it was sent, decoded."""
        return value

    def to_url(self, value: str) -> str:
        """The path; Django quotes it."""
        return value


register_converter(KeyConverter, "key")
register_converter(PathConverter, "anypath")

app_name = "dashboard"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("charts/", charts.farm, name="farm_charts"),
    path("drives/", drives.drives, name="drives"),
    path("drives/add/", drives.add, name="add"),
    path("drives/bulk/", bulk.act, name="bulk"),
    path("drives/seen/", drives.mark, name="mark_seen"),
    path("drives/add/preview/", drives.preview_keys, name="preview_keys"),
    path("drives/<key:key>/", drive.drive, name="drive"),
    path("drives/<key:key>/act/", drive.act, name="act"),
    path("drives/<key:key>/inner/", drive.inner, name="inner"),
    path("drives/<key:key>/files/<anypath:path>", gateway.files, name="files"),
    path("drives/<key:key>/zip/<anypath:path>", gateway.zipped, name="zip"),
    path("drives/<key:key>/preview/<anypath:path>", gateway.preview, name="preview"),
    path("copies/", drives.copies, name="copies"),
    path("workers/", workers.workers, name="workers"),
    path("workers/<str:node_id>/", workers.worker, name="worker"),
    path("workers/<str:node_id>/act/", workers.act, name="act_on_worker"),
    path("workers/<str:node_id>/charts/", charts.worker, name="worker_charts"),
    path("plan/", plan.plan, name="plan"),
    path("sources/", sources.sources, name="sources"),
    path("sources/add/", sources.add, name="add_source"),
    path("sources/<int:pk>/", sources.change, name="change_source"),
    path("sources/<int:pk>/act/", sources.act, name="act_on_source"),
    path("sources/<int:pk>/remove/", sources.remove, name="remove_source"),
    path("alerts/", alerts.alerts, name="alerts"),
    path("alerts/<int:pk>/acknowledge/", alerts.acknowledge, name="acknowledge"),
    path("alerts/<int:pk>/silence/", alerts.silence, name="silence"),
    path("alerts/silences/add/", alerts.add_silence, name="add_silence"),
    path("alerts/silences/<int:pk>/end/", alerts.end_silence, name="end_silence"),
    path("alerts/rules/", alerts.rules, name="alert_rules"),
    path("alerts/rules/<str:kind>/", alerts.set_rule, name="set_rule"),
    path("alerts/channels/add/", alerts.add_channel, name="add_channel"),
    path("alerts/channels/<int:pk>/", alerts.change_channel, name="change_channel"),
    path("events/", history.events, name="events"),
    path("audit/", history.audit, name="audit"),
    path("live/", stream.live, name="live"),
    path("login/", account.LoginPage.as_view(), name="login"),
    path("logout/", account.logout, name="logout"),
    path("theme/", account.theme, name="theme"),
    path("p/<key:key>/", public.page, name="public"),
    path("p/<key:key>/badge.svg", public.badge, name="badge"),
    path("p/<key:key>.json", public.as_json, name="public_json"),
    path("flower", RedirectView.as_view(url="/flower/")),
    path("flower/", flower, name="flower"),
    path("flower/<path:path>", flower),
    path("metrics", metrics, name="metrics"),
    path("api/v1/docs", docs, name="api_docs"),
    path("api/v1/", api.urls),
]
