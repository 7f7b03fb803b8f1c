"""Addresses below `/join/`."""

from __future__ import annotations

from django.urls import path, re_path

from . import views

urlpatterns = [
    path("install.sh", views.install_script),
    re_path(r"^(?P<place>[0-9a-f]{16})/bundle\.tar$", views.packages),
]
