"""Messages of negentropy protocol v1: ranges of an ordered set, each with what one side holds there (X02).

Source: hoytech/negentropy, docs/negentropy-protocol-v1.md. A key is 40 bytes: time (64 bits, big-endian) and id, so
that keys compare as the protocol orders them. A bound is the beginning of a key, 8 to 40 bytes; what it leaves out
counts as zeros. A range ends before its bound and begins where the one before it ended.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import FrameMalformed

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = 0x61
TIME_BYTES: Final = 8
ID_BYTES: Final = 32
KEY_BYTES: Final = TIME_BYTES + ID_BYTES
FINGERPRINT_BYTES: Final = 16
INFINITY: Final = b"\xff" * TIME_BYTES  # beyond every key; no key has this time
SKIP, FINGERPRINT, ID_LIST = range(3)

_TIME_MAX: Final = (1 << 64) - 1
_VARINT_BYTES: Final = 10


class Range(Struct, frozen=True, gc=False):
    """One range: `payload` is empty (SKIP), a fingerprint, or the ids one after another."""

    upper: bytes
    mode: int
    payload: bytes = b""


def fingerprint(id_sum: int, count: int) -> bytes:
    """Of a range: its ids' sum modulo 2**256 (each a little-endian number), and how many there are."""
    data = bytearray(id_sum.to_bytes(ID_BYTES, "little"))
    _put_varint(data, count)
    return sha256(data).digest()[:FINGERPRINT_BYTES]


def bound_between(before: bytes, key: bytes) -> bytes:
    """The shortest bound that lies after `before` and not after `key`, two keys in this order."""
    if before[:TIME_BYTES] != key[:TIME_BYTES]:
        return key[:TIME_BYTES]
    length = TIME_BYTES
    while before[length] == key[length]:
        length += 1
    return key[: length + 1]


def decode_message(data: bytes) -> list[Range]:
    """Ranges in ascending order; raises FrameMalformed, also for another version of the protocol."""
    if not data or data[0] != VERSION:
        raise FrameMalformed(f"not negentropy v1: {data[:1].hex() or 'empty'}")
    reader = _Reader(data)
    ranges: list[Range] = []
    lower = b""
    while reader.at < len(data):
        found = reader.take_range()
        if found.upper < lower:
            raise FrameMalformed("the ranges are not in ascending order")
        lower = found.upper
        ranges.append(found)
    return ranges


def encode_message(ranges: Sequence[Range]) -> bytes:
    """The bytes of a message."""
    writer = MessageWriter()
    for item in ranges:
        writer.add(item)
    return bytes(writer.data)


class MessageWriter:
    """A message being written; `data` grows."""

    def __init__(self) -> None:
        self.data = bytearray([VERSION])
        self._time = 0

    def add(self, item: Range) -> None:
        """Append a range, its bound not below the last one's."""
        data = self.data
        time = int.from_bytes(item.upper[:TIME_BYTES])
        _put_varint(data, 0 if time == _TIME_MAX else time - self._time + 1)
        self._time = time
        _put_varint(data, len(item.upper) - TIME_BYTES)
        data += item.upper[TIME_BYTES:]
        _put_varint(data, item.mode)
        if item.mode == ID_LIST:
            _put_varint(data, len(item.payload) // ID_BYTES)
        data += item.payload


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._time = 0
        self.at = 1

    def take_range(self) -> Range:
        upper = self._take_bound()
        mode = self._take_varint()
        if mode == SKIP:
            return Range(upper, SKIP)
        if mode == FINGERPRINT:
            return Range(upper, FINGERPRINT, self._take(FINGERPRINT_BYTES))
        if mode == ID_LIST:
            return Range(upper, ID_LIST, self._take(self._take_varint() * ID_BYTES))
        raise FrameMalformed(f"unknown mode {mode}")

    def _take_bound(self) -> bytes:
        offset = self._take_varint()
        self._time = min(self._time + offset - 1, _TIME_MAX) if offset else _TIME_MAX
        length = self._take_varint()
        if length > ID_BYTES:
            raise FrameMalformed(f"a bound with {length} bytes of an id")
        return self._time.to_bytes(TIME_BYTES) + self._take(length)

    def _take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self._data):
            raise FrameMalformed("the message ends early")
        part = self._data[self.at : end]
        self.at = end
        return part

    def _take_varint(self) -> int:
        """Base-128 digits, most significant first, the high bit on all but the last."""
        value = 0
        for _ in range(_VARINT_BYTES):
            (digit,) = self._take(1)
            value = value << 7 | digit & 127
            if digit < 128:
                break
        else:
            raise FrameMalformed("a number is too long")
        if value > _TIME_MAX:
            raise FrameMalformed("a number is too large")
        return value


def _put_varint(data: bytearray, value: int) -> None:
    if value < 128:
        data.append(value)
        return
    digits = [value & 127]
    while value := value >> 7:
        digits.append(value & 127 | 128)
    data += bytes(reversed(digits))
