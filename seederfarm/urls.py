"""The pages of the farm: the admin, and a page that shows a load balancer that the process runs."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.generic import RedirectView


def alive(request: HttpRequest) -> HttpResponse:
    """Answers without a database query: the process is up."""
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:registry_drive_changelist"), name="home"),
    path("admin/", admin.site.urls),
    path("livez", alive, name="alive"),
]
