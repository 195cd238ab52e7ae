"""A node's key on paper: 24 words with a checksum, or their numbers (M01; BIP-39 of 256 bits).

The words are English everywhere: the list is the one that other programs know, and its words differ in their first four
letters. Who does not read English writes the numbers, which stand beside them: both are read, mixed if need be. One
place that cannot be read any more is found again with the short id that stands on the sheet.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from msgspec import Struct

from hearthnet.base.errors import BadRequest
from hearthnet.base.types import ShortID
from hearthnet.wire.identity import KeyPair, short_id
from hearthnet.wire.recovery_words import WORDS

WORD_COUNT: Final = 24
UNREADABLE: Final = "?"
_BITS: Final = 11
_SIGNIFICANT: Final = 4  # letters that tell the words apart
_TEXT_MAX: Final = 2000
_NUMBER_OF: Final = {word: number for number, word in enumerate(WORDS)}
_BY_START: Final = {word[:_SIGNIFICANT]: number for number, word in enumerate(WORDS)}
_FIX: Final = "compare with the sheet; write ? for one word that cannot be read"


class SheetRow(Struct, frozen=True):
    """One place of the sheet: 1 to 24, its word, and the word's number, 1 to 2048."""

    place: int
    word: str
    number: int


class RecoverySheet(Struct, frozen=True):
    """What is printed: whose key it is, and the key."""

    short_id: ShortID
    rows: tuple[SheetRow, ...]


def write_sheet(key: KeyPair) -> RecoverySheet:
    """The sheet for a key; whoever holds it is the node."""
    numbers = _numbers_of(key.seed)
    rows = tuple(SheetRow(place, WORDS[number], number + 1) for place, number in enumerate(numbers, start=1))
    return RecoverySheet(short_id(key.node_id), rows)


def read_sheet(text: str, expected: str = "") -> KeyPair:
    """The key from words or numbers as someone typed them; `expected` is the short id of the sheet, if known.

    Raises BadRequest that names the first place that is wrong; one `?` is allowed when `expected` is given.
    """
    if len(text) > _TEXT_MAX:
        raise BadRequest("far more text than 24 words", fix=_FIX)
    typed = re.findall(r"[^\W\d_]+|\d+|\?", text.lower())
    if len(typed) != WORD_COUNT:
        raise BadRequest(f"{len(typed)} words, the sheet has {WORD_COUNT}", fix=_FIX)
    numbers = [_read_place(place, item) for place, item in enumerate(typed, start=1)]
    gaps = [at for at, number in enumerate(numbers) if number is None]
    if not gaps:
        return _expect(KeyPair(_seed_of([number or 0 for number in numbers])), expected)
    if len(gaps) > 1 or not expected:
        raise BadRequest("one place may be unreadable, and only with the short id of the sheet", fix=_FIX)
    return _fill(numbers, gaps[0], expected)


def _fill(numbers: list[int | None], gap: int, expected: str) -> KeyPair:
    for guess in range(len(WORDS)):
        full = [guess if number is None else number for number in numbers]
        if _checksum_fits(full):
            key = KeyPair(_seed_of(full))
            if _same_id(key, expected):
                return key
    raise BadRequest(f"no word at place {gap + 1} gives the key with this short id", fix=_FIX)


def _read_place(place: int, typed: str) -> int | None:
    """The number of a word in any case, of its first four letters, or of a number."""
    if typed == UNREADABLE:
        return None
    if typed.isdecimal() and 1 <= int(typed) <= len(WORDS):
        return int(typed) - 1
    number = _NUMBER_OF.get(typed)
    if number is None and len(typed) >= _SIGNIFICANT:
        number = _BY_START.get(typed[:_SIGNIFICANT])
    if number is None:
        near = ", ".join(word for word in WORDS if word[:2] == typed[:2] and abs(len(word) - len(typed)) < 2)[:80]
        raise BadRequest(
            f"place {place}: {typed[:16]!r} is none of the words" + (f" (near: {near})" * bool(near)), fix=_FIX
        )
    return number


def _expect(key: KeyPair, expected: str) -> KeyPair:
    if expected and not _same_id(key, expected):
        raise BadRequest("the words give another node's key", fix="compare the short id with the sheet")
    return key


def _same_id(key: KeyPair, expected: str) -> bool:
    letters = re.sub(r"[^A-Z2-7]", "", expected.upper().removeprefix("ED25519:"))
    return re.sub(r"[^A-Z2-7]", "", short_id(key.node_id).removeprefix("ed25519:")) == letters


def _numbers_of(seed: bytes) -> list[int]:
    bits = int.from_bytes(seed) << 8 | sha256(seed).digest()[0]
    return [bits >> shift & 2047 for shift in range(_BITS * (WORD_COUNT - 1), -1, -_BITS)]


def _bits_of(numbers: list[int]) -> int:
    bits = 0
    for number in numbers:
        bits = bits << _BITS | number
    return bits


def _checksum_fits(numbers: list[int]) -> bool:
    bits = _bits_of(numbers)
    return sha256((bits >> 8).to_bytes(KeyPair.SEED_BYTES)).digest()[0] == bits & 255


def _seed_of(numbers: list[int]) -> bytes:
    if not _checksum_fits(numbers):
        raise BadRequest("the words do not fit together: one is wrong, or two are swapped", fix=_FIX)
    return (_bits_of(numbers) >> 8).to_bytes(KeyPair.SEED_BYTES)
