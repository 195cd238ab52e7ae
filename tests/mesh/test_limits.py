"""Token buckets: nobody gets more than the rate, and names cost no memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import Dropped, RateLimited
from hearthnet.mesh.limits import CALLERS_MAX, Plan, Rate, RateLimits

PLAN = Plan(Rate(10, 100), Rate(20, 1000))


def admitted(limits, subject, capability, now):
    try:
        limits.admit(subject, capability, now)
    except RateLimited:
        return False
    return True


@given(st.lists(st.floats(0, 0.5), max_size=300))
def test_no_second_ever_brings_more_than_rate_and_burst(gaps):
    limits, now, accepted = RateLimits(PLAN), 5.0, []
    for gap in gaps:
        now += gap
        if admitted(limits, "a", "rag.query", now):
            accepted.append(now)
    for start in accepted:
        assert sum(start <= at < start + 1.0 for at in accepted) <= 21  # a full bucket and what a second brings


def test_a_steady_caller_below_the_rate_is_never_refused():
    limits = RateLimits(PLAN)
    assert all(admitted(limits, "a", "rag.query", 100.0 + number / 9.9) for number in range(500))


def test_waiting_as_told_is_enough():
    limits, now = RateLimits(PLAN), 1000.0
    while admitted(limits, "a", "x", now):
        pass
    with pytest.raises(RateLimited) as raised:
        limits.admit("a", "x", now)
    assert admitted(limits, "a", "x", now + raised.value.retry_after_ms / 1000)


def test_capabilities_have_buckets_of_their_own_below_the_callers_total():
    limits = RateLimits(PLAN)
    assert [admitted(limits, "a", "x", 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert [admitted(limits, "a", "y", 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert not admitted(limits, "a", "z", 0.0)
    assert admitted(limits, "b", "x", 0.0)


def test_above_the_hard_rate_calls_are_dropped_and_counted():
    dropped = []
    limits = RateLimits(PLAN, on_drop=dropped.append)
    outcomes = []
    for _ in range(200):
        try:
            limits.admit("a", "x", 0.0)
            outcomes.append("ok")
        except Dropped:
            outcomes.append("dropped")
        except RateLimited:
            outcomes.append("refused")
    assert outcomes == ["ok"] * 10 + ["refused"] * 90 + ["dropped"] * 100
    assert dropped == ["x"] * 100


def test_callers_who_invent_names_cost_bounded_memory_and_do_not_free_the_busy():
    limits = RateLimits(PLAN)
    for number in range(CALLERS_MAX - 1):
        limits.admit(f"idle{number}", "x", number * 1e-6)
    for _ in range(10):
        limits.admit("busy", "x", 10.0)
    for number in range(100):
        limits.admit(f"new{number}", "x", 10.0)
    assert len(limits) <= CALLERS_MAX
    assert not admitted(limits, "busy", "x", 10.0)
    for number in range(CALLERS_MAX * 2):
        limits.admit(f"flood{number}", "x", 10.0)
    assert len(limits) <= CALLERS_MAX


def test_what_was_given_back_can_be_taken_again_and_no_more():
    limits = RateLimits(PLAN)
    for _ in range(100):  # at one moment, far above the rate
        assert admitted(limits, "a", "", 5.0)
        limits.refund("a", "")
    assert sum(admitted(limits, "a", "", 5.0) for _ in range(30)) == 10
    limits.refund("nobody", "")
    assert len(limits) == 1
