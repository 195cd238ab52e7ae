"""Announcements by UDP multicast, on every interface, IPv4 and IPv6 (M02).

Group 239.255.42.42 and port 42424 are the specification's; it names no IPv6 group, ours is the link-local ff02::2a2a.
A datagram stays on its link (TTL 1). What cannot be joined or sent on one interface never stops the others.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hearthnet.adapters.network_interfaces import Interface, list_interfaces, outward
from hearthnet.base.constants import DISCOVERY_GROUP, DISCOVERY_PORT
from hearthnet.base.errors import BadRequest
from hearthnet.base.log import sanitise
from hearthnet.ports import Address, Sighting
from hearthnet.wire.discovery import HINT_MAX_BYTES, Hint, decode_hint, encode_hint

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

GROUP_V6: Final = "ff02::2a2a"
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


class UdpAnnouncer:
    """Implements `ports.Announcer`."""

    def __init__(self, group: str = DISCOVERY_GROUP, port: int = DISCOVERY_PORT) -> None:
        self._group = group
        self._port = port
        self._links: dict[socket.AddressFamily, asyncio.DatagramTransport] = {}
        self._interfaces: tuple[Interface, ...] = ()
        self._joined: set[tuple[socket.AddressFamily, int, str]] = set()

    async def open(self, listener: Callable[[Sighting], None]) -> None:
        """Listen on both families where this machine has them."""
        loop = asyncio.get_running_loop()
        for family in _FAMILIES:
            try:
                sock = _bound_socket(family, self._port)
            except OSError as error:
                log.warning("no %s discovery: %s", family.name, error.strerror)
                continue
            transport, _ = await loop.create_datagram_endpoint(lambda: _Receiver(listener), sock=sock)
            self._links[family] = transport
        self.refresh()

    def refresh(self) -> bool:
        """Join the group on interfaces that came; whether anything changed since the last look."""
        interfaces = list_interfaces()
        if interfaces == self._interfaces:
            return False
        self._interfaces = interfaces
        present = set()
        for interface in outward(interfaces):
            for family, transport in self._links.items():
                for place in _places(family, interface):
                    present.add((family, interface.index, place))
                    if (family, interface.index, place) not in self._joined:
                        self._join(family, transport, interface, place)
        self._joined &= present  # an interface that comes back is joined again
        return True

    async def announce(self, hint: Hint) -> None:
        """One datagram on every interface and family."""
        data = encode_hint(hint)
        for family, index, place in sorted(self._joined):
            link = self._links[family]
            sock: socket.socket = link.get_extra_info("socket")
            try:
                if family == socket.AF_INET:
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(place))
                    link.sendto(data, (self._group, self._port))
                else:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
                    link.sendto(data, (GROUP_V6, self._port, 0, index))
            except OSError as error:  # the link is down or full: the next turn tries again
                log.debug("no announcement on %s: %s", place, error.strerror)

    async def look(self, active: bool) -> None:
        """Nothing to do: hearing costs the link nothing."""

    async def close(self) -> None:
        """Leave all groups."""
        for transport in self._links.values():
            transport.close()
        self._links.clear()
        self._joined.clear()
        await asyncio.sleep(0)  # the sockets close in the next turn of the loop

    def _join(
        self, family: socket.AddressFamily, transport: asyncio.DatagramTransport, interface: Interface, place: str
    ) -> None:
        sock: socket.socket = transport.get_extra_info("socket")
        try:
            if family == socket.AF_INET:
                request = socket.inet_aton(self._group) + socket.inet_aton(place)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                request = socket.inet_pton(socket.AF_INET6, GROUP_V6) + struct.pack("@I", interface.index)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        except OSError as error:
            log.info("no discovery on %s: %s", interface.name, error.strerror)
            return
        self._joined.add((family, interface.index, place))


class _Receiver(asyncio.DatagramProtocol):
    """Turns datagrams into sightings; what is no hint is dropped."""

    def __init__(self, listener: Callable[[Sighting], None]) -> None:
        self._listener = listener

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if len(data) > HINT_MAX_BYTES:
            return
        try:
            hint = decode_hint(data)
        except BadRequest as error:
            log.debug("no hint from %s: %s", sanitise(addr[0]), sanitise(error.detail))
            return
        self._listener(Sighting(hint, (Address(_host_of(addr), hint.port),), "udp"))

    def error_received(self, exc: Exception) -> None:
        log.debug("discovery: %s", exc)


def _bound_socket(family: socket.AddressFamily, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # several nodes on one machine
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            sock.bind(("", port))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            sock.bind(("::", port))
    except OSError:
        sock.close()
        raise
    return sock


def _host_of(addr: tuple[Any, ...]) -> str:
    """The sender's address; a link-local one with its zone, without which it leads nowhere."""
    host = str(addr[0])
    if len(addr) == 4 and addr[3] and "%" not in host:
        with suppress(OSError):  # the interface went away meanwhile
            return f"{host}%{socket.if_indextoname(addr[3])}"
    return host


def _places(family: socket.AddressFamily, interface: Interface) -> tuple[str, ...]:
    """What the family joins on an interface: each IPv4 address; for IPv6 the interface itself, once."""
    if family == socket.AF_INET:
        return interface.ipv4
    return interface.ipv6[:1]
