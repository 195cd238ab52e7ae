"""Trace ids: ULIDs as in `base/ulid.py`, five times cheaper, because every call needs one (X03)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from hearthnet.base.types import TraceID

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)
_LOW_BITS = 20


class TraceIds:
    """Each id is greater than the one before, also when the clock jumps back.

    The upper 60 random bits are drawn once a millisecond; the lower 20 count up from a random start. A trace id may
    be guessed, it opens nothing.
    """

    __slots__ = ("_entropy", "_low", "_ms", "_prefix")

    def __init__(self, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._entropy = entropy
        self._ms = -1
        self._low = 0
        self._prefix = ""

    def make(self, now: float) -> TraceID:
        """The next id at wall clock `now`."""
        ms = int(now * 1000)
        low = self._low + 1
        if ms > self._ms or low >> _LOW_BITS:
            low = self._draw(max(ms, self._ms + 1))
        self._low = low
        return TraceID(self._prefix + _PAIRS[low >> 10] + _PAIRS[low & 1023])

    def _draw(self, ms: int) -> int:
        self._ms = ms
        drawn = int.from_bytes(self._entropy(10), "big")
        upper = (ms & ((1 << 48) - 1)) << 60 | drawn >> _LOW_BITS
        self._prefix = "".join([_PAIRS[upper >> shift & 1023] for shift in range(100, -1, -10)])
        return drawn & ((1 << (_LOW_BITS - 1)) - 1)  # leaves room to count up
