"""A link in memory on which announcers hear each other; fake of `ports.Announcer` with a history (M02)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.ports import Address, Sighting
from hearthnet.wire.discovery import Hint, decode_hint, encode_hint

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeLink:
    """One broadcast domain; `history` holds (host, hint) of every announcement."""

    def __init__(self) -> None:
        self.history: list[tuple[str, Hint]] = []
        self.announcers: list[FakeAnnouncer] = []
        self.is_up = True

    def carry(self, host: str, hint: Hint) -> None:
        """Bring an announcement to everyone on the link, the sender included, as multicast does."""
        self.history.append((host, hint))
        heard = decode_hint(encode_hint(hint))
        for announcer in list(self.announcers) if self.is_up else ():
            announcer.hear(Sighting(heard, (Address(host, hint.port),), "udp"))


class FakeAnnouncer:
    """Implements `ports.Announcer` on a `FakeLink`, at one host."""

    def __init__(self, link: FakeLink, host: str) -> None:
        self.link = link
        self.host = host
        self.moved = False  # set it: the network changed
        self.looking = True
        self._listener: Callable[[Sighting], None] | None = None

    async def open(self, listener: Callable[[Sighting], None]) -> None:
        """Begin to hear."""
        self._listener = listener
        self.link.announcers.append(self)

    def refresh(self) -> bool:
        """Whether the network changed since the last look."""
        moved, self.moved = self.moved, False
        return moved

    async def announce(self, hint: Hint) -> None:
        """Tell the link."""
        self.link.carry(self.host, hint)

    async def look(self, active: bool) -> None:
        """Remember whether it is asked to look."""
        self.looking = active

    async def close(self) -> None:
        """Leave the link."""
        if self in self.link.announcers:
            self.link.announcers.remove(self)

    def hear(self, sighting: Sighting) -> None:
        """What the link brings."""
        if self._listener is not None:
            self._listener(sighting)
