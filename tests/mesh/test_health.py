"""When an entry is sick, how it rests, and how one probe brings it back."""

from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.constants import HEALTH_MIN_SAMPLES, HEALTH_QUARANTINE_S, HEALTH_WINDOW_CALLS
from hearthnet.base.errors import EngineDied
from hearthnet.mesh.health import Health

SICK = EngineDied("ended")


def test_few_failures_never_quarantine():
    health = Health()
    for _ in range(HEALTH_MIN_SAMPLES - 1):
        assert not health.fail(SICK, 1.0, 100.0, probe=False)
    assert health.admits(100.0)
    assert health.fail(SICK, 1.0, 100.0, probe=False)
    assert not health.admits(100.0)


def test_half_of_the_calls_may_fail():
    health = Health()
    for _ in range(50):
        health.succeed(1.0, probe=False)
        assert not health.fail(SICK, 1.0, 0.0, probe=False)
    assert health.success_rate == 0.5
    assert health.fail(SICK, 1.0, 0.0, probe=False)  # one more pushes a good one out


def test_one_probe_at_a_time_and_its_success_clears_the_history():
    health = Health()
    for _ in range(HEALTH_MIN_SAMPLES):
        health.fail(SICK, 1.0, 100.0, probe=False)
    later = 100.0 + HEALTH_QUARANTINE_S
    assert not health.admits(later - 0.01)
    assert health.admits(later)
    assert health.begin_probe()
    assert not health.admits(later)
    health.succeed(3.0, probe=True)
    assert health.admits(later)
    assert (health.success_rate, health.samples, health.p50_ms) == (1.0, 1, 3.0)
    assert not health.begin_probe()


def test_a_failed_probe_quarantines_again():
    health = Health()
    for _ in range(HEALTH_MIN_SAMPLES):
        health.fail(SICK, 1.0, 100.0, probe=False)
    health.begin_probe()
    assert health.fail(SICK, 1.0, 200.0, probe=True)
    assert not health.admits(259.0)
    assert health.admits(260.0)
    assert health.quarantines == 2


def test_calls_that_began_before_the_quarantine_neither_prolong_nor_end_it():
    health = Health()
    for _ in range(HEALTH_MIN_SAMPLES):
        health.fail(SICK, 1.0, 100.0, probe=False)
    assert not health.fail(SICK, 1.0, 150.0, probe=False)
    health.succeed(1.0, probe=False)
    assert not health.admits(159.0)
    assert health.admits(160.0)


def test_a_probe_that_says_nothing_lets_the_next_call_probe():
    health = Health()
    for _ in range(HEALTH_MIN_SAMPLES):
        health.fail(SICK, 1.0, 0.0, probe=False)
    health.begin_probe()
    health.forget_probe()
    assert health.admits(60.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e6)), max_size=250))
def test_rate_and_percentiles_are_those_of_the_last_hundred(calls):
    health = Health()
    for ok, ms in calls:
        if ok:
            health.succeed(ms, probe=False)
        else:
            health.fail(SICK, ms, 0.0, probe=False)
    window = calls[-HEALTH_WINDOW_CALLS:]
    assert health.samples == len(window)
    if window:
        assert abs(health.success_rate - sum(ok for ok, _ in window) / len(window)) < 1e-9
        times = sorted(ms for _, ms in window)
        assert abs(health.p50_ms - times[min(len(times) - 1, int(0.5 * len(times)))]) < 1e-6
        assert health.p50_ms <= health.p99_ms
    else:
        assert (health.success_rate, health.p50_ms, health.p99_ms) == (1.0, None, None)
