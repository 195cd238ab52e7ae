"""Host names that are this node's own; a foreign one means DNS rebinding (decision 24)."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_own_host(host: str, letters: str, further: Iterable[str]) -> bool:
    """Whether a browser may use `host` (a Host header) for the node with these four letters; addresses always may."""
    name = host.rsplit(":", 1)[0].strip("[]").lower() if not host.endswith("]") else host.strip("[]").lower()
    try:
        return not ipaddress.ip_address(name).is_multicast
    except ValueError:
        pass
    machine = socket.gethostname().split(".")[0].lower()
    known = {"localhost", machine, f"hearthnet-{letters.lower()}", "hearthnet", *further}
    stem = name.removesuffix(".local").removesuffix(".fritz.box").removesuffix(".lan").removesuffix(".home.arpa")
    return name in known or stem in known
