"""Times have one spelling, to the second, in UTC (contract "Time")."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import BadRequest
from hearthnet.wire.timestamp import format_time, parse_time


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_every_second_of_ten_thousand_years_reads_back(seconds):
    assert parse_time(format_time(seconds)) == seconds


def test_fractions_belong_to_the_second_they_lie_in():
    assert format_time(1_700_000_000.999) == "2023-11-14T22:13:20Z"
    assert format_time(-0.5) == "1969-12-31T23:59:59Z"


@pytest.mark.parametrize("seconds", [1e30, float("inf"), -1e30, float("nan")])
def test_a_mad_clock_still_gives_a_time_that_reads_back(seconds):
    assert format_time(parse_time(format_time(seconds))) == format_time(seconds)


@pytest.mark.parametrize(
    "text", ["", "2026-01-31", "2026-01-31T08:15:00+00:00", "2026-01-31 08:15:00Z", "2026-01-31T08:15:00.5Z", "2026-02-30T00:00:00Z",
             "2026-01-31T24:00:00Z", "2026-01-31T08:15:60Z", "0000-01-01T00:00:00Z", "2026-01-31T08:15:00Z\n", "２026-01-31T08:15:00Z"],
)  # fmt: skip
def test_other_spellings_and_impossible_times_are_refused(text):
    with pytest.raises(BadRequest):
        parse_time(text)
