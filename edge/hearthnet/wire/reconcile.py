"""Range-based set reconciliation by negentropy v1: both sides learn what the other lacks (X02, decision 7).

`respond` keeps nothing between messages, so that a break costs nothing and the set may change at any time. With the
default `Split` each message is byte for byte that of the reference implementation.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final, Protocol

from msgspec import Struct

from hearthnet.base.errors import BadRequest
from hearthnet.wire.negentropy import (
    FINGERPRINT,
    ID_BYTES,
    ID_LIST,
    INFINITY,
    KEY_BYTES,
    SKIP,
    TIME_BYTES,
    VERSION,
    MessageWriter,
    Range,
    decode_message,
)

FRAME_MIN_BYTES: Final = 4096
_FRAME_SPARE_BYTES: Final = 200
_VERSIONS: Final = range(0x60, 0x70)


class Keys(Protocol):
    """An ordered set of keys; positions count from 0."""

    def __len__(self) -> int: ...

    def find(self, bound: bytes) -> int:
        """How many keys lie before a bound."""

    def bound_at(self, position: int) -> bytes:
        """The shortest bound before the key at a position and after the one before it."""

    def keys(self, lower: int, upper: int) -> bytes:
        """The keys from one position to before another, packed."""

    def fingerprint(self, lower: int, upper: int) -> bytes:
        """Of the keys from one position to before another."""


class Split(Struct, frozen=True):
    """How a side answers a fingerprint that differs from its own.

    Below twice as many keys as `buckets` it lists them. An initiator lists at most `list_keys` of its own and else
    asks for the other side's by a fingerprint: then one list crosses the wire and not two.
    """

    buckets: int = 16
    list_keys: int = 1 << 30


class Wanted(Struct, frozen=True):
    """Ids, one after another, that the other side holds in the range from `lower` to before `upper`."""

    lower: bytes
    upper: bytes
    ids: bytes


def respond(keys: Keys, message: bytes, *, frame_limit: int = 0) -> bytes:
    """The answer of the side that was asked; at most `frame_limit` bytes, 0 = as many as needed.

    Another version of the protocol is answered by the one byte of ours. Raises FrameMalformed.
    """
    if message and message[0] in _VERSIONS and message[0] != VERSION:
        return bytes([VERSION])
    answer = _Answer(keys, Split(), frame_limit)
    for item in decode_message(message):
        if item.mode == SKIP:
            answer.skip(item)
        elif item.mode == FINGERPRINT:
            answer.compare(item)
        else:
            answer.list_own(item)
        if answer.is_full:
            break
    return bytes(answer.writer.data)


class Initiator:
    """The asking side. Send `begin()`, then what each answer makes of `proceed`, until that is None.

    Of `have` and `wanted` at most about twice `most` are kept, the lowest: `have` is whole below `ceiling`, and what is
    left out of `wanted` lies above what is in it; the rest waits for another conversation.
    """

    def __init__(self, keys: Keys, *, frame_limit: int = 0, split: Split | None = None, most: int = 1 << 30) -> None:
        if 0 < frame_limit < FRAME_MIN_BYTES:
            raise BadRequest(f"a frame holds at least {FRAME_MIN_BYTES} bytes")
        self._keys = keys
        self._split = split or Split()
        self.frame_limit = frame_limit
        self._most = most
        self._have: set[bytes] = set()
        self._wanted: list[Wanted] = []
        self._wanted_count = 0
        self.ceiling = INFINITY

    @property
    def have(self) -> list[bytes]:
        """Own keys that the other side lacks, ascending."""
        return sorted(self._have)

    @property
    def wanted(self) -> list[Wanted]:
        """What the other side holds and we do not, ascending."""
        return sorted(self._wanted, key=lambda item: item.lower)

    @property
    def found(self) -> int:
        """How many differences were found so far."""
        return len(self._have) + self._wanted_count

    def begin(self) -> bytes:
        """The first message: fingerprints of everything."""
        answer = _Answer(self._keys, self._split, 0)
        answer.split(0, len(self._keys), INFINITY)
        answer.flush()
        return bytes(answer.writer.data)

    def proceed(self, message: bytes) -> bytes | None:
        """The next message; None when nothing is open any more. Raises FrameMalformed."""
        answer = _Answer(self._keys, self._split, self.frame_limit)
        lower = b""
        for item in decode_message(message):
            if item.mode == ID_LIST:
                self._compare_ids(lower, item)
            if item.mode == FINGERPRINT and lower < self.ceiling:
                answer.compare(item)
            else:
                answer.skip(item)
            if answer.is_full:
                break
            lower = item.upper
        return bytes(answer.writer.data) if len(answer.writer.data) > 1 else None

    def _compare_ids(self, lower: bytes, item: Range) -> None:
        """Note who lacks what in one range, as far as there is room."""
        start, end = self._keys.find(lower), self._keys.find(min(item.upper, self.ceiling))
        theirs = {item.payload[at : at + ID_BYTES] for at in range(0, len(item.payload), ID_BYTES)}
        looked_at = min(end, start + len(theirs) + 2 * self._most + 1)
        own = self._keys.keys(start, looked_at)
        for at in range(0, len(own), KEY_BYTES):
            key = own[at : at + KEY_BYTES]
            if key[TIME_BYTES:] in theirs:
                theirs.discard(key[TIME_BYTES:])
            else:
                self._have.add(key)
        if len(self._have) > 2 * self._most:
            self._keep_below(sorted(self._have)[self._most])
        if theirs and looked_at == end and lower < self.ceiling:  # else some may be our own, further up
            self._wanted.append(Wanted(lower, item.upper, b"".join(sorted(theirs))))
            self._wanted_count += len(theirs)
            self._bound_wanted()

    def _bound_wanted(self) -> None:
        if self._wanted_count <= 2 * self._most:
            return
        wanted = self.wanted
        counts = accumulate(len(item.ids) // ID_BYTES for item in wanted)
        self._keep_below(next(item.upper for item, count in zip(wanted, counts, strict=True) if count >= self._most))

    def _keep_below(self, ceiling: bytes) -> None:
        self.ceiling = min(self.ceiling, ceiling)
        self._have = {key for key in self._have if key < self.ceiling}
        self._wanted = [item for item in self._wanted if item.lower < self.ceiling]
        self._wanted_count = sum(len(item.ids) for item in self._wanted) // ID_BYTES


class _Answer:
    """One message as it is written: what agrees is skipped, and skips that follow each other are one."""

    def __init__(self, keys: Keys, split: Split, limit: int) -> None:
        self._keys = keys
        self._split = split
        self._limit = limit - _FRAME_SPARE_BYTES if limit else 0
        self._position = 0  # where the range begins
        self._upper = b""  # where the last one ended
        self._skipping = False
        self._pending: list[Range] = []
        self.writer = MessageWriter()
        self.is_full = False

    def skip(self, item: Range) -> None:
        self._skipping = True
        self._go_on(item.upper, self._keys.find(item.upper))

    def compare(self, item: Range) -> None:
        end = self._keys.find(item.upper)
        if self._keys.fingerprint(self._position, end) == item.payload:
            self._skipping = True
        else:
            self._end_skip()
            self.split(self._position, end, item.upper)
            self._write_pending(end)
        self._go_on(item.upper, end)

    def list_own(self, item: Range) -> None:
        """All own ids of the range, as far as they fit."""
        self._end_skip()
        end, upper = self._keys.find(item.upper), item.upper
        fits = end - self._position
        if self._limit:
            fits = min(fits, max(0, (self._limit - len(self.writer.data)) // ID_BYTES + 1))
        if fits < end - self._position:
            end = self._position + fits
            upper = self._keys.keys(end, end + 1)
        self._pending.append(Range(upper, ID_LIST, _ids(self._keys.keys(self._position, end))))
        self.flush()  # a list stays, it was cut to fit
        self._write_pending(end)
        self._go_on(upper, end)

    def split(self, start: int, end: int, upper: bytes) -> None:
        """Fingerprints of equal parts, or what a small range holds."""
        count, buckets = end - start, self._split.buckets
        if count < 2 * buckets:
            if count > self._split.list_keys:
                self._pending.append(Range(upper, FINGERPRINT, self._keys.fingerprint(start, end)))
            else:
                self._pending.append(Range(upper, ID_LIST, _ids(self._keys.keys(start, end))))
            return
        size, larger = divmod(count, buckets)
        for number in range(buckets):
            after = start + size + (number < larger)
            bound = upper if after == end else self._keys.bound_at(after)
            self._pending.append(Range(bound, FINGERPRINT, self._keys.fingerprint(start, after)))
            start = after

    def flush(self) -> None:
        """Write what is pending."""
        for item in self._pending:
            self.writer.add(item)
        self._pending = []

    def _end_skip(self) -> None:
        if self._skipping:
            self._skipping = False
            self._pending.append(Range(self._upper, SKIP))

    def _write_pending(self, end: int) -> None:
        """Write what is pending if it fits; else, or when the frame is full, one fingerprint of all that is left."""
        data = self.writer.data
        before = len(data)
        self.flush()
        if self._limit and len(data) > self._limit:
            self.is_full = True
            del data[before:]
            self.writer.add(Range(INFINITY, FINGERPRINT, self._keys.fingerprint(end, len(self._keys))))

    def _go_on(self, upper: bytes, position: int) -> None:
        self._upper, self._position = upper, position


def _ids(keys: bytes) -> bytes:
    return b"".join([keys[at + TIME_BYTES : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)])
