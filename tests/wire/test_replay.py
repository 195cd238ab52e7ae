"""No call is answered twice, with or without clocks, in bounded memory (X01, decisions 4 and 26)."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hearthnet.base.errors import BadRequest, Expired, RateLimited
from hearthnet.base.ulid import Ulids
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.replay import ReplayGuard
from hearthnet.wire.rpc import CallHead
from hearthnet.wire.timestamp import format_time

ANNA, BERT = KeyPair(bytes(32)).node_id, KeyPair(bytes(range(32))).node_id
NOW = 1_700_000_000.0
SECRET = bytes(range(32))
IDS = Ulids(lambda: NOW, lambda count: b"\x07" * count)


def call(*, at=NOW, epoch="", sender=ANNA, request_id=None):
    return CallHead(
        capability="rag.query", version="1.0", request_id=request_id or IDS.new(), sender=sender, community=ANNA,
        timestamp=format_time(at), epoch=epoch,
    )  # fmt: skip


@pytest.fixture
def guard():
    return ReplayGuard(SECRET, NOW)


def test_a_call_is_admitted_once(guard):
    for head in (call(), call(epoch=guard.epoch)):
        guard.admit(head, NOW)
        with pytest.raises(Expired, match="already"):
            guard.admit(head, NOW)


def test_an_id_belongs_to_its_sender(guard):
    head = call(epoch=guard.epoch)
    for sender in (ANNA, BERT):
        guard.admit(call(epoch=guard.epoch, sender=sender, request_id=head.request_id), NOW)
        with pytest.raises(Expired):
            guard.admit(call(epoch=guard.epoch, sender=sender, request_id=head.request_id), NOW)


def test_with_the_epoch_no_clock_is_asked(guard):
    guard.admit(call(at=0, epoch=guard.epoch), NOW + 1e9)
    with pytest.raises(Expired):
        guard.admit(call(at=0), NOW + 1e9)


@pytest.mark.parametrize("skew", [-61, 61, 7200])
def test_without_the_epoch_a_minute_is_the_limit(guard, skew):
    guard.admit(call(at=NOW + 1000), NOW + 1000 + 60 * (1 if skew < 0 else -1))
    with pytest.raises(Expired):
        guard.admit(call(at=NOW + 1000 + skew), NOW + 1000)


def test_another_boot_has_another_epoch(guard):
    with pytest.raises(Expired, match="epoch"):
        guard.admit(call(epoch=ReplayGuard(SECRET[::-1], NOW).epoch), NOW)


def test_what_may_have_been_answered_before_this_boot_is_refused(guard):
    with pytest.raises(Expired):
        guard.admit(call(at=NOW - 1), NOW)
    guard.admit(call(at=NOW), NOW + 0.9)


def test_a_clock_that_goes_back_reopens_nothing(guard):
    head = call(at=NOW)
    guard.admit(head, NOW)
    guard.admit(call(at=NOW + 100), NOW + 100)  # the first one is forgotten now
    with pytest.raises(Expired):
        guard.admit(head, NOW)


def test_an_impossible_time_is_refused(guard):
    bad = CallHead(
        capability="a.b",
        version="1.0",
        request_id=IDS.new(),
        sender=ANNA,
        community=ANNA,
        timestamp="2026-02-30T00:00:00Z",
    )
    with pytest.raises(BadRequest):
        guard.admit(bad, NOW)


def test_too_many_calls_without_epoch_are_asked_to_use_it():
    guard = ReplayGuard(SECRET, NOW, capacity=3)
    for _ in range(3):
        guard.admit(call(), NOW)
    with pytest.raises(RateLimited) as caught:
        guard.admit(call(), NOW)
    assert "epoch" in caught.value.fix
    guard.admit(call(epoch=guard.epoch), NOW)
    guard.admit(call(at=NOW + 61), NOW + 61)


class Replays(RuleBasedStateMachine):
    """Calls with known epochs, repeated at random: none is ever admitted twice and memory stays bounded."""

    def __init__(self):
        super().__init__()
        self.guard = ReplayGuard(SECRET, NOW, capacity=4)
        self.answered, self.epochs = [], [self.guard.epoch]

    @rule(back=st.integers(0, 3))
    def new_call(self, back):
        epoch = self.epochs[-1 - min(back, len(self.epochs) - 1)]
        head = call(epoch=epoch)
        if epoch in self.epochs[-2:]:  # the current and the one before are valid
            self.guard.admit(head, NOW)
            self.answered.append(head)
        else:
            with pytest.raises(Expired):
                self.guard.admit(head, NOW)
        if self.guard.epoch != self.epochs[-1]:
            self.epochs.append(self.guard.epoch)

    @rule(data=st.data())
    def repeat(self, data):
        if self.answered:
            with pytest.raises(Expired):
                self.guard.admit(data.draw(st.sampled_from(self.answered)), NOW)

    @invariant()
    def memory_is_bounded(self):
        assert len(self.guard._seen) + len(self.guard._seen_previous) <= 9
        assert len(set(self.epochs)) == len(self.epochs)


TestReplays = Replays.TestCase
