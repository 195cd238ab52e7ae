"""ULIDs sort by time, never repeat or go back, and agree with an independent implementation (glossary)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from hearthnet.base.ulid import Ulids, is_ulid, ulid_time_s


def made_at(times, random_bytes):
    moments = iter(times)
    maker = Ulids(lambda: next(moments), random_bytes)
    return [maker.new() for _ in times]


@given(st.integers(0, 2**48 - 2**20), st.binary(min_size=10, max_size=10))
def test_the_text_agrees_with_an_independent_implementation(time_ms, random):
    (ulid,) = made_at([time_ms / 1000 + 0.0002], lambda count: random[:count])
    assert ulid == str(ULID(time_ms.to_bytes(6) + random))
    assert ulid_time_s(ulid) == time_ms / 1000
    assert is_ulid(ulid)


@given(st.lists(st.floats(-1e12, 1e12), min_size=2), st.sampled_from([b"\x00", b"\xff"]))
def test_ids_rise_whatever_the_clock_does(times, fill):
    ids = made_at(times, lambda count: fill * count)
    assert ids == sorted(set(ids))
    assert all(is_ulid(ulid) for ulid in ids)


def test_when_the_random_part_is_used_up_the_next_millisecond_is_borrowed():
    first, second = made_at([5.0, 5.0], lambda count: b"\xff" * count)
    assert first.endswith("Z" * 16)
    assert ulid_time_s(second) == ulid_time_s(first) + 0.001


@pytest.mark.parametrize(
    "text", ["", "0" * 25, "0" * 27, "8" + "0" * 25, "0" * 25 + "i", "0" * 25 + "I", "0" * 25 + "U", "0" * 25 + "\n"]
)
def test_other_spellings_are_no_ulids(text):
    assert not is_ulid(text)
