from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.adapters.engines.pipe import (
    FRAME_MAX_BYTES,
    Beat,
    Call,
    Cancel,
    Done,
    Failed,
    FrameReader,
    Part,
    Ready,
    Start,
    encode_frame,
    pack,
)
from hearthnet.base.errors import FrameMalformed

NUMBERS = st.integers(0, 2**63)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20) | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
RAW = VALUES.map(pack)
MESSAGES = st.one_of(
    st.builds(Start, RAW),
    st.builds(Call, NUMBERS, st.text(max_size=10), RAW),
    st.builds(Cancel, NUMBERS),
    st.builds(Ready, RAW),
    st.builds(Part, NUMBERS, RAW),
    st.builds(Beat, NUMBERS),
    st.builds(Done, NUMBERS, RAW),
    st.builds(Failed, NUMBERS, st.text(max_size=10), st.text(max_size=30)),
)


def plain(message):
    return type(message), {
        name: bytes(value) if isinstance(value, msgspec.Raw) else value
        for name, value in ((name, getattr(message, name)) for name in message.__struct_fields__)
    }


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 40), max_size=30))
def test_messages_arrive_whole_however_the_pipe_cuts_them(messages, cuts):
    data, reader, found = b"".join(encode_frame(message) for message in messages), FrameReader(), []
    for size in cuts:
        found += reader.feed(data[:size])
        data = data[size:]
    found += reader.feed(data)
    assert [plain(message) for message in found] == [plain(message) for message in messages]


@given(st.binary(max_size=200))
def test_bytes_from_a_broken_child_never_do_more_than_fail(data):
    try:
        found = FrameReader().feed(data)
    except FrameMalformed:
        found = []
    assert isinstance(found, list)


@pytest.mark.parametrize(
    "data",
    [
        (FRAME_MAX_BYTES + 1).to_bytes(4, "big") + b"d",
        b"\0\0\0\1d\xc1",
        encode_frame(Beat(1))[:4] + b"d" + encode_frame(Beat(1))[5:],
    ],
    ids=["too long", "no message", "wrong kind"],
)
def test_frame_that_is_none_is_refused(data):
    with pytest.raises(FrameMalformed):
        FrameReader().feed(data)


def test_message_too_long_for_the_pipe_is_refused_where_it_is_made():
    with pytest.raises(FrameMalformed):
        encode_frame(Done(1, pack(bytes(FRAME_MAX_BYTES))))
