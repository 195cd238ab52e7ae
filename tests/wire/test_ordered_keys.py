"""The packed set against a sorted list and plain sums."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hearthnet.base.errors import NotFound
from hearthnet.wire.merged_keys import MergedKeys
from hearthnet.wire.negentropy import INFINITY, fingerprint
from hearthnet.wire.ordered_keys import BLOCK_KEYS, OrderedKeys


def key_of(number):
    """A key whose id is near the modulus, so that sums wrap."""
    return (number // 3).to_bytes(8) + (number % 3).to_bytes(1) + b"\xff" * 27 + number.to_bytes(4)


def id_sum(keys):
    return sum(int.from_bytes(key[8:], "little") for key in keys) % (1 << 256)


class AgainstASortedList(RuleBasedStateMachine):
    """Small numbers collide often; runs of hundreds split blocks."""

    def __init__(self):
        super().__init__()
        self.keys = OrderedKeys()
        self.model = set()

    @rule(start=st.integers(0, 3000), count=st.integers(1, 200), step=st.sampled_from([1, 2, -1, 7]))
    def add_run(self, start, count, step):
        for number in range(count):
            key = key_of(abs(start + number * step))
            assert self.keys.add(key) == (key not in self.model)
            self.model.add(key)

    @rule(start=st.integers(0, 3000), count=st.integers(1, 150))
    def discard_run(self, start, count):
        for number in range(start, start + count):
            key = key_of(number)
            assert self.keys.discard(key) == (key in self.model)
            self.model.discard(key)

    @rule(count=st.integers(0, 600))
    def extend_behind_the_last(self, count):
        start = 5000 + len(self.model) * 3
        fresh = [key_of(number) for number in range(start, start + count)]
        if self.model and fresh and max(self.model) >= fresh[0]:
            return
        self.keys.extend(b"".join(fresh))
        self.model.update(fresh)

    @rule(places=st.lists(st.integers(0, 8000), min_size=2, max_size=6))
    def compare_ranges(self, places):
        expected = sorted(self.model)
        for place in places:
            assert self.keys.find(key_of(place)) == bisect_left(expected, key_of(place))
            assert (key_of(place) in self.keys) == (key_of(place) in self.model)
        low, high = sorted(place % (len(expected) + 1) for place in places[:2])
        part = expected[low:high]
        assert self.keys.keys(low, high) == b"".join(part)
        assert self.keys.id_sum(low, high) == id_sum(part)
        assert self.keys.fingerprint(low, high) == fingerprint(id_sum(part), len(part))

    @invariant()
    def it_is_the_whole_set(self):
        assert len(self.keys) == len(self.model)
        assert self.keys.find(INFINITY) == len(self.model)


TestAgainstASortedList = AgainstASortedList.TestCase
TestAgainstASortedList.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)


@given(count=st.integers(0, 3 * BLOCK_KEYS), at=st.integers(0, 10_000))
def test_every_key_is_found_at_its_position(count, at):
    expected = [key_of(number) for number in range(count)]
    keys = OrderedKeys(b"".join(expected))
    if at < count:
        assert keys.key(at) == expected[at]
    else:
        with pytest.raises(NotFound):
            keys.key(at)


def test_a_bound_separates_neighbours():
    keys = OrderedKeys(b"".join(key_of(number) for number in range(600)))
    for position in range(1, 600):
        assert keys.key(position - 1) < keys.bound_at(position) <= keys.key(position)


def test_sums_stay_right_when_old_keys_arrive_late():
    keys = OrderedKeys(b"".join(key_of(number) for number in range(0, 4000, 2)))
    before = keys.fingerprint(100, 1900)
    keys.add(key_of(1001))
    assert keys.fingerprint(100, 1901) != before
    keys.discard(key_of(1001))
    assert keys.fingerprint(100, 1900) == before


@pytest.mark.parametrize("change", ["add", "discard"])
def test_a_sum_that_is_remembered_is_not_used_after_a_change_before_it(change):
    numbers = list(range(0, 4000, 2))
    keys = OrderedKeys(b"".join(key_of(number) for number in numbers))
    keys.id_sum(100, 1900)
    if change == "add":
        keys.add(key_of(1))
        numbers.insert(1, 1)
    else:
        keys.discard(key_of(0))
        del numbers[0]
    assert keys.id_sum(1900, 1950) == id_sum([key_of(number) for number in numbers[1900:1950]])


def test_a_block_that_ran_empty_is_gone():
    keys = OrderedKeys(b"".join(key_of(number) for number in range(2 * BLOCK_KEYS + 1)))
    before = keys.fingerprint(0, 2 * BLOCK_KEYS)
    keys.discard(key_of(2 * BLOCK_KEYS))
    assert (len(keys), keys.find(INFINITY)) == (2 * BLOCK_KEYS, 2 * BLOCK_KEYS)
    assert keys.fingerprint(0, 2 * BLOCK_KEYS) == before
    for number in range(2 * BLOCK_KEYS):
        assert keys.discard(key_of(number))
    assert (len(keys), keys.find(INFINITY), keys.keys(0, 9)) == (0, 0, b"")
    assert keys.fingerprint(0, 0) == fingerprint(0, 0)
    assert not keys.discard(key_of(1))
    assert keys.add(key_of(7))
    assert keys.key(0) == key_of(7)


@given(numbers=st.sets(st.integers(0, 2000), max_size=300), data=st.data())
def test_two_sets_look_like_the_one_that_holds_both(numbers, data):
    of_extra = data.draw(st.sets(st.sampled_from(sorted(numbers)), max_size=100)) if numbers else set()
    main = OrderedKeys(b"".join(key_of(number) for number in sorted(numbers - of_extra)))
    extra = OrderedKeys(b"".join(key_of(number) for number in sorted(of_extra)))
    merged = MergedKeys(main, extra)
    for change in data.draw(st.lists(st.integers(2001, 2500), max_size=2, unique=True)):
        whole = OrderedKeys(merged.keys(0, len(merged)))
        assert len(merged) == len(whole)
        for low in range(0, len(whole) + 1, 37):
            for high in (low, (low + len(whole) + 1) // 2, len(whole)):
                assert merged.fingerprint(low, high) == whole.fingerprint(low, high)
                assert merged.keys(low, high) == whole.keys(low, high)
        for position in range(1, len(whole), 29):
            assert merged.bound_at(position) == whole.bound_at(position)
        assert [merged.find(key_of(number)) for number in range(0, 2600, 13)] == [
            whole.find(key_of(number)) for number in range(0, 2600, 13)
        ]
        (extra if change % 2 else main).add(key_of(change))
