"""URLs without the secrets that may be in them: a login, tokens in the query. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

HIDDEN: Final = "***"
"""Replaces a secret."""
_NAMED: Final = re.compile(r"auth|code|cred|jwt|key|pass|pwd|secret|session|sig|token|user", re.IGNORECASE)
_RANDOM: Final = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w.~+/=-]{16,}")


def without_secrets(url: str) -> str:
    """The same URL with login, fragment, and query values that may be secret replaced by HIDDEN. Text that is
    not an HTTP URL is returned unchanged."""
    if not url.lower().startswith(("http://", "https://")):
        return url
    try:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return HIDDEN
    if "@" in parts.netloc:
        place = f"{HIDDEN}@{place}"
    shown = "&".join(_parameter(name, value) for name, value in query)
    if parts.query and not query:
        shown = HIDDEN
    return urlunsplit((parts.scheme, place, parts.path, shown, HIDDEN if parts.fragment else ""))


def _parameter(name: str, value: str) -> str:
    if not value:  # one without a name may be anything
        return f"{HIDDEN}="
    is_secret = _NAMED.search(name) or _RANDOM.fullmatch(value)
    return f"{quote(name)}={HIDDEN if is_secret else quote(value)}"
