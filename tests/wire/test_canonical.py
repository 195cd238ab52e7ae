"""Canonical JSON against an independent implementation, RFC 8785's own samples and hostile input (X01)."""

import json
import math
import struct

import msgspec
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from hearthnet.base.errors import BadRequest, HearthNetError, NotCanonical, SchemaMismatch
from hearthnet.wire.canonical import INT_MAX, decode, decode_as, decode_canonical, encode, fit

# surrogates have no UTF-8 form; everything else may stand in a string
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none() | st.booleans() | st.integers(-INT_MAX, INT_MAX) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)


class Point(msgspec.Struct):
    y: float
    x: int
    tags: tuple[str, ...] = ()


# ---- writing -------------------------------------------------------------------------------------------------


@given(VALUES)
@example({"\ue000": 1, "😀": 2, "é": 3})
@example([1e16, 1e20, 1e21, 1e-6, 1e-7, 123456789012345680000.0, -0.0, -1.5e-7])
def test_encoding_agrees_with_an_independent_implementation(value):
    assert encode(value) == rfc8785.dumps(value)


@given(st.floats(1e-7, 1e17) | st.floats(-1e17, -1e-7) | st.decimals(-1000, 1000, places=3).map(float))
@example(1e-4)
@example(9.999e-05)
@example(999999999999999.9)
@example(1e15)
def test_doubles_of_everyday_size_agree_inside_an_object(number):
    assert encode({"ms": number}) == rfc8785.dumps({"ms": number})
    assert decode(encode({"ms": number})) == {"ms": number}


@given(st.integers(0, 2**64 - 1))
def test_every_double_agrees_with_an_independent_implementation(bits):
    number = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
    if math.isfinite(number):
        assert encode(number) == rfc8785.dumps(number)
    else:
        with pytest.raises(NotCanonical):
            encode(number)


@given(VALUES)
def test_what_was_encoded_reads_back_equal_and_is_canonical(value):
    data = encode(value)
    assert decode(data, max_depth=64) == decode_canonical(data, max_depth=64) == value


@given(VALUES)
def test_any_other_spelling_of_a_value_has_the_same_canonical_form(value):
    spelled = json.dumps(value, indent=1, ensure_ascii=True).encode()
    assert encode(decode(spelled, max_depth=64)) == encode(value)


def test_keys_are_sorted_at_every_level_by_utf16_units():
    assert encode({"b": {"😀": 1, "\ufb33": 2, "a": 3}, "a": []}) == '{"a":[],"b":{"a":3,"😀":1,"\ufb33":2}}'.encode()


def test_structs_are_written_like_the_objects_they_stand_for():
    point = Point(y=1.0, x=2, tags=("b", "a"))
    assert encode(point) == encode({"at": point})[6:-1] == b'{"tags":["b","a"],"x":2,"y":1}'


@pytest.mark.parametrize(
    "value",
    [
        math.nan, math.inf, [-math.inf], INT_MAX + 1, {"n": -INT_MAX - 1}, "\ud800", {"\udfff": 1}, {"k": ["\ud800"]},
        {1: 2}, {"é": {1: 2}}, b"bytes", {"s": {1, 2}}, {1.5: "float", "key": 1.5},
    ],
)  # fmt: skip
def test_values_without_a_lossless_form_are_refused(value):
    with pytest.raises(NotCanonical):
        encode(value)


def test_a_value_that_contains_itself_is_refused():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(NotCanonical):
        encode(loop)


# ---- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}', b'[{"a":{"b":1,"b":2}}]', b'{"a":1,"\\u0061":2}',  # a key twice
        b"NaN", b"[Infinity]", b"-Infinity", b"1e400",  # no numbers
        b"9007199254740992999", b"[-9007199254740993]", b"1" * 30,  # wider than 53 bits
        b"\xef\xbb\xbf{}", b'"\xff"', '"ä"'.encode("latin-1"), "{}".encode("utf-16"),  # not UTF-8, or marked
        b'"\\ud800"', b'"\\udc00"', b'{"\\ud800":1}',  # lone surrogates
        b"{} {}", b"1 x", b"", b" ", b"{", b'"\x01"', b"01", b"'a'", b"[1,]", b"{a:1}",  # not JSON
        b"[" * 33 + b"]" * 33, b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 100_000,  # too deep
    ],
)  # fmt: skip
def test_text_that_could_be_read_in_two_ways_is_refused(data):
    with pytest.raises(BadRequest):
        decode(data)


def test_size_and_depth_are_bounded_exactly():
    assert decode(b"[[1]]", max_bytes=5, max_depth=2) == [[1]]
    assert decode(b'[{"a":1},{"b":2}]', max_depth=2) == [{"a": 1}, {"b": 2}]
    with pytest.raises(BadRequest, match="at most 4"):
        decode(b"[[1]]", max_bytes=4)
    with pytest.raises(BadRequest, match="deep"):
        decode(b'[{"a":[]}]', max_depth=2)


def test_whole_floats_beyond_53_bits_survive_the_round_trip():
    # RFC 8785 writes them without exponent, so they look like integers
    assert decode(b"295147905179352830000") == 295147905179352830000.0
    assert isinstance(decode(encode(1e20)), float)


@pytest.mark.parametrize("data", [b'{"b":1,"a":2}', b"1.0", b"[1, 2]", b"-0", b"1E2", b'"\\u0061"', b'"\\/"'])
def test_other_spellings_are_read_but_are_not_canonical(data):
    decode(data)
    with pytest.raises(NotCanonical):
        decode_canonical(data)


def test_typed_reading_names_the_field_that_does_not_fit():
    assert decode_as(b'{"x":1,"y":2.5}', Point) == Point(y=2.5, x=1)
    with pytest.raises(SchemaMismatch, match="x"):
        decode_as(b'{"x":"one","y":2.5}', Point)
    with pytest.raises(SchemaMismatch, match="y"):
        fit({"x": 1}, Point)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_our_errors(data):
    try:
        value = decode(data)
    except HearthNetError:
        return
    assert decode(encode(value)) == value
