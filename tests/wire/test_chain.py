"""Author chains: gaps and forks become values, whatever the order of arrival; the Lamport clock (X02)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.constants import LAMPORT_MAX_JUMP
from hearthnet.base.errors import EventRejected
from hearthnet.wire.chain import ChainEntry, Duplicate, Extends, Fork, Gap, LamportClock, check_link
from hearthnet.wire.cid import cid_of


def entry(seq, *, epoch=0, tag="", lamport=None):
    return ChainEntry(epoch, seq, cid_of(f"{epoch}/{seq}/{tag}".encode()), lamport or seq * 10)


FIRST, SECOND, THIRD = entry(1), entry(2), entry(3)


def test_an_author_begins_without_a_predecessor():
    assert check_link(FIRST, "", []) == Extends()


def test_the_next_event_extends_the_chain():
    assert check_link(SECOND, FIRST.hash, [FIRST]) == Extends()


def test_the_same_event_again_is_a_duplicate_even_beside_a_fork():
    assert check_link(SECOND, FIRST.hash, [FIRST, entry(2, tag="other"), SECOND]) == Duplicate()


def test_a_missing_predecessor_is_a_gap_that_names_it():
    assert check_link(THIRD, SECOND.hash, []) == Gap(SECOND.hash)
    assert check_link(THIRD, SECOND.hash, [FIRST]) == Gap(SECOND.hash)


def test_two_events_with_one_number_are_a_fork_that_names_both():
    other = entry(2, tag="other")
    assert check_link(other, FIRST.hash, [FIRST, SECOND]) == Fork(0, 2, SECOND.hash, other.hash)
    assert check_link(entry(1, tag="other"), "", [FIRST]) == Fork(0, 1, FIRST.hash, entry(1, tag="other").hash)


def test_a_predecessor_that_differs_from_the_known_one_proves_a_fork():
    unseen = entry(2, tag="unseen")
    assert check_link(THIRD, unseen.hash, [SECOND]) == Fork(0, 2, SECOND.hash, unseen.hash)


def test_an_event_may_follow_either_branch_of_a_known_fork():
    other = entry(2, tag="other")
    assert check_link(THIRD, other.hash, [SECOND, other]) == Extends()


def test_a_restored_author_goes_on_in_a_higher_epoch_without_a_fork():
    restored = entry(3, epoch=1)
    assert check_link(restored, SECOND.hash, [SECOND, THIRD]) == Extends()
    assert check_link(entry(4, epoch=1), restored.hash, [THIRD, restored]) == Extends()
    assert check_link(entry(1, epoch=1), "", [FIRST]) == Extends()


def test_events_of_the_old_epoch_that_arrive_late_still_fit():
    restored = entry(3, epoch=1)
    assert check_link(THIRD, SECOND.hash, [SECOND, restored]) == Extends()
    # a predecessor of a later epoch is none
    assert check_link(entry(4), restored.hash, [restored]) == Gap(restored.hash)


def test_an_unknown_predecessor_in_another_epoch_is_missing_not_forked():
    assert check_link(entry(3, epoch=2), entry(2, epoch=1).hash, [SECOND]) == Gap(entry(2, epoch=1).hash)


def test_time_must_rise_along_the_chain():
    with pytest.raises(EventRejected, match="rise"):
        check_link(entry(2, lamport=10), FIRST.hash, [FIRST])


@given(st.permutations(range(1, 9)), st.integers(0, 8))
def test_any_order_of_arrival_ends_with_the_whole_chain(order, epoch_from):
    chain = [entry(seq, epoch=int(seq > epoch_from)) for seq in range(1, 9)]
    known, waiting = [], [chain[seq - 1] for seq in order]
    for _ in range(len(chain)):
        still = []
        for item in waiting:
            prev = chain[item.author_seq - 2].hash if item.author_seq > 1 else ""
            link = check_link(item, prev, known)
            if isinstance(link, Extends):
                known.append(item)
            else:
                assert link == Gap(prev)
                still.append(item)
        waiting = still
    assert sorted(known, key=lambda item: item.author_seq) == chain


@given(st.lists(st.integers(1, 10**6)))
def test_own_events_come_after_everything_received(received):
    clock = LamportClock()
    for lamport in received:
        clock.receive(lamport)
        assert clock.value > lamport
    assert clock.tick() == clock.value > max(received, default=0)


def test_a_time_far_ahead_is_refused_and_changes_nothing():
    clock = LamportClock(5)
    with pytest.raises(EventRejected):
        clock.receive(5 + LAMPORT_MAX_JUMP + 1)
    assert clock.value == 5
    clock.receive(5 + LAMPORT_MAX_JUMP)
    assert clock.value == 6 + LAMPORT_MAX_JUMP
