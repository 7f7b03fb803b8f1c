"""A container engine of a test's own: podman with its storage, networks and images below one directory.

There is no registry: the base image is debootstrapped from the mirror of the machine, and the images that
docker-compose.yml names are made of Debian's packages. Whatever the machine needs to reach mirror and package
index (certificates, configuration of pip) is read from the machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

TOOLS: Final = ("podman", "buildah", "runc", "debootstrap", "iptables", "catatonit")
BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
SUITE: Final = "bookworm"
STAND_INS: Final = Path(__file__).parents[1] / "deploy" / "stand-ins"
PYTHON_BASE: Final = "docker.io/library/debian:bookworm-slim"
BUILD_TIMEOUT: Final = 600.0
"""Seconds for one step of making images, on a busy machine."""

CONTAINERS_CONF: Final = """\
[containers]
default_ulimits=["nofile=1024:1024","nproc=1000:1000"]
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="file"
[network]
network_backend="netavark"
network_config_dir="{folder}/networks"
"""
STORAGE_CONF: Final = '[storage]\ndriver="overlay"\ngraphroot="{folder}/graph"\nrunroot="{folder}/run"\n'
PODMAN: Final = """\
#!/bin/sh
# podman 4.3 does not start what requires a container that has ended, as `migrate` does: podman-compose starts
# them in order by itself. And it has no file systems in memory beside those that the compose file names.
for argument; do
    shift
    case $argument in
    --requires=*) ;;
    --read-only) set -- "$@" "$argument" --read-only-tmpfs=false ;;
    *) set -- "$@" "$argument" ;;
    esac
done
exec podman "$@"
"""


class ContainerError(AssertionError):
    """A command of the engine failed; the text has the end of its output."""


def missing() -> str | None:
    """Why no containers can run here; None if they can."""
    if os.geteuid() != 0:
        return "containers of tests need root"
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/libexec/podman"
    lacking = [name for name in TOOLS if shutil.which(name, path=search) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed: `./farm test --deploy` installs them as root on Debian"
    return None if mirror() else "the machine's apt names no mirror of Debian"


def mirror() -> str | None:
    """The first mirror of Debian that the machine's apt uses."""
    folder = Path("/etc/apt")
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))):
        if path.suffix in (".list", ".sources") and path.is_file():
            found = re.search(
                r"^(?:URIs:|deb(?: \[.*?\])?)\s+(https?://\S*debian\S*)", path.read_text(), re.MULTILINE
            )
            if found is not None and "security" not in found[1]:
                return found[1]
    return None


class Engine:
    """Podman and buildah below `folder`. `close` removes everything that it made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "containers.conf").write_text(CONTAINERS_CONF.format(folder=folder))
        (folder / "storage.conf").write_text(STORAGE_CONF.format(folder=folder))
        self._podman = folder / "podman"
        self._podman.write_text(PODMAN)
        self._podman.chmod(0o755)
        search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        self.env = dict(os.environ) | {
            "PATH": search,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    def run(
        self, *command: str | Path, timeout: float = 120.0, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the engine. Raises ContainerError."""
        done = subprocess.run(
            [str(part) for part in command],
            **{"env": self.env, "cwd": cwd or self.folder, "timeout": timeout},
            **{"capture_output": True, "text": True, "errors": "replace", "check": False},
        )
        if check and done.returncode:
            shown = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
            raise ContainerError(f"{' '.join(map(str, command[:4]))} ended with {done.returncode}:\n{shown}")
        return done

    def podman(self, *arguments: str, timeout: float = 120.0, check: bool = True) -> str:
        return self.run("podman", *arguments, timeout=timeout, check=check).stdout

    # --- images

    def make_images(self, farms: Mapping[str, Path]) -> None:
        """The stand-ins, and an image of each tree of sources: name → directory with a Dockerfile."""
        self._make_base()
        with ThreadPoolExecutor(2) as threads:
            servers = threads.submit(self.build, "localhost/servers", STAND_INS)
            for name, sources in farms.items():
                self.build(name, sources)
            servers.result()

    def build(self, name: str, sources: Path) -> None:
        self.run(
            *("buildah", "bud", "--layers", "--isolation", "chroot", "-t", name, sources),
            timeout=BUILD_TIMEOUT,
        )

    def _make_base(self) -> None:
        """`localhost/base`, Debian alone, and what stands for the base image of the Dockerfile."""
        root = self.folder / "base"
        found = mirror()
        assert found is not None, missing()
        command = ("debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, root, found)
        self.run(*command, timeout=BUILD_TIMEOUT)
        archive = self.folder / "base.tar"
        self.run("tar", "-C", root, "-cf", archive, ".", timeout=BUILD_TIMEOUT)
        self.run("podman", "import", archive, "localhost/base", timeout=BUILD_TIMEOUT)
        archive.unlink()
        shutil.rmtree(root)
        self.build(PYTHON_BASE, self._machine())

    def _machine(self) -> Path:
        """What lets pip in a container reach the index that pip of this machine uses."""
        context = self.folder / "machine"
        context.mkdir()
        lines = ["FROM localhost/base"]
        if BUNDLE.is_file():
            shutil.copyfile(BUNDLE, context / "bundle.crt")
            lines += [f"COPY bundle.crt {BUNDLE}", f"ENV PIP_CERT={BUNDLE}"]
        if Path("/etc/pip.conf").is_file():
            shutil.copyfile("/etc/pip.conf", context / "pip.conf")
            lines.append("COPY pip.conf /etc/pip.conf")
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT"):
            if name in os.environ:
                lines.append(f'ENV {name}="{os.environ[name]}"')
        (context / "Dockerfile").write_text("\n".join(lines) + "\n")
        return context

    # --- compose

    def compose(self, project: Path, *arguments: str, timeout: float = 240.0) -> str:
        """Run podman-compose on the docker-compose.yml of a directory."""
        program = Path(sys.executable).parent / "podman-compose"
        command: Sequence[str | Path] = (program, "--podman-path", self._podman, *arguments)
        return self.run(*command, timeout=timeout, cwd=project).stdout

    def close(self) -> None:
        for arguments in (("rm", "-f", "-a", "-t", "1"), ("system", "reset", "-f")):
            self.podman(*arguments, check=False, timeout=BUILD_TIMEOUT)
        shutil.rmtree(self.folder, ignore_errors=True)
