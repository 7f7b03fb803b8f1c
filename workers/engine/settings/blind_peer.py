"""Settings of a blind peer."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypercore.errors import KeyFormatError
from hypercore.keys import EXPECTED, decode_key

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class BanList:
    """Peers that are refused: by public key, and by the address they dial from."""

    keys: frozenset[bytes] = frozenset()
    networks: tuple[Network, ...] = ()

    def has_key(self, public_key: bytes) -> bool:
        """Whether a public key is on the list."""
        return public_key in self.keys

    def has_host(self, host: str) -> bool:
        """Whether an address is on the list. False for what is none."""
        if not self.networks:
            return False
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindPeerSettings:
    """See the module."""

    trusted: frozenset[bytes] = frozenset()
    """Public keys of clients that may have cores announced, and delete them."""
    bans: BanList = BanList()
    clients: frozenset[bytes] | None = None
    """Public keys of the clients that may name cores, beside trusted ones. None: any."""
    max_cores: int | None = None
    """Cores that one client may name first. None: the engine's own bound."""
    max_bytes: int | None = None
    """Bytes that these take of the room. None: what there is."""

    def may_ask(self, public_key: bytes) -> bool:
        """Whether a client may name cores. What is kept is served to any peer."""
        return self.clients is None or public_key in self.clients or public_key in self.trusted

    def to_fields(self) -> dict[str, Any]:
        """For a child process, as JSON."""
        bans = [key.hex() for key in sorted(self.bans.keys)] + [
            str(network) for network in self.bans.networks
        ]
        clients = None if self.clients is None else _hex(self.clients)
        return {
            "trusted": _hex(self.trusted),
            "clients": clients,
            "bans": bans,
            "max_cores": self.max_cores,
            "max_bytes": self.max_bytes,
        }

    def to_text(self) -> str:
        """For the command line of a child process."""
        return json.dumps(self.to_fields())

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> BlindPeerSettings:
        """Raises KeyError, TypeError or ValueError for what `to_fields` does not make."""
        clients, max_cores, max_bytes = fields["clients"], fields["max_cores"], fields["max_bytes"]
        return cls(
            trusted=frozenset(map(bytes.fromhex, fields["trusted"])),
            bans=parse_bans(fields["bans"]),
            clients=None if clients is None else frozenset(map(bytes.fromhex, clients)),
            max_cores=None if max_cores is None else int(max_cores),
            max_bytes=None if max_bytes is None else int(max_bytes),
        )

    @classmethod
    def from_text(cls, text: str) -> BlindPeerSettings:
        """Raises KeyError, TypeError or ValueError for what `to_text` does not write."""
        return cls.from_fields(json.loads(text))


def parse_bans(texts: Iterable[str]) -> BanList:
    """A ban list of public keys, addresses and networks (10.0.0.0/8). Raises ValueError with what was
    expected."""
    keys: set[bytes] = set()
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text.strip(), strict=False))
            continue
        except ValueError:
            pass
        try:
            keys.add(decode_key(text))
        except KeyFormatError:
            raise ValueError(
                f"{text[:80]!r} is neither an address (192.0.2.7, 2001:db8::/32) nor a public key: "
                f"a key is {EXPECTED}"
            ) from None
    return BanList(frozenset(keys), tuple(networks))


def _hex(keys: Iterable[bytes]) -> list[str]:
    return sorted(key.hex() for key in keys)
