"""What the asking side sends on a web socket (X01)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import FrameMalformed
from hearthnet.wire.stream_message import (
    AckMessage,
    CallMessage,
    CancelMessage,
    ToolResultMessage,
    decode_message,
    encode_message,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BODIES = st.dictionaries(TEXT, TEXT | st.integers(-9, 9), max_size=3)
MESSAGES = (
    st.builds(CallMessage, BODIES, TEXT)
    | st.builds(AckMessage, st.integers(0, 2**53 - 1))
    | st.builds(ToolResultMessage, TEXT, BODIES)
    | st.just(CancelMessage())
)


@given(MESSAGES)
def test_messages_read_back(message):
    assert decode_message(encode_message(message)) == message


def test_the_form_on_the_wire():
    assert encode_message(AckMessage(8)) == b'{"type":"ack","upto":8}'
    assert encode_message(CancelMessage()) == b'{"type":"cancel"}'


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"type":"nod"}',
        b'{"type":"ack"}',
        b'{"type":"ack","upto":-1}',
        b'{"type":"cancel","now":true}',
        b'["ack"]',
    ],
)
def test_other_messages_are_refused(data):
    with pytest.raises(FrameMalformed):
        decode_message(data)
