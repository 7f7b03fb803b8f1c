"""The command for another machine: how it fetches the installer, and knows that it is this farm's."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import shlex
import ssl
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from seederfarm.settings.table import FarmSettings

from .bundle import INSTALLER, bundle

PATH: Final = "/join/install.sh"
DOWNLOADED: Final = "farm-worker.sh"
RUN: Final = "sudo sh -s --"
"""Takes the script from standard input. What comes before it says `exit 1` where there is no script."""
NOT_PUBLIC: Final = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".test")
"""Ends of names for which no public authority signs."""
MAX_CERTIFICATE_BYTES: Final = 64 * 1024
SPKI_FIELD: Final = 5
"""Place of the public key in a certificate, after the serial number: algorithm, issuer, validity, subject,
key."""


class CertificateUnreadable(ValueError):
    """SEEDERFARM_PAGES_CERTIFICATE names no certificate."""


class JoinCommand(NamedTuple):
    """What to run on the machine that is to seed."""

    text: str
    warning: str = ""
    """What an operator should know of it; empty: nothing."""


def join_command(farm: FarmSettings, token: str) -> JoinCommand | None:
    """The command that installs a worker and joins with `token`. None where other machines do not reach the
    pages: SEEDERFARM_PUBLIC_URL is not set. Raises CertificateUnreadable, NoPins.

    HTTPS that machines trust by themselves proves where the installer comes from, and so does HTTPS with the
    public key of SEEDERFARM_PAGES_CERTIFICATE. Everywhere else the command has the installer's SHA-256, and
    downloads into a directory that no other user of the machine can write. Either way the token is the first
    line of the script that is run, and no argument of a program, which every user of the machine could see;
    options of the installer go to the command's end.
    """
    if not farm.public_url:
        return None
    url = shlex.quote(farm.public_url.rstrip("/") + PATH)
    options = _options(farm)
    fetch = " ".join(("curl", "-f" + options[0].removeprefix("-"), *map(_quoted, options[1:]), url))
    https = urlsplit(farm.public_url).scheme == "https"
    if https and (farm.pages_certificate or _trusted(farm.public_url)):
        return JoinCommand(f"(echo FARM_TOKEN={token} && {fetch} || echo exit 1) | {RUN}")
    digest = hashlib.sha256(installer(farm)).hexdigest()
    check = f"echo '{digest}  {DOWNLOADED}' | sha256sum -c --quiet"
    private = 'd=$(mktemp -d) && trap \'rm -rf "$d"\' EXIT && cd "$d"'
    checked = (
        f"{private} && {fetch} -o {DOWNLOADED} && {check} && echo FARM_TOKEN={token} && cat {DOWNLOADED}"
    )
    text = f"({checked} || echo exit 1) | {RUN}"
    if https:
        return JoinCommand(text)
    return JoinCommand(
        text,
        "The pages have no HTTPS. The installer cannot be changed on the way (the command has its SHA-256), "
        "but logins of these pages can be read: use HTTPS beyond a network of your own.",
    )


def installer(farm: FarmSettings) -> bytes:
    """The installer for workers of this farm: it knows the address and the SHA-256 of the bundle. Raises
    CertificateUnreadable, NoPins."""
    values = {
        "FARM_URL": farm.pages_url.rstrip("/"),
        "FARM_CURL": " ".join(_options(farm)),
        "BUNDLE_SHA256": bundle().sha256,
    }
    text = INSTALLER.read_text()
    for name, value in values.items():
        text = text.replace(f"\n{name}=''", f"\n{name}={shlex.quote(value)}", 1)
    return text.encode()


def _options(farm: FarmSettings) -> tuple[str, ...]:
    """Options of curl, without `-f`. `k` where something else than an authority proves the origin."""
    if urlsplit(farm.pages_url).scheme != "https":
        return ("-sS",)
    only = ("--proto", "=https")
    if farm.pages_certificate:
        return ("-sSk", *only, "--pinnedpubkey", f"sha256//{public_key_pin(Path(farm.pages_certificate))}")
    return ("-sS" if _trusted(farm.pages_url) else "-sSk", *only)


def _quoted(option: str) -> str:
    """`option` as one word of a shell. zsh takes a bare `=https` for the path of a program."""
    return f"'{option}'" if option.startswith("=") else shlex.quote(option)


def _trusted(url: str) -> bool:
    """Whether an authority that machines know can have signed for the name of this URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return parts.scheme == "https" and "." in host and not host.endswith(NOT_PUBLIC)
    return False


def public_key_pin(path: Path) -> str:
    """SHA-256 of the public key of a certificate (PEM), in base64, as curl's `--pinnedpubkey` has it. Raises
    CertificateUnreadable."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CERTIFICATE_BYTES).decode("ascii", "replace")
        begin = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----", begin)
        certificate = ssl.PEM_cert_to_DER_cert(text[begin:end] + "-----END CERTIFICATE-----")
        key = _public_key(certificate)
    except OSError as error:
        raise CertificateUnreadable(
            f"SEEDERFARM_PAGES_CERTIFICATE: {path}: {error.strerror or error}"
        ) from None
    except (ValueError, IndexError):
        raise CertificateUnreadable(
            f"SEEDERFARM_PAGES_CERTIFICATE: {path} has no certificate (PEM)"
        ) from None
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


def _public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate (both DER), RFC 5280 section 4.1. Raises ValueError,
    IndexError."""
    inside = _content(certificate, 0)
    at = _content(certificate, inside.start).start
    if certificate[at] == 0xA0:  # the version, which old certificates lack
        at = _content(certificate, at).stop
    for _ in range(SPKI_FIELD):
        at = _content(certificate, at).stop
    end = _content(certificate, at).stop
    if end > inside.stop:
        raise ValueError("fields are longer than the certificate")
    return certificate[at:end]


def _content(data: bytes, at: int) -> slice:
    """Where the content of the DER value is that begins at `at`."""
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + size]), begin + size
    if begin + length > len(data):
        raise ValueError("a value is longer than the data")
    return slice(begin, begin + length)
