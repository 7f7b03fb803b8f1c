"""The certificate by which workers know the broker."""

from __future__ import annotations

import ssl
from base64 import b64encode
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from farmwire.join import MAX_AUTHORITY_CHARS
from seederfarm.settings.table import FarmSettings

BEGIN: Final = "-----BEGIN CERTIFICATE-----"
END: Final = "-----END CERTIFICATE-----"
PARAMETER: Final = "ssl_ca_certs"
"""Of redis-py: a file of this machine, which means nothing on another."""
MAX_FILE_BYTES: Final = 64 * 1024
"""Above this it is a machine's whole list of authorities."""


class AuthorityUnreadable(ValueError):
    """The file is missing, or has no certificate that a token can carry."""


def authority_of(url: str, farm: FarmSettings) -> tuple[str, str]:
    """The broker's URL without files of this machine, and the certificate of its authority, DER in base64.

    The file is that of SEEDERFARM_BROKER_CA, else the one that this URL or REDIS_URL names. Empty where there
    is none, where the URL has no TLS, and where the file of a URL is a list of many authorities. A URL that
    names a file which is not here stays as it is: the worker has that file. Raises AuthorityUnreadable.
    """
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return url, ""
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in query if name != PARAMETER]
    own = dict(parse_qsl(urlsplit(farm.redis_url).query))
    at_worker = dict(query).get(PARAMETER)
    if at_worker and not Path(at_worker).exists():
        return url, ""
    named = at_worker or own.get(PARAMETER, "")
    given = farm.broker_authority
    found = _certificates(Path(given or named)) if given or named else []
    if given and len(found) != 1:
        raise AuthorityUnreadable(
            f"SEEDERFARM_BROKER_CA: {given} has {len(found)} certificates: expected one"
        )
    return urlunsplit(parts._replace(query=urlencode(kept))), found[0] if len(found) == 1 else ""


def _certificates(path: Path) -> list[str]:
    """Those of a PEM file. None of a file that is larger than one for a single authority."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return []
        text = path.read_text("ascii", "replace")
    except OSError as error:
        raise AuthorityUnreadable(f"{path}: {error.strerror or error}") from None
    found = []
    for part in text.split(BEGIN)[1:]:
        pem = f"{BEGIN}{part.partition(END)[0]}{END}"
        try:
            der = ssl.PEM_cert_to_DER_cert(pem)
            ssl.create_default_context(cadata=pem)
        except (ValueError, ssl.SSLError):
            raise AuthorityUnreadable(f"{path}: a certificate in it is damaged") from None
        found.append(b64encode(der).decode())
    if any(len(each) > MAX_AUTHORITY_CHARS for each in found):
        raise AuthorityUnreadable(
            f"{path}: a certificate in it is larger than {MAX_AUTHORITY_CHARS} characters"
        )
    return found
