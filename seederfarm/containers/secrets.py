"""Secrets of a farm in containers: passwords, the broker's certificate. Each is made once, into a file.

| file | read by |
|---|---|
| `HOME/secrets/database_url`, `redis_url`, `metrics_token` | the farm's own processes |
| `HOME/secrets/ca.key`, `ca.crt` | this module; it signs the broker's certificate |
| `HOME/worker/metrics_token` | the worker of this machine |
| `postgres/password` | PostgreSQL |
| `redis/farm.acl`, `tls.key`, `tls.crt`, `ca.crt` | Redis |
| `monitoring/farm_token`, `worker_token`, `grafana_password` | Prometheus, Grafana |

The servers run as users of their own, in the group of the farm's user: files that they read have mode 0440,
in volumes that no other container has. Running it again keeps what there is; the certificate is made anew a
month before it ends, or for another name.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..settings.secrets import private_directory, secret_file

PASSWORD_BYTES: Final = 32
FARM_RULES: Final = (
    "~farm:* &* +@all -@dangerous +info +client|list +acl|list +acl|setuser +acl|deluser +acl|log +acl|save"
)
"""Rights of the farm's account at the broker: those of docs/security.md."""
CA_DAYS: Final = 3650
CERTIFICATE_DAYS: Final = 397
RENEW_SECONDS: Final = 30 * 86400
"""Rest of a certificate's life at which it is made anew."""
READ_BY_GROUP: Final = 0o440


class NoCertificate(Exception):
    """openssl failed; the text has its reason."""


def make_secrets(home: Path, servers: Path, host: str) -> None:
    """Make what is missing below `home` (SEEDERFARM_HOME) and `servers` (a directory for each server).
    `host`: the name or address at which workers reach the broker.

    Raises NoCertificate, OSError, ValueError for a host that is none.
    """
    check_host(host)
    own = private_directory(home / "secrets")
    database = _text(own / "database_password")
    _hand_out(servers / "postgres" / "password", database)
    secret_file(own / "database_url", lambda: f"postgresql://farm:{database}@postgres:5432/farm\n".encode())
    broker = _text(own / "redis_password")
    secret_file(own / "redis_url", lambda: f"redis://farm:{broker}@redis:6379/0\n".encode())
    digest = hashlib.sha256(broker.encode()).hexdigest()
    _hand_out(servers / "redis" / "farm.acl", f"user farm on #{digest} {FARM_RULES}")
    _certificate(own, servers / "redis", host)
    _hand_out(servers / "monitoring" / "farm_token", _text(own / "metrics_token"))
    private_directory(home / "worker")
    _hand_out(servers / "monitoring" / "worker_token", _text(home / "worker" / "metrics_token"))
    _hand_out(servers / "monitoring" / "grafana_password", _text(own / "grafana_password"))
    # A volume that is not empty keeps its owner when another image mounts it
    (servers / "caddy" / ".made").touch(mode=0o600)


def check_host(host: str) -> None:
    """Check the name of a host. Raises ValueError if it is neither a name nor an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        good = all(label and label.replace("-", "a").isalnum() and label.isascii() for label in labels)
        if not good or len(host) > 253:
            raise ValueError(f"{host!r} is no host name or address, such as farm.example.org") from None


def _text(path: Path) -> str:
    """The secret in a file of ours, made on first use."""
    return secret_file(path, lambda: secrets.token_urlsafe(PASSWORD_BYTES).encode() + b"\n").decode().strip()


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _hand_out(path: Path, text: str) -> None:
    """Write a copy for a server, unless it is there already."""
    wanted = f"{text}\n".encode()
    try:
        if path.read_bytes() == wanted:
            return
    except FileNotFoundError:
        pass
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
        os.fchmod(file.fileno(), READ_BY_GROUP)  # whatever the umask
        file.write(wanted)
    temporary.replace(path)


def _certificate(own: Path, server: Path, host: str) -> None:
    """The broker's certificate for `host` and the name `redis`, signed by an authority of this farm."""
    authority, its_key = own / "ca.crt", own / "ca.key"
    if not authority.exists():
        _key(its_key)
        _openssl(
            *(
                "req",
                "-x509",
                "-new",
                "-key",
                str(its_key),
                "-days",
                str(CA_DAYS),
                "-subj",
                "/CN=Seeder Farm",
            ),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", str(authority)),
        )
    certificate, key = own / "redis.crt", own / "redis.key"
    names = f"DNS:redis,{'IP' if _is_address(host) else 'DNS'}:{host}"
    made_for = own / "redis.names"
    if not _lasts(certificate) or not made_for.exists() or made_for.read_text() != names:
        _key(key)
        request = own / "redis.csr"
        _openssl("req", "-new", "-key", str(key), "-subj", "/CN=broker", "-out", str(request))
        extensions = own / "redis.ext"
        _write(extensions, f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(its_key)),
            *("-set_serial", str(secrets.randbits(120)), "-days", str(CERTIFICATE_DAYS)),
            *("-extfile", str(extensions), "-out", str(certificate)),
        )
        _write(made_for, names)
    for source, name in ((certificate, "tls.crt"), (key, "tls.key"), (authority, "ca.crt")):
        _hand_out(server / name, source.read_text().strip())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _lasts(certificate: Path) -> bool:
    if not certificate.exists():
        return False
    command = ["openssl", "x509", "-checkend", str(RENEW_SECONDS), "-noout", "-in", str(certificate)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _key(path: Path) -> None:
    path.unlink(missing_ok=True)
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
    path.chmod(0o600)


def _openssl(*arguments: str) -> None:
    command: Sequence[str] = ("openssl", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o077)
    if done.returncode:
        raise NoCertificate(f"openssl {arguments[0]}: {done.stderr.strip()}")
