"""How long to leave somebody alone who did not answer: doubling, capped, spread (X01, RECONNECT_BACKOFF_CAP)."""

from __future__ import annotations

from hearthnet.base.constants import RECONNECT_BACKOFF_CAP_S, RECONNECT_BACKOFF_FIRST_S


class Backoff:
    """One partner's back-off; time is an argument, monotonic seconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    def fail(self, now: float, spread: float) -> None:
        """It could not be reached; `spread` is random between 0 and 1, so that many do not come back at once."""
        longest = min(RECONNECT_BACKOFF_CAP_S, RECONNECT_BACKOFF_FIRST_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._until = now + longest * (0.5 + 0.5 * spread)

    def wait_s(self, now: float) -> float:
        """Seconds until it may be tried again."""
        return max(0.0, self._until - now)
