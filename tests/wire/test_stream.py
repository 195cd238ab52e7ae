"""Flow control of streams: never more than 16 unread, exactly one terminal frame, whatever happens (X01)."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hearthnet.base.errors import FrameMalformed, InternalError
from hearthnet.wire.frame import StreamFrame
from hearthnet.wire.stream import StreamReceiver, StreamSender


class Conversation(RuleBasedStateMachine):
    """A sender and a receiver with frames and acknowledgements under way between them."""

    def __init__(self):
        super().__init__()
        self.sender, self.receiver = StreamSender(), StreamReceiver()
        self.frames, self.acks = [], []
        self.delivered, self.acknowledged, self.terminals = 0, 0, 0

    @precondition(lambda self: self.sender.is_ready)
    @rule()
    def send(self):
        self.frames.append(self.sender.send("token", {}, 0))

    @precondition(lambda self: not self.sender.is_ready)
    @rule()
    def sending_when_not_ready_is_refused(self):
        with pytest.raises(InternalError):
            self.sender.send("token", {}, 0)

    @rule(event=st.sampled_from(["done", "error"]))
    def end(self, event):
        if self.sender.closed:
            with pytest.raises(InternalError):
                self.sender.send(event, {}, 0)
        else:
            self.frames.append(self.sender.send(event, {}, 0))
            self.terminals += 1

    @rule()
    def cancel(self):
        self.sender.cancel()
        assert not self.sender.is_ready

    @precondition(lambda self: self.frames)
    @rule()
    def deliver(self):
        ack = self.receiver.receive(self.frames.pop(0))
        self.delivered += 1
        if ack is not None:
            self.acks.append(ack)

    @precondition(lambda self: self.acks)
    @rule(stale=st.booleans())
    def acknowledge(self, stale):
        self.acknowledged = max(self.acknowledged, self.acks[0])
        self.sender.ack(self.acks.pop(0))
        if stale:
            self.sender.ack(0)  # an old ack that was overtaken changes nothing

    @invariant()
    def never_more_than_the_window_is_unread(self):
        assert self.delivered + len(self.frames) - self.acknowledged <= 16 + self.terminals

    @invariant()
    def when_everything_arrived_both_sides_agree(self):
        if not self.frames:
            assert self.receiver.closed == self.sender.closed
            if not self.acks and not self.sender.cancelled:
                assert self.sender.is_ready != self.sender.closed  # the stream never locks up


TestConversation = Conversation.TestCase


def test_the_reader_acknowledges_every_eighth_frame_but_not_the_last():
    receiver = StreamReceiver()
    acks = [receiver.receive(StreamFrame("token", None, seq)) for seq in range(1, 24)]
    assert [ack for ack in acks if ack] == [8, 16]
    assert receiver.receive(StreamFrame("done", None, 24)) is None
    receiver.finish()


def test_a_reader_that_stops_is_noticed_after_five_seconds():
    sender = StreamSender()
    for _ in range(16):
        assert not sender.is_stalled(99.0)
        sender.send("token", {}, 100.0)
    assert not sender.is_stalled(105.0)
    assert sender.is_stalled(105.1)
    sender.ack(1)
    assert not sender.is_stalled(105.1)
    sender.send("token", {}, 106.0)
    assert sender.is_stalled(111.1)
    sender.send("error", {}, 111.1)
    assert not sender.is_stalled(200.0)


@pytest.mark.parametrize("upto", [-1, 2])
def test_an_ack_for_frames_never_sent_is_refused(upto):
    sender = StreamSender()
    sender.send("token", {}, 0)
    with pytest.raises(FrameMalformed):
        sender.ack(upto)


def test_a_receiver_refuses_lost_repeated_and_late_frames():
    receiver = StreamReceiver()
    for seq in (2, 1, 1):
        if seq == 1 and not receiver.closed:
            receiver.receive(StreamFrame("done", None, 1))
        else:
            with pytest.raises(FrameMalformed):
                receiver.receive(StreamFrame("token", None, seq))


def test_a_stream_without_terminal_frame_is_an_error():
    receiver = StreamReceiver()
    receiver.receive(StreamFrame("token", None, 1))
    with pytest.raises(FrameMalformed, match="terminal"):
        receiver.finish()


def test_an_ack_that_was_overtaken_changes_nothing():
    sender = StreamSender(window=2)
    sender.send("token", {}, 0)
    sender.send("token", {}, 0)
    sender.ack(2)
    sender.ack(1)
    assert sender.is_ready
    sender.send("token", {}, 0)
    assert sender.is_ready
