"""Trace ids are ULIDs that only rise."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.ulid import is_ulid, ulid_time_s
from hearthnet.mesh.trace_ids import TraceIds


@given(st.lists(st.floats(0, 2**48 / 1000 - 10), min_size=1, max_size=60))
def test_ids_are_ulids_and_rise_whatever_the_clock_does(times):
    ids = TraceIds()
    made = [ids.make(now) for now in times]
    assert all(is_ulid(text) for text in made)
    assert made == sorted(set(made))


def test_the_id_carries_the_time():
    assert abs(ulid_time_s(TraceIds().make(1_750_000_000.25)) - 1_750_000_000.25) < 0.002


def test_more_ids_than_fit_into_one_millisecond_still_rise():
    ids = TraceIds(entropy=lambda count: b"\xff" * count)
    made = [ids.make(1.0) for _ in range(600_000)]
    assert all(earlier < later for earlier, later in pairwise(made))
