"""An ordered set of keys, packed: about 45 bytes each, sums of any range at once (X02, for `wire.reconcile`).

Keys lie in blocks, one `bytearray` each, with the sum of the block's ids beside it. The sum of a range is then that of
whole blocks and of two partial ones. Sums before each block are made again from the first block that changed, which
is the last one as long as keys arrive in order.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Final

from hearthnet.base.errors import NotFound
from hearthnet.wire.negentropy import ID_BYTES, KEY_BYTES, TIME_BYTES, bound_between, fingerprint

BLOCK_KEYS: Final = 256
_BLOCK_BYTES: Final = BLOCK_KEYS * KEY_BYTES
_KEY_BITS: Final = 8 * KEY_BYTES
_TIME_BITS: Final = 8 * TIME_BYTES
_SUM_MASK: Final = (1 << 8 * ID_BYTES) - 1
# a block as one little-endian number: the ids' digits without the times, then halved by adding the upper to the lower
_IDS: Final = int.from_bytes((b"\0" * TIME_BYTES + b"\xff" * ID_BYTES) * BLOCK_KEYS, "little")
_FOLDS: Final = [(keys * _KEY_BITS, (1 << keys * _KEY_BITS) - 1) for keys in (128, 64, 32, 16, 8, 4, 2, 1)]


class OrderedKeys:
    """Keys of 40 bytes (`wire.negentropy`), each once, in their order; positions count from 0."""

    def __init__(self, keys: bytes = b"") -> None:
        """Start with these: packed, ascending, each once."""
        self._blocks: list[bytearray] = []
        self._firsts: list[bytes] = []  # first key of each block
        self._sums: list[int] = []  # of each block's ids
        self._counts_before: list[int] = [0]  # keys before each block, and in the end all
        self._sums_before: list[int] = [0]
        self._clean = 0  # blocks whose entries in the two lists above are right
        self._last = (0, 0)  # a position and the sum before it: ranges of a message follow each other
        self.extend(keys)

    def __len__(self) -> int:
        self._settle()
        return self._counts_before[-1]

    def __contains__(self, key: bytes) -> bool:
        number = bisect_right(self._firsts, key) - 1
        if number < 0:
            return False
        block = self._blocks[number]
        at = _find(block, key)
        return block[at : at + KEY_BYTES] == key

    def add(self, key: bytes) -> bool:
        """Whether it was new."""
        number = max(bisect_right(self._firsts, key) - 1, 0)
        if not self._blocks or (number == len(self._blocks) - 1 and self._is_full(number) and key > self._tail(number)):
            number = len(self._blocks)
            self._insert_block(number, bytearray(key))
            return True
        at = _find(self._blocks[number], key)
        if self._blocks[number][at : at + KEY_BYTES] == key:
            return False
        if self._is_full(number):
            self._halve(number)
            if at > _BLOCK_BYTES // 2:
                number, at = number + 1, at - _BLOCK_BYTES // 2
        self._blocks[number][at:at] = key
        if at == 0:
            self._firsts[number] = key
        self._sums[number] += _id_number(key)
        self._touch(number)
        return True

    def extend(self, keys: bytes) -> None:
        """Add packed keys in ascending order, each once, all after those that are here."""
        for start in range(0, len(keys), _BLOCK_BYTES):
            self._insert_block(len(self._blocks), bytearray(keys[start : start + _BLOCK_BYTES]))

    def discard(self, key: bytes) -> bool:
        """Whether it was there."""
        if key not in self:
            return False
        number = bisect_right(self._firsts, key) - 1
        block = self._blocks[number]
        at = _find(block, key)
        del block[at : at + KEY_BYTES]
        if block:
            self._firsts[number] = bytes(block[:KEY_BYTES])
            self._sums[number] -= _id_number(key)
        else:
            del self._blocks[number], self._firsts[number], self._sums[number]
        self._touch(number)
        return True

    def find(self, bound: bytes) -> int:
        """How many keys lie before a bound."""
        self._settle()
        number = bisect_right(self._firsts, bound) - 1
        if number < 0:
            return 0
        return self._counts_before[number] + _find(self._blocks[number], bound) // KEY_BYTES

    def key(self, position: int) -> bytes:
        """The key at a position; raises NotFound."""
        if not 0 <= position < len(self):
            raise NotFound(f"no key at position {position}")
        number = bisect_right(self._counts_before, position) - 1
        at = (position - self._counts_before[number]) * KEY_BYTES
        return bytes(self._blocks[number][at : at + KEY_BYTES])

    def bound_at(self, position: int) -> bytes:
        """The shortest bound before the key at a position and after the one before it; not for position 0."""
        both = self.keys(position - 1, position + 1)
        return bound_between(both[:KEY_BYTES], both[KEY_BYTES:])

    def keys(self, lower: int, upper: int) -> bytes:
        """The keys from one position to before another, packed."""
        self._settle()
        parts = []
        number = bisect_right(self._counts_before, lower) - 1
        while lower < upper and number < len(self._blocks):
            start = lower - self._counts_before[number]
            end = min(upper, self._counts_before[number + 1])
            parts.append(self._blocks[number][start * KEY_BYTES : (end - self._counts_before[number]) * KEY_BYTES])
            lower, number = end, number + 1
        return b"".join(parts)

    def fingerprint(self, lower: int, upper: int) -> bytes:
        """Of the keys from one position to before another."""
        return fingerprint(self.id_sum(lower, upper), upper - lower)

    def id_sum(self, lower: int, upper: int) -> int:
        """The sum of the ids from one position to before another, modulo 2**256."""
        before = self._sum_before(lower)
        return self._sum_before(upper) - before & _SUM_MASK

    def _sum_before(self, position: int) -> int:
        """Of all ids before a position, by way of the nearest place whose sum is known: `_last` or a block's end."""
        self._settle()
        last, total = self._last
        if position == last:
            return total
        number = bisect_right(self._counts_before, position) - 1
        first = self._counts_before[number]
        if not first < last < position:
            last, total = first, self._sums_before[number]
        if number < len(self._blocks):
            block, end = self._blocks[number], self._counts_before[number + 1]
            if position - last <= end - position:
                total += _sum(block[(last - first) * KEY_BYTES : (position - first) * KEY_BYTES])
            else:
                total = self._sums_before[number + 1] - _sum(block[(position - first) * KEY_BYTES :])
        self._last = (position, total)
        return total

    def _halve(self, number: int) -> None:
        block = self._blocks[number]
        middle = _BLOCK_BYTES // 2
        self._insert_block(number + 1, block[middle:])
        del block[middle:]
        self._sums[number] = _sum(block)
        self._touch(number)

    def _insert_block(self, number: int, block: bytearray) -> None:
        self._blocks.insert(number, block)
        self._firsts.insert(number, bytes(block[:KEY_BYTES]))
        self._sums.insert(number, _sum(block))
        self._touch(number)

    def _is_full(self, number: int) -> bool:
        return len(self._blocks[number]) == _BLOCK_BYTES

    def _tail(self, number: int) -> bytes:
        return bytes(self._blocks[number][-KEY_BYTES:])

    def _touch(self, number: int) -> None:
        """A block changed: what is counted up to its end must be counted again."""
        self._clean = min(self._clean, number)
        self._last = (0, 0)

    def _settle(self) -> None:
        if self._clean == len(self._blocks) == len(self._counts_before) - 1:
            return
        clean, counts, sums = self._clean, self._counts_before, self._sums_before
        sizes = (len(block) // KEY_BYTES for block in self._blocks[clean:])
        counts[clean:] = accumulate(sizes, initial=counts[clean])
        sums[clean:] = accumulate(self._sums[clean:], initial=sums[clean])
        self._clean = len(self._blocks)


def _find(block: bytearray, bound: bytes) -> int:
    """Offset of the first key that is not before the bound."""
    low, high = 0, len(block) // KEY_BYTES
    while low < high:
        middle = (low + high) // 2
        if block[middle * KEY_BYTES : (middle + 1) * KEY_BYTES] < bound:
            low = middle + 1
        else:
            high = middle
    return low * KEY_BYTES


def _id_number(key: bytes) -> int:
    return int.from_bytes(key[TIME_BYTES:], "little")


def _sum(keys: bytearray) -> int:
    """The sum of the ids of at most a block of keys, modulo 2**256."""
    count = len(keys) // KEY_BYTES
    total = int.from_bytes(keys, "little") & _IDS
    for bits, mask in _FOLDS[len(_FOLDS) - max(count - 1, 0).bit_length() :]:
        total = (total & mask) + (total >> bits)
    return total >> _TIME_BITS & _SUM_MASK
