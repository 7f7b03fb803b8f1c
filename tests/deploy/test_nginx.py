"""nginx with the sample of deploy/nginx in front of the pages."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from ..support.control_processes import ControlPlane
from ..support.databases import FarmDatabase
from ..support.paths import ROOT
from ..support.ports import free_port
from ..support.redis import make_certificates
from ..support.require import require
from ..support.waiting import eventually

SAMPLE: Final = ROOT / "deploy" / "nginx" / "seederfarm.conf"
NAME: Final = "farm.example.org"
AROUND: Final = """\
daemon off;
pid {place}/pid;
error_log {place}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    include {place}/seederfarm.conf;
}}
"""
"""What Debian has in /etc/nginx/nginx.conf, for a directory of the test's own."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, list[str]]
    body: str


def sample(place: Path, *, pages: int, http: int, https: int) -> str:
    """The sample with this machine's ports and certificate in place of its own."""
    text = SAMPLE.read_text()
    tls = place / "tls"
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen [::]:80;", f"listen [::1]:{http};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{https} ssl;"),
        ("listen [::]:443 ssl;", f"listen [::1]:{https} ssl;"),
        (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(tls / "server.crt")),
        (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(tls / "server.key")),
        ("http://127.0.0.1:8000", f"http://127.0.0.1:{pages}"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("farm_database", ["sqlite"], indirect=True)
def test_the_sample_answers_for_the_pages(
    committing_database: FarmDatabase, processes: ExitStack, tmp_path: Path
) -> None:
    nginx = shutil.which("nginx", path=f"{ROOT / '.venv/bin'}:/usr/sbin:/usr/bin")
    require(None if nginx else "nginx is not installed: `./farm test --deploy` fetches it on Debian")
    assert nginx is not None
    plane = ControlPlane(
        tmp_path,
        bootstrap=[],
        DATABASE_URL=committing_database.url,
        SEEDERFARM_HTTPS="true",
        SEEDERFARM_ALLOWED_HOSTS=NAME,
        SEEDERFARM_PROXIES="127.0.0.1",
    )
    processes.callback(plane.dispose)
    pages = plane.web()
    http, https = free_port(), free_port()
    make_certificates(tmp_path / "tls")
    ours = sample(tmp_path, pages=int(plane.home.env["SEEDERFARM_WEB_PORT"]), http=http, https=https)
    (tmp_path / "seederfarm.conf").write_text(ours)
    (tmp_path / "nginx.conf").write_text(AROUND.format(place=tmp_path))
    command = (nginx, "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log"))
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0 and "[warn]" not in tested.stderr, tested.stderr
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    processes.callback(server.wait)
    processes.callback(server.terminate)

    def get(path: str, *, secure: bool = True) -> Answer:
        """As a browser elsewhere does that has the name of the farm."""
        scheme, port = ("https", https) if secure else ("http", http)
        asked = subprocess.run(
            ["curl", "-sk", "-m", "30", "--resolve", f"{NAME}:{port}:127.0.0.1", "-o", tmp_path / "answer",
             "-w", "%{http_code} %{header_json}", f"{scheme}://{NAME}:{port}{path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        status, _, headers = asked.stdout.partition(" ")
        body = (tmp_path / "answer").read_text() if (tmp_path / "answer").exists() else ""
        return Answer(int(status or 0), json.loads(headers or "{}"), body)

    eventually(lambda: get("/livez").status == 200, timeout=60, what=f"the pages\n{pages.tail()}", every=0.2)
    login = get("/login/")
    assert login.status == 200 and "csrfmiddlewaretoken" in login.body
    assert any("Secure" in cookie for cookie in login.headers["set-cookie"]), (
        "the pages know that it is HTTPS"
    )
    assert get("/metrics").status == 404
    plain = get("/drives/?q=a", secure=False)
    assert (plain.status, plain.headers["location"]) == (301, [f"https://{NAME}/drives/?q=a"])
    other = subprocess.run(
        ["curl", "-sk", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}", f"https://127.0.0.1:{https}/livez"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert other.stdout == "400", "another name is not that of the farm"
