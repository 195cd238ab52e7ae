"""Under which address other devices reach these pages (decision 25)."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from hearthnet.web.door import door_of

if TYPE_CHECKING:
    from aiohttp import web

ANY_HOST: Final = ("0.0.0.0", "::", "")  # noqa: S104  compared, not bound
_ELSEWHERE: Final = ("192.0.2.1", 9)  # a documentation address; a UDP socket "connects" without sending anything


def is_local_only(request: web.Request) -> bool:
    """Whether only this machine can open the pages."""
    host = door_of(request).config.ui.host
    if host in ANY_HOST:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def base_url(request: web.Request) -> str:
    """The address to give to other devices: the one in use, unless it means only this machine."""
    host = request.host
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "")
    if name in ("localhost", "127.0.0.1", "[::1]") and not is_local_only(request):
        name = lan_address() or name
        host = f"{name}:{port}" if port else name
    return f"{request.scheme}://{host}"


def device_url(request: web.Request) -> str:
    """The address of the pages for another device, when the request itself came by no address (control socket)."""
    door = door_of(request)
    name = "127.0.0.1" if is_local_only(request) else lan_address() or socket.gethostname()
    return f"http://{name}:{door.extras.get('ui_port', door.config.ui.port)}"


def lan_address() -> str:
    """This machine's address in its network; empty without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
