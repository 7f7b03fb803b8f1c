"""The pages of the farm: dashboard, admin, installer of workers, and health checks for load balancers."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from .health_checks import alive, ready

urlpatterns = [
    path("admin/", admin.site.urls),
    path("livez", alive),
    path("healthz", alive, name="alive"),
    path("readyz", ready, name="ready"),
    path("join/", include("seederfarm.installer.urls")),
    path("", include("dashboard.urls")),
]
handler400 = "dashboard.pages.errors.bad_request"
handler403 = "dashboard.pages.errors.forbidden"
handler404 = "dashboard.pages.errors.not_found"
handler500 = "dashboard.pages.errors.failed"
