"""The units of systemd and the files for new servers are well-formed, and agree with the program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from seederfarm.containers.roles import ROLES

from ..support.paths import ROOT

UNITS = ROOT / "deploy" / "systemd"
PYTHON = "/opt/seederfarm/venv/bin/python"
HARDENED = ("NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "User=seederfarm")


def test_systemd_takes_every_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not installed: systemd checks no unit here")
    for path in UNITS.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(UNITS)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(path.read_text().replace(PYTHON, "/bin/true"))
    template = (tmp_path / "seederfarm@.service").read_text()
    units = [tmp_path / "seederfarm.target", tmp_path / "seederfarm-migrate.service"]
    for role in ROLES:
        units.append(tmp_path / f"seederfarm@{role}.service")
        units[-1].write_text(template)
    done = subprocess.run([verify, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_target_starts_every_role_and_all_of_them_are_confined() -> None:
    started = set(re.findall(r"seederfarm@(\w+)\.service", (UNITS / "seederfarm.target").read_text()))
    assert started == set(ROLES)
    for name in ("seederfarm@.service", "seederfarm-migrate.service"):
        lines = (UNITS / name).read_text().splitlines()
        assert [line for line in HARDENED if line not in lines] == [], name
        assert any(line.startswith(f"ExecStart={PYTHON} -m seederfarm.containers ") for line in lines)
    for role in ("worker", "gateway"):
        dropped = (UNITS / f"seederfarm@{role}.service.d" / "no-secrets.conf").read_text()
        assert "\nEnvironmentFile=\n" in dropped and "/control_key" in dropped


@pytest.mark.parametrize("path", ["deploy/cloud-init.yaml", "deploy/pi/user-data.yaml"])
def test_user_data_is_of_cloud_init_and_its_commands_parse(path: str) -> None:
    text = (ROOT / path).read_text()
    assert text.startswith("#cloud-config\n")
    for command in yaml.safe_load(text)["runcmd"]:
        if isinstance(command, list):  # its words are seen by every user of the machine
            assert command[:2] == ["sh", "-c"] and len(command) == 3 and "TOKEN" not in command[2]
            command = command[2]
        subprocess.run(["sh", "-n", "-c", command], check=True)


def test_the_script_for_a_server_refuses_what_is_no_name(tmp_path: Path) -> None:
    script = ROOT / "deploy" / "vps.sh"
    for words in ((), ("farm example",), ("-x",), ("a;b",)):
        done = subprocess.run(["sh", script, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr.startswith("vps.sh: ") and done.stderr.count("\n") == 1
