"""Hosts, NAT routers and an internet between them, as network namespaces of this machine.

    with NetLab() as lab:
        home = lab.site("random")            # a router, and a network behind it
        laptop, phone = home.host(), home.host()
        server = lab.site("open").host()     # no router in between

Nothing of it touches the machine's own network: the addresses, public looking ones included, exist inside
alone. A namespace lives as long as the process that holds it, and that one ends with the pipe to its standard
input, so that nothing is left over even of a lab whose process was killed.

Linux NAT in the two flavours that matter to hole punching: `consistent` keeps a socket's port whatever it
sends to, `random` takes another one for every destination. Both let in only what answers something, and what
is sent to a router itself is dropped without a trace, as home routers do.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Literal, TypeVar

Kind = Literal["open", "consistent", "random"]

KINDS: tuple[Kind, ...] = ("open", "consistent", "random")

MASQUERADE = {"consistent": "masquerade persistent", "random": "masquerade fully-random"}

HOPS_THAT_ARRIVE = 32
"""Datagrams that come to the internet with fewer hops left die there: to reach the other side takes many."""

START_SECONDS = 10.0

N = TypeVar("N", bound="Namespace")


class LabUnavailable(Exception):
    """Why there is no lab on this machine."""


def missing() -> str | None:
    """Why the lab cannot be built here, or None when it can."""
    for tool, package in (("ip", "iproute2"), ("nft", "nftables"), ("unshare", "util-linux")):
        if _find(tool) is None:
            return f"`{tool}` is not installed (package {package}): there are no networks to test in"
    try:
        with NetLab() as lab:
            lab.site("random")
    except LabUnavailable as error:
        return str(error)
    return None


def _find(tool: str) -> str | None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return shutil.which(tool, path=path)


def _tool(name: str) -> str:
    found = _find(name)
    if found is None:
        raise LabUnavailable(f"`{name}` is not installed")
    return found


class Namespace:
    """A network stack of its own, held by a process that does nothing else."""

    def __init__(self, name: str, inside: Sequence[str] = ()) -> None:
        """`inside` is the prefix of a command that runs where namespaces may be made."""
        self.name = name
        self._enter: tuple[str, ...] = ()
        flags = [] if inside or os.geteuid() == 0 else ["--user", "--map-root-user"]
        self._holder = subprocess.Popen(
            [*inside, _tool("unshare"), *flags, "--net", "sh", "-c", "echo held; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        ready, _, _ = select.select([self._holder.stdout], [], [], START_SECONDS)
        line = self._holder.stdout.readline().decode() if ready else "nothing"
        if line != "held\n":
            self.close()
            raise LabUnavailable(f"no network namespace can be made here: {line.strip()}")
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        target = str(self._holder.pid)
        self.prefix: tuple[str, ...] = (_tool("nsenter"), "--target", target, *user, "--net")
        """What a command is prefixed with to run in here."""

    @property
    def pid(self) -> int:
        return self._holder.pid

    def run(self, *command: str, text: str | None = None) -> str:
        """Runs a command in here and gives what it printed."""
        done = subprocess.run(
            [*self.prefix, *command], input=text, capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode != 0:
            raise LabUnavailable(f"{self.name}: {' '.join(command)}: {done.stderr.strip() or done.stdout}")
        return done.stdout

    def ip(self, *lines: str) -> None:
        self.run(_tool("ip"), "-batch", "-", text="\n".join(lines) + "\n")

    def nft(self, rules: str) -> None:
        self.run(_tool("nft"), "-f", "-", text=rules)

    def set(self, **values: int) -> None:
        """Kernel settings below net, with `__` for a slash: `ipv4__ip_forward=1`."""
        lines = [
            f"echo {value} > /proc/sys/net/{name.replace('__', '/')}\n" for name, value in values.items()
        ]
        self.run("sh", "-e", text="".join(lines))

    def close(self) -> None:
        for pipe in (self._holder.stdin, self._holder.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            self._holder.wait(5)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()


class Host(Namespace):
    """A machine with one interface, `eth0`, and the address `address`."""

    def wait_for_link(self, name: str) -> None:
        """Returns when the system says that the interface carries something. The kernel may say so up to a
        second late, and meanwhile Node.js does not list the interface's address."""
        end = time.monotonic() + START_SECONDS
        while "LOWER_UP" not in (line := self.run(_tool("ip"), "-oneline", "link", "show", "dev", name)) or (
            "state UP" not in line
        ):
            if time.monotonic() > end:
                raise LabUnavailable(f"{self.name}: {name} does not come up: {line.strip()}")
            time.sleep(0.02)

    def add_bridge(self, name: str, address: str) -> None:
        """A bridge with a container behind it, as Docker makes them."""
        self.ip(
            f"link add {name} type bridge",
            f"address add {address} dev {name}",
            f"link set {name} up",
            f"link add {name}host type veth peer name {name}cont",
            f"link set {name}cont up",
            f"link set {name}host master {name} up",
        )
        self.wait_for_link(name)

    def __init__(self, name: str, inside: Sequence[str], address: str, *, behind_router: bool) -> None:
        super().__init__(name, inside)
        self.address = address
        self.behind_router = behind_router


