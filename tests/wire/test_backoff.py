"""Back-off: never zero after a failure, never above the cap, gone after that time."""

from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.constants import RECONNECT_BACKOFF_CAP_S, RECONNECT_BACKOFF_FIRST_S
from hearthnet.wire.backoff import Backoff


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1e6))
def test_it_doubles_up_to_the_cap(spreads, now):
    backoff, longest = Backoff(), RECONNECT_BACKOFF_FIRST_S
    assert backoff.wait_s(now) == 0.0
    for spread in spreads:
        backoff.fail(now, spread)
        wait = backoff.wait_s(now)
        assert longest / 2 - 1e-6 <= wait <= longest + 1e-6
        assert backoff.wait_s(now + RECONNECT_BACKOFF_CAP_S) == 0.0
        longest = min(RECONNECT_BACKOFF_CAP_S, longest * 2)
