"""Addresses that sources may be read from."""

from __future__ import annotations

from ..outbound import addresses
from .list_formats import SourceError


class Forbidden(SourceError):
    """A source, or a redirect of one, has an address that sources are not read from."""


class AddressPolicy(addresses.AddressPolicy):
    """Allows public addresses, and those of SEEDERFARM_SOURCE_NETWORKS."""

    def refusal(self, host: str, address: str) -> Forbidden:
        """The error for an address that may not be contacted, with the setting that would allow it."""
        what = f"{host} is at {address}, which is not" if host.strip("[]") != address else f"{host} is not"
        return Forbidden(
            f"{what} a public address: "
            "sources are not read from there (SEEDERFARM_SOURCE_NETWORKS can allow it)"
        )
