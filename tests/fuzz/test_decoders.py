"""Random and nearly valid bytes never make a decoder raise anything but our own errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.decoders import DECODERS, outcome


@st.composite
def nearly_valid(draw, samples):
    """A real sample with a few bytes replaced, removed or inserted."""
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 4))
        data = (
            data[:start]
            + draw(st.binary(max_size=4) | st.sampled_from([b"null", b"{}", b'"', b"[", b"1e9"]))
            + data[end:]
        )
    return data


@pytest.mark.parametrize("name", DECODERS)
def test_real_samples_are_read(name):
    assert {outcome(DECODERS[name], sample) for sample in DECODERS[name].samples} == {"read"}


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
def test_hostile_bytes_are_read_or_refused(name, data):
    hostile = data.draw(st.binary(max_size=200) | nearly_valid(DECODERS[name].samples))
    assert outcome(DECODERS[name], hostile) in ("read", "refused")
