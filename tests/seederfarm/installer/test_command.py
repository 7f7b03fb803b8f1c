"""The command that `worker enroll` prints proves where the installer comes from, however the pages are
served."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest

from seederfarm.installer import bundle as module
from seederfarm.installer import command as command_module
from seederfarm.installer.bundle import PINS, _made, bundle
from seederfarm.installer.command import CertificateUnreadable, installer, join_command, public_key_pin
from seederfarm.settings.table import FarmSettings

TOKEN = "sfj1_abc"


def farm(url: str, certificate: str = "") -> FarmSettings:
    return FarmSettings(public_url=url, pages_certificate=certificate)


def text_of(url: str, certificate: str = "") -> str:
    command = join_command(farm(url, certificate), TOKEN)
    assert command is not None
    assert bool(command.warning) is url.startswith("http:")
    return command.text


def test_a_name_that_authorities_sign_for_needs_nothing_else() -> None:
    assert text_of("https://farm.example.org") == (
        "(echo FARM_TOKEN=sfj1_abc && curl -fsS --proto '=https' https://farm.example.org/join/install.sh"
        " || echo exit 1) | sudo sh -s --"
    )
    assert join_command(FarmSettings(), TOKEN) is None, "other machines do not reach the pages"


@pytest.mark.parametrize(
    "url", ["http://farm.example.org", "https://localhost:8443", "https://192.168.1.7", "https://farm.local"]
)
def test_elsewhere_the_command_has_the_sha256_of_the_installer(url: str) -> None:
    digest = hashlib.sha256(installer(farm(url))).hexdigest()
    options = "k --proto '=https'" if url.startswith("https") else ""
    assert text_of(url) == (
        '(d=$(mktemp -d) && trap \'rm -rf "$d"\' EXIT && cd "$d" && '
        f"curl -fsS{options} {url}/join/install.sh -o farm-worker.sh && "
        f"echo '{digest}  farm-worker.sh' | sha256sum -c --quiet && echo FARM_TOKEN=sfj1_abc"
        " && cat farm-worker.sh || echo exit 1) | sudo sh -s --"
    )


@pytest.mark.parametrize("url", ["https://farm.example.org", "http://10.0.0.1"])
def test_the_command_runs_the_installer_with_token_and_options_or_says_that_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    script = b'echo "$FARM_TOKEN $*"\n'
    monkeypatch.setattr(command_module, "installer", lambda farm: script)
    (tmp_path / "installer").write_bytes(script)
    for name, text in (
        ("sudo", 'exec "$@"'),
        (
            "curl",
            f'for to; do :; done; case $to in http*) to=/dev/stdout ;; esac; cat {tmp_path}/installer >"$to"',
        ),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}

    def pasted(options: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-c", text_of(url) + options], env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    assert pasted(" --small --name pi") == (0, "sfj1_abc --small --name pi\n")
    (tmp_path / "installer").unlink()
    assert pasted("") == (1, "")


def test_a_certificate_proves_nothing_where_the_pages_have_no_https(tmp_path: Path) -> None:
    url, certificate = "http://farm.example.org", str(tmp_path / "pages.crt")
    assert text_of(url, certificate) == text_of(url)
    assert installer(farm(url, certificate)) == installer(farm(url))


@pytest.mark.parametrize("kind", ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256", "ed25519"])
def test_a_certificate_of_the_operator_is_pinned_by_its_public_key(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pages.crt"
    command = (
        f"openssl req -x509 -newkey {kind} -noenc -days 2 -subj /CN=farm -keyout {tmp_path}/key -out {path}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    key = subprocess.run(
        f"openssl pkey -in {tmp_path}/key -pubout -outform DER".split(), check=True, capture_output=True
    ).stdout
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    assert public_key_pin(path) == pin
    words = f"--pinnedpubkey sha256//{pin}"
    assert text_of("https://10.0.0.1", str(path)).startswith(
        f"(echo FARM_TOKEN=sfj1_abc && curl -fsSk --proto '=https' {words} https://10.0.0.1/join/"
    )
    assert f"FARM_CURL='-sSk --proto =https {words}'".encode() in installer(
        farm("https://10.0.0.1", str(path))
    )


@pytest.mark.parametrize("text", [None, "", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "pages.crt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CertificateUnreadable, match=r"SEEDERFARM_PAGES_CERTIFICATE: .*pages\.crt"):
        public_key_pin(path)


def test_the_installer_knows_its_farm_and_the_packages_it_is_for() -> None:
    lines = installer(farm("https://farm.example.org/")).decode().splitlines()
    assert "FARM_URL=https://farm.example.org" in lines
    assert f"BUNDLE_SHA256={bundle().sha256}" in lines
    assert "FARM_CURL='-sS --proto =https'" in lines


def test_the_bundle_has_the_packages_of_a_worker_and_the_hashes_of_all_others() -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle().data)) as archive:
        files = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    wheels = {
        name.partition("-")[0]: zipfile.ZipFile(io.BytesIO(data))
        for name, data in files.items()
        if name.endswith(".whl")
    }
    assert {name for wheel in wheels.values() for name in wheel.namelist()} >= {
        *("hypercore/py.typed", "workers/agent/run.py", "workers/state/migrations/env.py"),
        *("farmwire/join.py", "seederfarm/cli/worker/run.py"),
    }
    pins = files[PINS].decode()
    assert "\ncelery==" in pins and "\nPyNaCl==" in pins and "\nDjango==" not in pins
    assert not any(name.endswith(".pyc") for wheel in wheels.values() for name in wheel.namelist())
    _made.cache_clear()
    assert hashlib.sha256(bundle().data).hexdigest() == bundle().sha256, "each process names the same"


def test_threads_that_ask_at_the_same_time_make_one_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    both, made = Barrier(2), []

    def tar(files: dict[str, bytes]) -> bytes:
        made.append(files)
        with suppress(BrokenBarrierError):
            both.wait(0.3)
        return b"archive"

    monkeypatch.setattr(module, "_tar", tar)
    _made.cache_clear()
    try:
        with ThreadPoolExecutor(2) as threads:
            assert len({found.sha256 for found in threads.map(lambda _: bundle(), range(2))}) == 1
    finally:
        _made.cache_clear()
    assert len(made) == 1
