"""Health of one entry: its last 100 calls, and quarantine when more than half of them failed (M03)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hearthnet.base.constants import (
    HEALTH_MIN_SAMPLES,
    HEALTH_QUARANTINE_S,
    HEALTH_QUARANTINE_THRESHOLD,
    HEALTH_WINDOW_CALLS,
)

if TYPE_CHECKING:
    from hearthnet.base.errors import HearthNetError


class Health:
    """A ring of (ok, ms); a failure is kept as -1 - ms, so that one float is one call.

    Below the threshold the entry is quarantined. When that time is over exactly one call, the probe, is let through:
    its success clears the history, its failure quarantines again.
    """

    __slots__ = ("_failures", "_median", "_probing", "_ring", "last_failure", "quarantined_until", "quarantines")

    def __init__(self) -> None:
        self._ring: deque[float] = deque(maxlen=HEALTH_WINDOW_CALLS)
        self._failures = 0
        self._median: float | None = None
        self._probing = False
        self.quarantined_until = 0.0  # monotonic; 0 = healthy
        self.quarantines = 0
        self.last_failure = ("", "")  # what went wrong, and what mends it

    def admits(self, now: float) -> bool:
        """Whether a call may be routed here."""
        return not self.quarantined_until or (now >= self.quarantined_until and not self._probing)

    def begin_probe(self) -> bool:
        """A call starts here: whether it is the probe after a quarantine; say so again when it ends."""
        self._probing = self.quarantined_until > 0.0
        return self._probing

    def succeed(self, ms: float, *, probe: bool) -> None:
        """A call did its work."""
        if probe:
            self._ring.clear()
            self._failures, self._probing, self.quarantined_until = 0, False, 0.0
        self._add(ms)

    def fail(self, error: HearthNetError, ms: float, now: float, *, probe: bool) -> bool:
        """A call failed by this entry's fault; True when that quarantined it."""
        self.last_failure = (error.detail, error.fix)
        self._add(-1.0 - ms)
        self._failures += 1
        if probe:
            self._probing = False
        elif self.quarantined_until or not self._is_sick():
            return False
        self.quarantined_until = now + HEALTH_QUARANTINE_S
        self.quarantines += 1
        return True

    def forget_probe(self) -> None:
        """The probe said nothing about the entry (cancelled, or the caller's mistake); the next call probes."""
        self._probing = False

    def _is_sick(self) -> bool:
        return len(self._ring) >= HEALTH_MIN_SAMPLES and self.success_rate < HEALTH_QUARANTINE_THRESHOLD

    def _add(self, sample: float) -> None:
        ring = self._ring
        if len(ring) == HEALTH_WINDOW_CALLS and ring[0] < 0:
            self._failures -= 1
        ring.append(sample)
        self._median = None

    @property
    def samples(self) -> int:
        """How many calls the rate is made of."""
        return len(self._ring)

    @property
    def success_rate(self) -> float:
        """Share of good calls; 1 when there were none."""
        return 1.0 - self._failures / len(self._ring) if self._ring else 1.0

    @property
    def p50_ms(self) -> float | None:
        """Median time of a call; None when unknown."""
        if self._median is None and self._ring:
            self._median = self._at(0.5)
        return self._median

    @property
    def p99_ms(self) -> float | None:
        """Time that one call in a hundred exceeds; None when unknown."""
        return self._at(0.99) if self._ring else None

    def _at(self, share: float) -> float:
        times = sorted(ms if ms >= 0 else -1.0 - ms for ms in self._ring)
        return times[min(len(times) - 1, int(share * len(times)))]
