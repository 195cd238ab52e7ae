"""Rate limits per (caller, capability) and per caller (X01, contract chapter "Rate limits").

A token bucket is kept as the time at which it will be full again (GCRA): a full bucket is the same as none, so idle
callers are forgotten without loss. Above the soft rate a call is refused with the time to wait; refusals above the
hard rate are only counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.constants import (
    RATE_LIMIT_CAPABILITY_HARD_RPS,
    RATE_LIMIT_CAPABILITY_SOFT_RPS,
    RATE_LIMIT_TOTAL_HARD_RPS,
    RATE_LIMIT_TOTAL_SOFT_RPS,
)
from hearthnet.base.errors import Dropped, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

BURST_S: Final = 1.0  # a bucket holds what one second brings
CALLERS_MAX: Final = 4096
_ROUNDING_S = 1e-6  # floats of a clock that has run for years


class Rate(Struct, frozen=True):
    """Calls per second: accepted up to `soft`, refused politely up to `hard`, dropped above."""

    soft_rps: float
    hard_rps: float


class Plan(Struct, frozen=True):
    """The rates of one kind of caller."""

    capability: Rate
    total: Rate


OTHERS: Final = Plan(
    Rate(RATE_LIMIT_CAPABILITY_SOFT_RPS, RATE_LIMIT_CAPABILITY_HARD_RPS),
    Rate(RATE_LIMIT_TOTAL_SOFT_RPS, RATE_LIMIT_TOTAL_HARD_RPS),
)
# people of this node: far above what hands and scripts do, low enough to stop a loop gone wild
OWN_PEOPLE: Final = Plan(Rate(1_000.0, 10_000.0), Rate(2_000.0, 20_000.0))


class _Bucket:
    __slots__ = ("full_at", "refusals_full_at")

    def __init__(self) -> None:
        self.full_at = 0.0
        self.refusals_full_at = 0.0


class _Subject:
    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.total = _Bucket()
        self.buckets: dict[str, _Bucket] = {}


class RateLimits:
    """The buckets of one door or bus; bounded in memory whatever names callers invent."""

    def __init__(self, plan: Plan = OTHERS, *, on_drop: Callable[[str], None] | None = None) -> None:
        self._plan = plan
        self._capability_step = 1.0 / plan.capability.soft_rps
        self._total_step = 1.0 / plan.total.soft_rps
        self._subjects: dict[str, _Subject] = {}
        self._on_drop = on_drop

    def admit(self, subject: str, capability: str, now: float) -> None:
        """Take one token of the caller and one of the caller's capability; raises RateLimited, Dropped."""
        known = self._subjects.get(subject)
        if known is None:
            known = self._add(subject, now)
        bucket = known.buckets.get(capability)
        if bucket is None:
            bucket = known.buckets[capability] = _Bucket()
        horizon = now + BURST_S + _ROUNDING_S
        total = known.total
        total_full = (total.full_at if total.full_at > now else now) + self._total_step  # noqa: FURB136  hot path
        full = (bucket.full_at if bucket.full_at > now else now) + self._capability_step  # noqa: FURB136  hot path
        if full > horizon:
            self._refuse(bucket, self._plan.capability, full - horizon, now, capability)
        if total_full > horizon:
            self._refuse(total, self._plan.total, total_full - horizon, now, capability)
        bucket.full_at = full
        total.full_at = total_full

    def refund(self, subject: str, capability: str) -> None:
        """Give back what one `admit` took."""
        known = self._subjects.get(subject)
        bucket = known.buckets.get(capability) if known is not None else None
        if known is not None and bucket is not None:
            known.total.full_at -= self._total_step
            bucket.full_at -= self._capability_step

    def __len__(self) -> int:
        return len(self._subjects)

    def _refuse(self, bucket: _Bucket, rate: Rate, wait_s: float, now: float, capability: str) -> None:
        full = max(bucket.refusals_full_at, now) + 1.0 / (rate.hard_rps - rate.soft_rps)
        retry_after_ms = int(wait_s * 1000) + 1
        if full > now + BURST_S + _ROUNDING_S:
            if self._on_drop is not None:
                self._on_drop(capability)
            raise Dropped("far too many calls", retry_after_ms=retry_after_ms)
        bucket.refusals_full_at = full
        raise RateLimited(f"more than {rate.soft_rps:g} calls a second", retry_after_ms=retry_after_ms)

    def _add(self, subject: str, now: float) -> _Subject:
        if len(self._subjects) >= CALLERS_MAX:
            self._forget_idle(now)
        added = self._subjects[subject] = _Subject()
        return added

    def _forget_idle(self, now: float) -> None:
        """Make room for a quarter: full buckets go without loss, then the oldest."""
        busy = [(name, known) for name, known in self._subjects.items() if known.total.full_at > now]
        self._subjects = dict(busy[-(CALLERS_MAX * 3 // 4) :])
