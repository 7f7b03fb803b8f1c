"""Login, logout, and the theme."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth import logout as end_session
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from seederfarm.registry.login_form import ThrottledLogin

from ..reads.frame import THEMES, bare
from .access import back_to

STAY: Final = 14 * 86400
"""Seconds that a login lasts on a device that is to stay signed in; else it ends with the browser."""
THEME_AGE: Final = 365 * 86400


class LoginPage(LoginView):
    """The login. Attempts are counted (`registry.logins`)."""

    template_name = "dashboard/login.html"
    authentication_form = ThrottledLogin
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), **bare(self.request)}

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        self.request.session.set_expiry(STAY if self.request.POST.get("stay") else 0)
        return response


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the session. POST only, so that no other site's link does."""
    end_session(request)
    return HttpResponseRedirect(reverse("dashboard:login"))


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Set the cookie that the server writes into `<html data-theme>`, so that nothing flashes."""
    response = HttpResponseRedirect(back_to(request, reverse("dashboard:overview")))
    chosen = request.POST.get("theme", "")
    if chosen in THEMES:
        response.set_cookie(
            "theme", chosen, max_age=THEME_AGE, samesite="Lax", secure=request.is_secure(), httponly=True
        )
    return response
