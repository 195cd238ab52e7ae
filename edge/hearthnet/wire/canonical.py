"""Canonical JSON, the only form in which bytes are signed or hashed (X01, contract "Canonical JSON").

One value has one encoding (RFC 8785): keys in UTF-16 order, shortest round-trip floats, no white space. It loses
nothing: what `encode` writes, `decode` reads back equal. Integers are at most 53 bits, as other languages need.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from hearthnet.base.constants import JSON_MAX_DEPTH, REQUEST_MAX_BYTES
from hearthnet.base.errors import BadRequest, NotCanonical, SchemaMismatch

JsonObject: TypeAlias = dict[str, Any]

_T = TypeVar("_T")

INT_MAX: Final = 2**53 - 1
_INTEGER_TEXT_MAX = 22  # sign and the 21 digits up to which RFC 8785 writes a float without exponent
_ATOMS = frozenset((str, bool, type(None)))

_dump_sorted = msgspec.json.Encoder(order="sorted").encode
_dump_as_is = msgspec.json.Encoder().encode
_parse = msgspec.json.Decoder().decode


def encode(value: object) -> bytes:
    """The canonical bytes of a JSON value or Struct; raises NotCanonical where there are none."""
    try:
        if isinstance(value, msgspec.Struct):
            value = msgspec.to_builtins(value)
        return _dump_sorted(value) if _is_plain(value) else _dump_as_is(_ordered(value))
    except UnicodeEncodeError as error:
        raise NotCanonical("a string holds a lone surrogate") from error
    except TypeError as error:
        raise NotCanonical(f"a key that is no string, or a value that is no JSON: {error}") from error
    except RecursionError as error:
        raise NotCanonical("nested too deep, or in itself") from error


def decode(data: bytes, *, max_bytes: int = REQUEST_MAX_BYTES, max_depth: int = JSON_MAX_DEPTH) -> Any:
    """The value of any JSON text in UTF-8; raises BadRequest for what could be read in two ways.

    Refused: duplicate keys, NaN and Infinity, numbers out of range, lone surrogates, a byte order mark, trailing
    data, more than `max_bytes`, nesting beyond `max_depth`.
    """
    return _read(data, max_bytes, max_depth)[0]


def decode_with_form(data: bytes) -> tuple[Any, bytes]:
    """Like `decode`, with the canonical bytes of the value beside it, which as a rule are `data` itself."""
    value, known_canonical = _read(data, REQUEST_MAX_BYTES, JSON_MAX_DEPTH)
    return value, data if known_canonical else encode(value)


def encode_plain(value: msgspec.Struct) -> bytes:
    """The canonical bytes of a flat Struct whose fields are narrow integers and ASCII strings, by its own types."""
    return _dump_sorted(value)


def decode_as(data: bytes, kind: type[_T], *, max_bytes: int = REQUEST_MAX_BYTES) -> _T:
    """Like `decode`, then fitted to a type; raises SchemaMismatch naming the field that does not fit."""
    return fit(decode(data, max_bytes=max_bytes), kind)


def fit(value: object, kind: type[_T]) -> _T:
    """A decoded value as `kind`; raises SchemaMismatch naming the field that does not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SchemaMismatch(str(error)) from error


def decode_canonical(data: bytes, *, max_bytes: int = REQUEST_MAX_BYTES, max_depth: int = JSON_MAX_DEPTH) -> Any:
    """Like `decode`, but only the one canonical spelling is read; raises NotCanonical for every other."""
    value, known_canonical = _read(data, max_bytes, max_depth)
    if not known_canonical and encode(value) != data:
        raise NotCanonical("the JSON is not in canonical form")
    return value


def _read(data: bytes, max_bytes: int, max_depth: int) -> tuple[Any, bool]:
    if len(data) > max_bytes:
        raise BadRequest(f"{len(data)} bytes of JSON, at most {max_bytes} are read")
    try:
        value = _parse(data)
        known_canonical = _is_plain(value) and _dump_sorted(value) == data  # then no key stands twice
        if not known_canonical:
            value = json.loads(data.decode(), object_pairs_hook=_unique, parse_int=_integer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"not JSON: {error}") from error
    except RecursionError as error:
        raise BadRequest(f"JSON nested deeper than {max_depth}") from error
    if data.count(b"{") + data.count(b"[") > max_depth:
        _refuse_deeper(value, max_depth)
    return value, known_canonical


def _is_plain(value: Any) -> bool:
    """Whether msgspec's sorted output already is canonical: no odd float, no wide integer, keys in ASCII."""
    kind = type(value)
    if kind is int:
        return bool(-INT_MAX <= value <= INT_MAX)
    if kind is float:  # a fraction without exponent: both write the shortest digits
        return bool(1e-4 <= value < 1e15 or -1e15 < value <= -1e-4) and not value.is_integer()
    if kind is dict:
        if not "".join(value).isascii():
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _ATOMS
    for item in value:  # noqa: SIM110  all() takes twice the time
        if type(item) not in _ATOMS and not _is_plain(item):
            return False
    return True


def _ordered(value: object) -> object:
    """The value with its keys in UTF-16 order and its floats written out."""
    if type(value) in _ATOMS:
        return value
    if type(value) is int:
        if not -INT_MAX <= value <= INT_MAX:
            raise NotCanonical("an integer has more than 53 bits")
        return value
    if type(value) is float:
        return msgspec.Raw(_float_text(value).encode())
    if type(value) is dict:
        return {key: _ordered(value[key]) for key in sorted(value, key=_utf16)}
    if type(value) is list or type(value) is tuple:
        return [_ordered(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return _ordered(msgspec.to_builtins(value))
    raise NotCanonical(f"{type(value).__name__} is no JSON type")


def _utf16(key: str) -> bytes:
    return str.encode(key, "utf-16-be")  # TypeError for what is no string


def _float_text(number: float) -> str:
    """ECMAScript's Number::toString, which RFC 8785 prescribes; `repr` finds the same shortest digits."""
    text = repr(number)
    if "n" in text:  # nan, inf
        raise NotCanonical(f"{text} is no JSON number")
    mantissa, _, exponent_text = text.partition("e")
    if not exponent_text:
        text = text.removesuffix(".0")
        return "0" if text == "-0" else text
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    exponent = int(exponent_text)
    if 0 < exponent < 21:
        return sign + digits.replace(".", "").ljust(exponent + 1, "0")
    if -7 < exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits.replace('.', '')}"
    return f"{sign}{digits}e{exponent:+d}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("an object names a key twice")
    return found


def _integer(text: str) -> int | float:
    """An integer within 53 bits, or the float whose canonical form looks like one (1e20)."""
    if len(text) <= _INTEGER_TEXT_MAX:
        number = int(text)
        if -INT_MAX <= number <= INT_MAX:
            return number
        if _float_text(float(number)) == text:
            return float(number)
    raise BadRequest("an integer has more than 53 bits")


def _refuse_deeper(value: object, levels: int) -> None:
    if isinstance(value, dict | list):
        if levels == 0:
            raise BadRequest("JSON nested too deep")
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_deeper(item, levels - 1)
