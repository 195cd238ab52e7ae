"""The addresses of this machine's network interfaces, as ifaddr lists them (M02)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ifaddr
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable


class Interface(Struct, frozen=True, order=True):
    """One network interface that has an address."""

    index: int
    name: str
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]  # link-local ones with their zone, e.g. fe80::1%eth0

    @property
    def is_loopback(self) -> bool:
        """Whether it leads nowhere but to this machine."""
        return any(address.startswith("127.") for address in self.ipv4) or self.ipv6 == ("::1",)


def list_interfaces() -> tuple[Interface, ...]:
    """The interfaces of now, in a stable order; comparing two answers tells whether the network changed."""
    found = []
    for adapter in ifaddr.get_adapters():
        ipv4, ipv6 = [], []
        for ip in adapter.ips:
            if isinstance(ip.ip, str):
                ipv4.append(ip.ip)
            else:
                host, _, scope = ip.ip
                ipv6.append(f"{host}%{adapter.name}" if scope else host)
        found.append(Interface(adapter.index or 0, adapter.name, tuple(sorted(ipv4)), tuple(sorted(ipv6))))
    return tuple(sorted(found))


def outward(interfaces: Iterable[Interface]) -> list[Interface]:
    """Those that lead to others; the loopback when there is no other, so that nodes on one machine meet."""
    interfaces = list(interfaces)
    others = [interface for interface in interfaces if not interface.is_loopback]
    return others or interfaces
