"""Parts of HTTP requests for httpcore: target, Host, login, certificate authorities."""

from __future__ import annotations

import base64
import ssl
from urllib.parse import unquote, urlsplit

import certifi
import httpcore

Headers = list[tuple[bytes, bytes]]


def tls() -> ssl.SSLContext:
    """The system's certificate authorities; those of certifi where it has none (a bare container)."""
    context = ssl.create_default_context()
    if not _has_authorities(ssl.get_default_verify_paths()):
        context.load_verify_locations(certifi.where())
    return context


def _has_authorities(paths: ssl.DefaultVerifyPaths) -> bool:
    """Both paths are None where the files are missing, despite the type stubs."""
    return any(paths[:2])


def target(url: str) -> httpcore.URL:
    """Parse a URL. Raises ValueError for text that is not a URL with a host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise httpcore.UnsupportedProtocol("no http:// or https:// URL")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(
        scheme=parts.scheme.encode(),
        host=_ascii(parts.hostname),
        port=parts.port,
        target=_quoted(path),
    )


def host_header(url: str) -> bytes:
    """Return the `Host` header for a URL: IPv6 in brackets, other alphabets in IDNA."""
    parts = urlsplit(url)
    host = _ascii(parts.hostname or "")
    host = b"[%s]" % host if b":" in host else host
    return host if parts.port is None else b"%s:%d" % (host, parts.port)


def _ascii(host: str) -> bytes:
    return host.encode() if host.isascii() else host.encode("idna")


def _quoted(path: str) -> bytes:
    """Percent-encode characters outside ASCII (as UTF-8), blanks and control characters."""
    return b"".join(
        byte.to_bytes(1, "big") if 0x21 <= byte <= 0x7E else b"%%%02X" % byte for byte in path.encode()
    )


def login(url: str) -> Headers:
    """Return the `Authorization` header for the login in a URL; empty if there is none."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return []
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return [(b"Authorization", b"Basic " + base64.b64encode(login.encode()))]
