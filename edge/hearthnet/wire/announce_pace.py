"""When to announce on a link: often when alone, rarely in a crowd, never more than the link can bear (M02).

All nodes of a link together send at most about five packets a second, whatever their number (mesh.md, section 7: at
fixed intervals 1,000 nodes would send 67 to 200). Two rules do it, in the manner of Trickle (RFC 6206): the interval
grows with the number of nodes heard, and whoever is due while the link is busy waits, each time about twice as long. A
node that hears fewer than two neighbours asks more often, as the specification has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hearthnet.base.constants import DISCOVERY_UDP_INTERVAL_ACTIVE_S, DISCOVERY_UDP_INTERVAL_STABLE_S

if TYPE_CHECKING:
    from collections.abc import Callable

LINK_PACKETS_PER_S: Final = 4.0  # aimed at, so that the bound of five holds
BUSY_PACKETS: Final = 3  # heard within the last second
FIRST_WITHIN_S: Final = 2.0
_FEW_PEERS: Final = 2
_WAIT_MAX_S: Final = 600.0
_HEARD_MAX: Final = 4096


class AnnouncePace:
    """The timing of one node on one link; time is an argument, `random` gives numbers in [0, 1)."""

    def __init__(self, random: Callable[[], float], now: float) -> None:
        self._random = random
        self._heard: dict[str, float] = {}  # sender -> last heard
        self._recent: list[float] = []  # packets of the last second, own ones too
        self._waits = 0
        self._announced = False
        self._started = now
        self.due_at = now + random() * FIRST_WITHIN_S
        self.hurried = False  # an emergency or offline mode: the fast interval

    def hear(self, sender: str, now: float) -> None:
        """Another node's packet."""
        self._recent.append(now)
        if sender in self._heard or len(self._heard) < _HEARD_MAX:
            self._heard[sender] = now

    def hurry(self, now: float) -> None:
        """Something changed (addresses, what is offered): announce soon, if the link can bear it."""
        self.due_at = min(self.due_at, now + self._random())

    def is_due(self, now: float) -> bool:
        """Whether to send now; when true it counts as sent."""
        if now < self.due_at:
            return False
        self._recent = [at for at in self._recent if at > now - 1.0]
        if len(self._recent) >= BUSY_PACKETS:
            self._waits += 1
            most = self.interval_s(now) if self._announced else self.interval_s(now) / 4  # newcomers first
            wait = min(2.0**self._waits, most, _WAIT_MAX_S)
            self.due_at = now + wait * (0.5 + self._random())
            return False
        self._waits, self._announced = 0, True
        self._recent.append(now)
        self.due_at = now + self.interval_s(now) * (0.75 + self._random() / 2)
        return True

    def interval_s(self, now: float) -> float:
        """The mean time between two announcements of this node."""
        known = self._count(now)
        fast = known < _FEW_PEERS or self.hurried
        base = DISCOVERY_UDP_INTERVAL_ACTIVE_S if fast else DISCOVERY_UDP_INTERVAL_STABLE_S
        return max(base, (known + 1) / LINK_PACKETS_PER_S)

    def _count(self, now: float) -> int:
        """Nodes heard lately; "lately" grows with their number, because then each speaks rarely."""
        window = max(3 * DISCOVERY_UDP_INTERVAL_STABLE_S, 3 * len(self._heard) / LINK_PACKETS_PER_S)
        if len(self._heard) > _FEW_PEERS and now - self._started > window:
            self._heard = {sender: at for sender, at in self._heard.items() if at > now - window}
        return len(self._heard)
