"""Clients by their addresses."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, Field

_REMEMBERED = 10_000


def _networks(clients: dict[str, str]) -> dict[str, str]:
    """Checks that each key is an address or a network. Raises `ValueError`."""
    for address in clients:
        ip_network(address)
    return clients


ByNetwork = Annotated[dict[str, Annotated[str, Field(min_length=1)]], AfterValidator(_networks)]
"""An option: client names by address or network."""


class Networks:
    """Names by address or network; the narrowest network decides."""

    def __init__(self, clients: Mapping[str, str]) -> None:
        networks = [(ip_network(address), name) for address, name in clients.items()]
        self._networks: list[tuple[IPv4Network | IPv6Network, str]] = sorted(
            networks, key=lambda entry: entry[0].prefixlen, reverse=True
        )
        self._known: dict[str, str | None] = {}

    def name(self, address: str) -> str | None:
        """Who is at an address; None when no network holds it, or when it is none."""
        if not self._networks:
            return None
        if address not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[address] = self._look_up(address)
        return self._known[address]

    def _look_up(self, address: str) -> str | None:
        try:
            parsed = ip_address(address)
        except ValueError:
            return None
        if parsed.version == 6 and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return next((name for network, name in self._networks if parsed in network), None)
