"""How each partner behaves: penalties that fade, bans that grow, and an allowance of work (X02).

A fault that an honest node cannot commit (a forged event) bans at once; one that bad luck explains counts little.
Nothing that a partner does costs more than its allowance, and what is remembered of partners is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearthnet.base.types import NodeID
    from hearthnet.ports import Clock

BAN_AT: Final = 100.0
HALF_LIFE_S: Final = 600.0
BAN_S: Final = 600.0
BAN_MAX_S: Final = 86_400.0
REST_S: Final = 5.0
REST_MAX_S: Final = 600.0
ALLOWANCE_BYTES_PER_S: Final = 1_000_000.0
ALLOWANCE_BYTES: Final = 32_000_000.0
PARTNERS_MAX: Final = 4096


class _Record(Struct):
    points: float = 0.0
    at: float = 0.0  # when the points were counted
    bans: int = 0
    banned_until: float = 0.0
    failures: int = 0
    rests_until: float = 0.0
    full_at: float = 0.0  # when the allowance will be whole again


class Standing:
    """One record a partner; the ones that did nothing lately go first when there are too many."""

    def __init__(self, clock: Clock, on_ban: Callable[[NodeID, str], None] | None = None) -> None:
        self._clock = clock
        self._on_ban = on_ban
        self._records: dict[NodeID, _Record] = {}

    def penalise(self, partner: NodeID, points: float, why: str) -> None:
        """Count a fault; at `BAN_AT` the partner is banned, each time for twice as long."""
        record, now = self._record(partner), self._clock.monotonic()
        record.points = self._faded(record, now) + points
        record.at = now
        if record.points >= BAN_AT:
            record.points = 0.0
            record.banned_until = now + min(BAN_S * 2**record.bans, BAN_MAX_S)
            record.bans += 1
            if self._on_ban is not None:
                self._on_ban(partner, why)

    def points(self, partner: NodeID) -> float:
        """What is left of the penalties by now."""
        record = self._records.get(partner)
        return self._faded(record, self._clock.monotonic()) if record else 0.0

    def is_banned(self, partner: NodeID) -> bool:
        """Whether nothing is exchanged with it now."""
        record = self._records.get(partner)
        return record is not None and self._clock.monotonic() < record.banned_until

    def is_resting(self, partner: NodeID) -> bool:
        """Whether it is banned, or did not answer lately."""
        record = self._records.get(partner)
        return record is not None and self._clock.monotonic() < max(record.rests_until, record.banned_until)

    def fail(self, partner: NodeID) -> None:
        """It could not be reached, no fault of its own: ask again later, each time twice as late."""
        record = self._record(partner)
        record.rests_until = self._clock.monotonic() + min(REST_S * 2**record.failures, REST_MAX_S)
        record.failures = min(record.failures + 1, 16)

    def succeed(self, partner: NodeID) -> None:
        """It answered."""
        self._record(partner).failures = 0

    def charge(self, partner: NodeID, size_bytes: float) -> None:
        """Take from its allowance; raises RateLimited when that is used up, or while it is banned."""
        record, now = self._record(partner), self._clock.monotonic()
        if now < record.banned_until:
            raise RateLimited("this node does not sync with you now", retry_after_ms=_ms(record.banned_until - now))
        full_at = max(record.full_at, now) + size_bytes / ALLOWANCE_BYTES_PER_S
        late = full_at - now - ALLOWANCE_BYTES / ALLOWANCE_BYTES_PER_S
        if late > 0:
            raise RateLimited("more than this node does for one partner", retry_after_ms=_ms(late))
        record.full_at = full_at

    def _record(self, partner: NodeID) -> _Record:
        record = self._records.pop(partner, None) or _Record()
        self._records[partner] = record
        if len(self._records) > PARTNERS_MAX:
            del self._records[next(iter(self._records))]
        return record

    def _faded(self, record: _Record, now: float) -> float:
        return float(record.points * 0.5 ** ((now - record.at) / HALF_LIFE_S))


def _ms(seconds: float) -> int:
    return int(seconds * 1000) + 1
