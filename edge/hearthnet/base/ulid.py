"""ULIDs: ids that sort by the time they were made, monotonic within one maker (glossary; EventID, TraceID)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ULID_PATTERN: Final = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: no I, L, O, U
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_ULID = re.compile(ULID_PATTERN[:-1], re.ASCII)
_RANDOM_MAX = 2**80 - 1
_POOL_BYTES = 512
_TIME_MAX_MS = 2**48 - 2**20  # the year 10889, with room to borrow from


class Ulids:
    """Makes ULIDs from an injected wall clock and randomness; each is greater than the one before.

    A clock that stands still or goes back does not break the order: the last value is counted up.
    """

    def __init__(self, now: Callable[[], float], random_bytes: Callable[[int], bytes]) -> None:
        self._now = now
        self._random_bytes = random_bytes
        self._time_ms = -1
        self._random = 0
        self._prefix = ""
        self._pool = b""
        self._used = 0

    def new(self) -> str:
        """The next id."""
        time_ms = min(max(int(self._now() * 1000), 0), _TIME_MAX_MS)
        if time_ms > self._time_ms:
            self._begin(time_ms, self._draw(10))
        else:  # not by one: the next id shall not be guessable
            self._random += 1 + self._draw(4)
            if self._random > _RANDOM_MAX:
                self._begin(self._time_ms + 1, self._random - _RANDOM_MAX - 1)
        return self._prefix + _to_text(self._random, 80)

    def _draw(self, count: int) -> int:
        """A random number of `count` bytes; taken from a supply, because each system call gives up the interpreter."""
        if self._used + count > len(self._pool):
            self._pool, self._used = self._random_bytes(_POOL_BYTES), 0
        self._used += count
        return int.from_bytes(self._pool[self._used - count : self._used])

    def _begin(self, time_ms: int, random: int) -> None:
        self._time_ms, self._random, self._prefix = time_ms, random, _to_text(time_ms, 50)


def is_ulid(text: str) -> bool:
    """Whether `text` is a ULID in its only spelling: 26 upper-case characters, at most 128 bits."""
    return len(text) == 26 and _ULID.fullmatch(text) is not None


def ulid_time_s(ulid: str) -> float:
    """Seconds since 1970 that a valid ULID carries; a claim of its maker, not a fact."""
    time_ms = 0
    for digit in ulid[:10]:
        time_ms = time_ms * 32 + _DIGITS.index(digit)
    return time_ms / 1000


def _to_text(value: int, bits: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(bits - 10, -1, -10)])
