"""Login forms with a bound on attempts."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from .logins import LoginLimit

log = logging.getLogger(__name__)
limit: Final = LoginLimit()
"""Of all login forms of the process."""

if TYPE_CHECKING:
    _Form = AuthenticationForm
else:
    _Form = object


class Throttled(_Form):
    """Runs no password hasher while the user must wait: it takes a tenth of a second of CPU. A base of forms
    of `django.contrib.auth`, before their own."""

    def clean(self) -> dict[str, Any]:
        account = str(self.cleaned_data.get("username") or "")
        address = str(self.request.META.get("REMOTE_ADDR") or "") if self.request is not None else ""
        now = monotonic()
        if wait := limit.wait(account, address, now):
            text = "Too many attempts failed. Try again in %(wait)s."
            shown = f"{wait} seconds" if wait < 120 else f"{wait // 60 + 1} minutes"
            raise ValidationError(text, code="throttled", params={"wait": shown})
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            if account:
                limit.failed(account, address, now)
                if wait := limit.wait(account, address, now):
                    log.warning("too many failed logins from %s: it waits for %d s", address, wait)
            raise
        if account and self.get_user() is not None:
            limit.succeeded(account, address)
        return cleaned


class ThrottledLogin(Throttled, AuthenticationForm):
    """The login form of every user, staff or not, with bounds on attempts."""

    error_messages = {  # noqa: RUF012
        "invalid_login": "User name and password do not match.",
        "inactive": "This account is switched off.",
    }
