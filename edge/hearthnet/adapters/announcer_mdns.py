"""Announcements by mDNS service discovery, through python-zeroconf (M02, RFC 6762 and 6763).

The record answers whoever asks; this node itself asks only while `announce` says that it looks for others (bootstrap),
so that a crowd does not answer everyone for ever.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from zeroconf import Error, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from hearthnet.adapters.network_interfaces import list_interfaces, outward
from hearthnet.base.constants import CONTRACT_VERSIONS
from hearthnet.base.errors import BadRequest
from hearthnet.base.log import sanitise
from hearthnet.ports import Address, Sighting
from hearthnet.wire.discovery import MDNS_TYPE, Hint, decode_txt, encode_txt, instance_name

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_RESOLVE_WITHIN_MS: Final = 3000
_RESOLVING_MAX: Final = 16
_ADDRESSES_MAX: Final = 8


class MdnsAnnouncer:
    """Implements `ports.Announcer`."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._info: AsyncServiceInfo | None = None
        self._hint: Hint | None = None
        self._hosts: tuple[str, ...] = ()
        self._resolving: set[asyncio.Task[None]] = set()
        self._listener: Callable[[Sighting], None] = _ignore

    async def open(self, listener: Callable[[Sighting], None]) -> None:
        """Begin to look for others. A machine where mDNS cannot be used goes without, and says so in the log."""
        self._listener = listener
        self._hosts = _own_hosts()
        try:
            self._zeroconf = AsyncZeroconf(interfaces=list(self._hosts), ip_version=IPVersion.All)
            await self._zeroconf.zeroconf.async_wait_for_start()
        except (OSError, RuntimeError, Error) as error:
            log.warning("no mDNS discovery: %s", sanitise(repr(error), 200))
            return
        self._browse()

    def refresh(self) -> bool:
        """Whether the addresses changed; mDNS then begins anew at the next announcement."""
        return _own_hosts() != self._hosts

    async def announce(self, hint: Hint) -> None:
        """Register the record, or change it when the hint did."""
        if self.refresh():
            await self.close()
            await self.open(self._listener)
        if self._zeroconf is None or hint == self._hint:
            return
        info = self._describe(hint)
        try:
            if self._info is None:
                await (await self._zeroconf.async_register_service(info, allow_name_change=True))
            else:
                await (await self._zeroconf.async_update_service(info))
        except (OSError, Error) as error:
            log.warning("mDNS record not registered: %s", sanitise(repr(error), 200))
            return
        self._hint, self._info = hint, info

    async def look(self, active: bool) -> None:
        """Ask for others, or stop asking once enough are known; the record stays."""
        if active and self._browser is None:
            self._browse()
        elif not active and self._browser is not None:
            browser, self._browser = self._browser, None
            await browser.async_cancel()

    async def close(self) -> None:
        """Withdraw the record (goodbye) and stop."""
        for task in self._resolving:
            task.cancel()
        zeroconf, self._zeroconf = self._zeroconf, None
        browser, self._browser = self._browser, None
        self._info = self._hint = None
        if browser is not None:
            await browser.async_cancel()
        if zeroconf is not None:
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()

    def _browse(self) -> None:
        if self._zeroconf is not None:
            self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, MDNS_TYPE, handlers=[self._changed])

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed or len(self._resolving) >= _RESOLVING_MAX:
            return
        task = asyncio.get_running_loop().create_task(self._resolve(zeroconf, service_type, name))
        self._resolving.add(task)
        task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        info = AsyncServiceInfo(service_type, name)
        if not await info.async_request(zeroconf, _RESOLVE_WITHIN_MS) or not info.port:
            return
        try:
            hint = decode_txt(info.properties, info.port)
        except BadRequest as error:
            log.debug("no hint in %s: %s", sanitise(name), sanitise(error.detail))
            return
        hosts = info.parsed_scoped_addresses(IPVersion.All)[:_ADDRESSES_MAX]
        self._listener(Sighting(hint, tuple(Address(host, hint.port) for host in hosts), "mdns"))

    def _describe(self, hint: Hint) -> AsyncServiceInfo:
        name = instance_name(hint)
        server = f"{name.partition('.')[0]}.local."
        record = encode_txt(hint, self._profile, CONTRACT_VERSIONS[-1], f"https://{server[:-1]}:{hint.port}/manifest")
        properties: dict[Any, Any] = dict(record)
        return AsyncServiceInfo(
            MDNS_TYPE, name, port=hint.port, properties=properties, server=server,
            parsed_addresses=[host.partition("%")[0] for host in self._hosts],
        )  # fmt: skip


def _own_hosts() -> tuple[str, ...]:
    """Own addresses that neighbours can reach; zeroconf takes IPv6 ones with their zone."""
    found = [host for interface in outward(list_interfaces()) for host in (*interface.ipv4, *interface.ipv6)]
    return tuple(host for host in found if _is_usable(host))


def _is_usable(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
    except OSError:
        return False
    return True


def _ignore(_: Sighting) -> None:
    """Before `open` nobody listens."""
