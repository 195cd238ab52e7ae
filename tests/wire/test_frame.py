"""Stream frames as server-sent events and web socket messages (X01)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.constants import REQUEST_MAX_BYTES
from hearthnet.base.errors import BadRequest, FrameMalformed
from hearthnet.wire.frame import SseDecoder, StreamFrame, decode_ws, encode_sse, encode_ws

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DATA = st.none() | TEXT | st.dictionaries(TEXT, TEXT | st.integers(-9, 9) | st.floats(-1, 1), max_size=3)
FRAMES = st.builds(StreamFrame, st.from_regex("[a-z][a-z_]{0,31}", fullmatch=True), DATA, st.integers(1, 2**53 - 1))


def decode_cut(data, cuts):
    decoder, frames, turn = SseDecoder(), [], 0
    while data:
        size = cuts[turn % len(cuts)]
        frames += decoder.feed(data[:size])
        data, turn = data[size:], turn + 1
    decoder.finish()
    return frames


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(1, 30), min_size=1), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_arrive_whole_whatever_the_cut_and_the_line_ends(frames, cuts, line_end):
    data = b"".join(map(encode_sse, frames)).replace(b"\n", line_end)
    if line_end == b"\r":
        data += b"\n"  # a lone \r at the very end could still become \r\n
    assert decode_cut(data, cuts) == frames


@given(FRAMES)
def test_web_socket_messages_read_back(frame):
    assert decode_ws(encode_ws(frame)) == frame


def test_the_form_on_the_wire():
    frame = StreamFrame("token", {"text": "a\nb\u2028"}, 3)
    assert encode_sse(frame) == 'event: token\nid: 3\ndata: {"text":"a\\nb\u2028"}\n\n'.encode()
    assert encode_ws(frame) == '{"data":{"text":"a\\nb\u2028"},"event":"token","seq":3}'.encode()


def test_only_done_and_error_end_a_stream():
    assert [StreamFrame(event, None, 1).is_terminal for event in ("token", "done", "error")] == [False, True, True]


def test_comments_retry_and_split_data_are_read_as_the_standard_says():
    data = b': keep-alive\n\nretry: 5\nevent:done\nid: 1\ndata: {"a":\ndata: 1}\nunknown\n\n\n'
    assert decode_cut(data, [7]) == [StreamFrame("done", {"a": 1}, 1)]


@pytest.mark.parametrize(
    "event",
    [
        b"event: token\ndata: {}\n\n",  # no number
        b"event: token\nid: x\ndata: {}\n\n",
        b"event: token\nid: 0\ndata: {}\n\n",
        b"event: token\nid: " + b"1" * 5000 + b"\ndata: {}\n\n",
        b"event: token\nid: 1\n\n",  # no data
        b"id: 1\ndata: {}\n\n",  # no name
        b"event: TOKEN\nid: 1\ndata: {}\n\n",
        b"event: \xff\nid: 1\ndata: {}\n\n",
    ],
)
def test_an_event_that_is_no_frame_is_refused(event):
    with pytest.raises(FrameMalformed):
        SseDecoder().feed(event)


def test_data_that_is_no_json_is_refused():
    with pytest.raises(BadRequest):
        SseDecoder().feed(b'event: done\nid: 1\ndata: {"a":1,"a":2}\n\n')


@pytest.mark.parametrize("line", [b"data: ", b""])
def test_memory_for_one_event_is_bounded(line):
    with pytest.raises(FrameMalformed, match="more than"):
        SseDecoder().feed(line + b"x" * (REQUEST_MAX_BYTES + 1))
    with pytest.raises(FrameMalformed, match="more than"):
        SseDecoder().feed((b"data: " + b"x" * 100_000 + b"\n") * 20)
    with pytest.raises(FrameMalformed, match="more than"):
        SseDecoder().feed(b"\n" + b"x" * (REQUEST_MAX_BYTES + 1))


@pytest.mark.parametrize("rest", [b"event: token\n", b"data"])
def test_a_stream_cut_off_inside_an_event_says_so(rest):
    decoder = SseDecoder()
    decoder.feed(rest)
    with pytest.raises(FrameMalformed, match="middle"):
        decoder.finish()
