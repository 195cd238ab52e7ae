"""The members view and admission: the graph of acts between log and node."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import EventRejected, Revoked
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.admission import Admission
from hearthnet.mesh.members_view import MembersView
from hearthnet.wire.community import MemberInvited
from hearthnet.wire.event_types import CidUnpinned
from wire.membership_world import COMMUNITY, KEYS, LATER, Box, meet

BLOB = CidUnpinned("blake3:" + "0" * 64)


class Scribe(Box):
    """A box that keeps its events as they are stored."""

    def __init__(self, *args, **kwargs):
        self.sealed = []
        super().__init__(*args, **kwargs)

    def seal(self, data, **changes):
        self.sealed.append(super().seal(data, **changes))
        return self.sealed[-1]


def village():
    founder, anna = Scribe(0), Scribe(1)
    founder.found()
    anna.hear(founder.acts)
    anna.hear([founder.invite(anna)])
    anna.join(anna.acts[-1])
    meet(founder, anna)
    return founder, anna


def view_of(*boxes):
    view = MembersView(COMMUNITY)
    for box in boxes:
        for sealed in box.sealed:
            if isinstance(sealed.data, MembersView.kinds):
                view.apply(sealed)
    return view


def test_levels_names_and_rules():
    founder, anna = village()
    view = view_of(founder, anna)
    assert (view.trust(COMMUNITY), view.trust(anna.node_id)) == (TrustLevel.ANCHOR, TrustLevel.MEMBER)
    assert view.trust(KEYS[9].node_id) is TrustLevel.UNKNOWN
    assert view.community_name == "Our street"
    assert view.policy.min_signatures_to_revoke == 3
    assert [member.node_id for member in view.members()] == [COMMUNITY, anna.node_id]
    assert view.member(anna.node_id).added_by == COMMUNITY
    view.reset()
    assert view.members() == []


def test_who_was_removed_is_told_so():
    founder, anna = village()
    founder.revoke(anna)
    with pytest.raises(Revoked):
        view_of(founder, anna).trust(anna.node_id)


@given(st.integers(0, 4), st.randoms(use_true_random=False))
def test_a_restored_view_goes_on_as_if_it_had_never_stopped(cut, random):
    founder, anna = village()
    anna.invite(Box(5))
    events = [*founder.sealed, *anna.sealed]
    random.shuffle(events)
    whole, before, after = (MembersView(COMMUNITY) for _ in range(3))
    for sealed in events:
        whole.apply(sealed)
    for sealed in events[:cut]:
        before.apply(sealed)
    after.restore_state(before.snapshot_state())
    for sealed in events[cut:]:
        after.apply(sealed)
    assert after.members() == whole.members()
    assert {act.hash: stands for act, stands in after.membership.history()} == {
        act.hash: stands for act, stands in whole.membership.history()
    }


def test_a_damaged_snapshot_is_refused():
    view = MembersView(COMMUNITY)
    state = view_of(*village()).snapshot_state()
    for bad in (b"[]x", b"[[1]]", state.replace(b"community.member.joined", b"file.cid.unpinned"), state[:-9]):
        with pytest.raises(msgspec.DecodeError):
            view.restore_state(bad)


def test_a_stored_act_that_never_counted_is_left_out(caplog):
    founder, anna = village()
    anna.seal(anna.follow(MemberInvited(KEYS[5].node_id, "", "anchor", LATER)))
    assert [member.node_id for member in view_of(founder, anna).members()] == [COMMUNITY, anna.node_id]
    assert "does not count" in caplog.text


def test_members_are_admitted_strangers_and_the_removed_are_not():
    founder, anna = village()
    admission = Admission(view_of(founder, anna))
    known = anna.seal(BLOB)
    founder.heads[anna.node_id] = msgspec.structs.replace(founder.head(anna), author_seq=2, hash=known.hash)
    admission.check(known)
    with pytest.raises(EventRejected, match="unknown_author"):
        admission.check(Scribe(7).seal(BLOB))
    founder.revoke(anna)
    revoked = founder.sealed[-1]
    admission.check(revoked)
    trial = admission.branch()
    trial.count(known)
    trial.count(revoked)
    trial.check(known)
    late = anna.seal(BLOB)
    admission.check(late)  # the branch kept its knowledge to itself
    with pytest.raises(EventRejected, match="revoked_author"):
        trial.check(late)


def test_acts_are_admitted_by_right_and_when_what_they_follow_is_known():
    founder, anna = village()
    admission = Admission(view_of(founder, anna))
    anna.invite(Box(5))
    founder.hear([anna.acts[-1]])
    founder.invite(Box(6))
    late = founder.sealed[-1]
    with pytest.raises(EventRejected, match="not known here yet"):
        admission.check(late)
    admission.check(anna.sealed[-1])
    admission.count(anna.sealed[-1])
    admission.check(late)
    with pytest.raises(EventRejected, match="must sign"):
        admission.check(anna.seal(anna.follow(MemberInvited(KEYS[5].node_id, "", "trusted", LATER))))