class Site:
    """Where hosts are: on the internet itself, or behind a router."""

    def __init__(self, lab: NetLab, number: int, kind: Kind) -> None:
        self.kind = kind
        self.number = number
        self._lab = lab
        self._hosts = 0
        self.public = f"11.{number}.1.2"
        """What the internet sees of this site: the router's address, or the first host's."""
        self.router: Namespace | None = None
        if kind != "open":
            self.router = self._make_router(MASQUERADE[kind])

    def host(self) -> Host:
        """One more host."""
        self._hosts += 1
        name = f"site{self.number}host{self._hosts}"
        if self.router is None:
            network = f"11.{self.number}.{self._hosts}"
            host = self._lab.add(Host(name, self._lab.inside, f"{network}.2", behind_router=False))
            self._lab.wire(host, "eth0", network)
            return host
        address = f"192.168.{self.number}.{9 + self._hosts}"
        host = self._lab.add(Host(name, self._lab.inside, address, behind_router=True))
        self._plug_in(host)
        return host

    def _plug_in(self, host: Host) -> None:
        assert self.router is not None
        port = f"lan{self._hosts}"
        self.router.ip(
            f"link add {port} type veth peer name eth0 netns {host.pid}",
            f"link set {port} master lan up",
        )
        host.ip(
            "link set lo up",
            f"address add {host.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via 192.168.{self.number}.1",
        )
        host.wait_for_link("eth0")

    def take_in(self, host: Host) -> None:
        """A host comes here from another site: it unplugs there, and gets an address here."""
        assert self.router is not None, "guests are taken in behind routers"
        host.ip("link delete eth0")
        self._hosts += 1
        host.address = f"192.168.{self.number}.{9 + self._hosts}"
        host.behind_router = True
        self._plug_in(host)

    def move(self) -> None:
        """The provider gives the router another address; with the old one go all ways in."""
        assert self.router is not None, "only routers move"
        network, old = f"11.{self.number}.1", self.public
        self.public = f"{network}.{int(old.rpartition('.')[2]) + 1}"
        self.router.ip(f"address delete {old}/24 dev wan")
        self._wait_until_no_way_is_known()
        self.router.ip(f"address add {self.public}/24 dev wan", f"route replace default via {network}.1")

    def expire_after(self, seconds: int) -> None:
        """How long the router remembers a way that nothing goes through, from now on."""
        assert self.router is not None, "there is no router here"
        self.router.set(
            netfilter__nf_conntrack_udp_timeout=seconds, netfilter__nf_conntrack_udp_timeout_stream=seconds
        )

    def restart_router(self) -> None:
        """The router forgets all that it had let through."""
        assert self.router is not None, "there is no router here"
        self.router.ip("link set wan down")
        self._wait_until_no_way_is_known()
        self.router.ip("link set wan up", f"route replace default via 11.{self.number}.1.1")

    def _wait_until_no_way_is_known(self) -> None:
        """Masquerading drops what it knows of an interface that lost its link or its address, but the kernel
        leaves that to a thread of its own, which comes late on a busy machine."""
        assert self.router is not None
        end = time.monotonic() + START_SECONDS
        while known := int(self.router.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count")):
            if time.monotonic() > end:
                raise LabUnavailable(f"{self.router.name} still knows {known} ways through it")
            time.sleep(0.02)

    def _make_router(self, masquerade: str) -> Namespace:
        router = self._lab.add(Namespace(f"site{self.number}router", self._lab.inside))
        self._lab.wire(router, "wan", f"11.{self.number}.1")
        router.ip(
            "link add lan type bridge",
            f"address add 192.168.{self.number}.1/24 dev lan",
            "link set lan up",
        )
        router.nft(_router_rules(masquerade))
        router.set(ipv4__ip_forward=1)
        return router


def _router_rules(masquerade: str) -> str:
    return f"""
        table ip router {{
            chain out {{
                type nat hook postrouting priority srcnat;
                oifname "wan" {masquerade}
            }}
            chain in {{
                type filter hook input priority filter;
                iifname "wan" ct state new drop
            }}
            chain through {{
                type filter hook forward priority filter;
                iifname "wan" ct state new drop
            }}
            chain own {{
                type filter hook output priority raw;
                oifname "lan" notrack
            }}
            chain local {{
                type filter hook prerouting priority raw;
                iifname "lan" ip daddr {{ 192.168.0.0/16, 224.0.0.0/4, 255.255.255.255 }} notrack
            }}
        }}
    """


class NetLab:
    """An internet; sites are added as they are needed. Everything ends with it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._sites = 0
        self.inside: Sequence[str] = ()
        self.core = self.add(Namespace("internet"))
        try:
            if os.geteuid() != 0:
                user = (_tool("nsenter"), "--target", str(self.core.pid), "--user", "--preserve-credentials")
                self.inside = user
            self.core.ip("link set lo up")
            self.core.nft(
                f"""
                table ip internet {{
                    chain through {{
                        type filter hook forward priority filter;
                        ip ttl < {HOPS_THAT_ARRIVE} drop
                    }}
                }}
                """
            )
            self.core.set(ipv4__ip_forward=1)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> NetLab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def add(self, namespace: N) -> N:
        self._stack.callback(namespace.close)
        return namespace

    def addresses(self, count: int) -> list[str]:
        """So many addresses of the internet itself, for nodes that every host reaches."""
        hosts = [f"11.255.0.{number + 1}" for number in range(count)]
        self.core.ip(*(f"address add {host}/32 dev lo" for host in hosts))
        return hosts

    def site(self, kind: Kind) -> Site:
        self._sites += 1
        return Site(self, self._sites, kind)

    def wire(self, namespace: Namespace, interface: str, network: str) -> None:
        """Connects a namespace to the internet: it is `network`.2, its way out is `network`.1."""
        _, site, host = network.split(".")
        port = f"site{site}_{host}"
        self.core.ip(
            f"link add {port} type veth peer name {interface} netns {namespace.pid}",
            f"address add {network}.1/24 dev {port}",
            f"link set {port} up",
        )
        namespace.ip(
            "link set lo up",
            f"address add {network}.2/24 dev {interface}",
            f"link set {interface} up",
            f"route add default via {network}.1",
        )
