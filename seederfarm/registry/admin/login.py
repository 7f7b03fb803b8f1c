"""The admin's login form, with a bound on attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from ..login_form import Throttled

if TYPE_CHECKING:
    from django.contrib.admin.forms import AdminAuthenticationForm as AuthenticationForm
else:
    from unfold.forms import AuthenticationForm


class LoginForm(Throttled, AuthenticationForm):
    pass


admin.site.login_form = LoginForm
