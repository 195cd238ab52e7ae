"""Membership by causal past: who may do what, and what a removal undoes (M01)."""

from __future__ import annotations

import msgspec
import pytest

from hearthnet.base.errors import EventRejected, InvalidSignature, SchemaMismatch
from hearthnet.base.types import TrustLevel
from hearthnet.wire.co_signature import check_co_signers, co_sign, with_co_signers
from hearthnet.wire.community import (
    CommunityCreated,
    CommunityPolicy,
    KnownHead,
    MemberInvited,
    MemberJoined,
    MemberLeft,
    MemberPromoted,
    MemberRevoked,
)
from hearthnet.wire.event_types import CidUnpinned
from hearthnet.wire.membership import Membership
from hearthnet.wire.membership_act import act_of
from hearthnet.wire.membership_law import quorum_for
from wire.membership_world import COMMUNITY, KEYS, LATER, Box, levels, meet, street


def raises_rejection(match):
    return pytest.raises(EventRejected, match=match)


# ---- the plain life of a community ----------------------------------------------------------------------------


def test_a_founder_alone_is_anchor_and_root():
    founder = Box(0)
    founder.found()
    assert levels(founder.view) == {COMMUNITY: "anchor"}
    assert (founder.view.root, founder.view.name) == (COMMUNITY, "Our street")


def test_an_empty_membership_knows_nobody():
    view = Membership(COMMUNITY)
    assert (view.members(), view.name, view.policy, view.root) == ([], "", CommunityPolicy(), COMMUNITY)
    assert view.frontier() == ()
    assert view.member(COMMUNITY) is None


def test_invited_joined_promoted_demoted():
    founder, anna = street("trusted")
    assert anna.level(anna) == "trusted"
    founder.demote(anna, "member")
    assert founder.level(anna) == "member"
    found = founder.view.member(anna.node_id)
    assert found.added_by == COMMUNITY
    assert isinstance(found.since.data, MemberJoined)


def test_who_leaves_comes_back_only_by_a_new_invitation():
    founder, anna = street("member")
    old = founder.view.history()
    invitation = next(act for act, _ in old if isinstance(act.data, MemberInvited))
    anna.leave()
    assert anna.level(anna) == "unknown"
    with raises_rejection("used, or is older"):
        anna.join(invitation)
    meet(founder, anna)
    assert [removed.node_id for removed in founder.view.removed()] == [anna.node_id]
    anna.hear([founder.invite(anna)])
    anna.join(anna.acts[-1])
    assert anna.level(anna) == "member"
    assert anna.view.removed() == []


def test_an_invitation_is_for_one_node_and_one_use():
    founder, _anna = street("member")
    bert = Box(5, founder.acts, founder.lamport)
    invitation = founder.invite(bert)
    carl = Box(6, founder.acts, founder.lamport)
    with raises_rejection("another node"):
        carl.join(invitation)
    bert.hear([invitation])
    bert.join(invitation)
    with raises_rejection("already_member"):
        bert.join(invitation)


def test_an_invitation_that_the_joiner_does_not_name_in_its_past_is_unknown():
    founder, _anna = street("member")
    before = founder.view.frontier()
    bert = Box(5, founder.acts, founder.lamport)
    invitation = founder.invite(bert)
    bert.hear([invitation])
    with raises_rejection("the invitation is not known"):
        bert.join(invitation, after=before)


def test_two_invitations_of_one_event_id_are_none():
    founder, _anna = street("member")
    bert = Box(5)
    one = founder.invite(bert, event_id="01HZX3M7Q80000000000000AAA")
    founder.invite(bert, event_id="01HZX3M7Q80000000000000AAA")
    bert.hear(founder.acts)
    with raises_rejection("the invitation is not known"):
        bert.join(one)


def test_open_invitations_are_listed_until_used_or_withdrawn():
    founder, anna = street("member")
    bert = Box(5)
    one, two = founder.invite(bert), founder.invite(bert)
    assert founder.view.invitations_of(bert.node_id) == [two, one]
    founder.revoke(bert)
    assert founder.view.invitations_of(bert.node_id) == []
    assert founder.view.invitations_of(anna.node_id) == []
    bert.hear(founder.acts)
    with raises_rejection("older than the removal"):
        bert.join(one)


# ---- who may do what --------------------------------------------------------------------------------------------


def test_a_stranger_founds_nothing_here_and_the_founding_follows_nothing():
    founder, anna = street("member")
    other = Box(7)
    with raises_rejection("founded by its root key"):
        other.found()
    with raises_rejection("founded by its root key"):
        founder.write(CommunityCreated("Mine", anna.node_id, CommunityPolicy()))
    with raises_rejection("founded already"):
        founder.write(CommunityCreated("Again", COMMUNITY, CommunityPolicy()))
    with raises_rejection("founded already"):
        founder.write(CommunityCreated("Again", COMMUNITY, CommunityPolicy()), after=founder.view.frontier())


def test_an_act_that_follows_nothing_is_refused():
    founder, _ = street("member")
    with raises_rejection("names no act before it"):
        founder.invite(Box(5), after=())


def test_a_stranger_invites_nobody():
    founder, _ = street("member")
    stranger = Box(9, founder.acts)
    with raises_rejection("1 of level member"):
        stranger.invite(Box(5))
    with raises_rejection("not a member"):
        stranger.leave()


def test_nobody_invites_above_what_they_could_promote_to():
    founder, anna, bert = street("member", "trusted")
    with raises_rejection("of level trusted"):
        anna.invite(Box(5), "trusted")
    with raises_rejection("2 of level trusted"):  # one trusted member alone names no second one
        bert.invite(Box(5), "trusted")
    with raises_rejection("of level anchor"):
        bert.invite(Box(5), "anchor")
    assert bert.invite(Box(5))
    assert founder.invite(Box(6), "trusted")


def test_the_policy_may_let_trusted_members_invite_only():
    _founder, anna, bert = street("member", "trusted", policy=CommunityPolicy(default_member_can_invite=False))
    with raises_rejection("1 of level trusted"):
        anna.invite(Box(5))
    assert bert.invite(Box(5))


def test_the_policy_may_ask_for_several_to_invite():
    founder, anna, bert = street("member", "member", policy=CommunityPolicy(min_signatures_to_invite=1))
    founder.set_policy(min_signatures_to_invite=2)
    meet(founder, anna, bert)
    with raises_rejection("2 of level member"):
        anna.invite(Box(5))
    assert anna.invite(Box(5), "member", bert)


def test_nobody_promotes_themselves():
    founder, anna, bert = street("member", "trusted")
    with raises_rejection("of level trusted"):
        anna.promote(anna, "trusted")
    with raises_rejection("of level anchor"):
        bert.promote(bert, "anchor")
    with raises_rejection("lower level"):
        founder.promote(bert, "trusted")
    with raises_rejection("lower level"):
        founder.promote(Box(9), "trusted")


def test_trusted_members_promote_together_an_anchor_alone():
    _founder, anna, bert, carl = street("member", "trusted", "trusted")
    with raises_rejection("2 of level trusted"):
        bert.promote(anna, "trusted")
    bert.promote(anna, "trusted", carl)
    assert bert.level(anna) == "trusted"
    assert quorum_for(MemberPromoted, bert.view.state, level=TrustLevel.TRUSTED).quorum == 1


def test_an_anchor_may_be_one_of_the_trusted_that_promote_together():
    founder, anna, bert, _carl = street("member", "trusted", "trusted")
    bert.promote(anna, "trusted", founder)
    assert bert.level(anna) == "trusted"


def test_a_second_anchor_needs_one_a_third_needs_both():
    founder, anna, bert = street("trusted", "trusted")
    founder.promote(anna, "anchor")
    meet(founder, anna, bert)
    with raises_rejection("2 of level anchor"):
        anna.promote(bert, "anchor")
    with raises_rejection("2 of level anchor"):
        anna.promote(bert, "anchor", bert)
    anna.promote(bert, "anchor", founder)
    assert anna.level(bert) == "anchor"


@pytest.mark.parametrize(("others", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (9, 3)])
def test_the_quorum_of_a_removal_is_three_or_the_majority_of_the_others(others, needed):
    boxes = street(*["trusted"] * (others - 1), "trusted")
    target, *signers = boxes[::-1]
    assert quorum_for(MemberRevoked, boxes[0].view.state, target.node_id).quorum == needed
    if needed > 1:
        with raises_rejection(f"{needed} of level trusted"):
            signers[0].revoke(target, *signers[1 : needed - 1])
    signers[0].revoke(target, *signers[1:needed])
    assert signers[0].level(target) == "unknown"


def test_two_nodes_can_act_but_the_root_stays():
    founder, anna = street("anchor")
    with raises_rejection("succeeded before"):
        anna.revoke(founder)
    founder.revoke(anna)
    assert founder.level(anna) == "unknown"


def test_the_policy_sets_the_number_of_signatures():
    boxes = street(*["trusted"] * 6, policy=CommunityPolicy(min_signatures_to_revoke=1, min_signatures_to_demote=2))
    founder, anna, bert, carl, *_ = boxes
    anna.revoke(bert)
    with raises_rejection("2 of level trusted"):
        anna.demote(carl, "member")
    anna.demote(carl, "member", founder)
    assert (anna.level(bert), anna.level(carl)) == ("unknown", "member")


def test_an_anchor_is_removed_by_anchors_only():
    founder, anna, bert, carl, dora = street("anchor", "trusted", "trusted", "trusted")
    with raises_rejection("1 of level anchor"):
        bert.revoke(anna, carl, dora)
    founder.revoke(anna)
    assert founder.level(anna) == "unknown"


def test_nobody_votes_on_the_own_removal_but_one_may_step_back():
    founder, anna, bert = street("trusted", "trusted")
    with raises_rejection("own removal"):
        bert.revoke(anna, anna)
    with raises_rejection("own removal"):
        bert.demote(anna, "member", anna)
    anna.demote(anna, "member")
    assert anna.level(anna) == "member"
    with raises_rejection("no such level"):
        anna.demote(anna, "member")
    with raises_rejection("names a successor"):
        founder.leave()


def test_only_the_root_changes_the_rules():
    founder, anna = street("anchor")
    with raises_rejection("of level"):
        anna.set_policy(min_signatures_to_revoke=1)
    founder.set_policy(min_signatures_to_revoke=2)
    assert founder.view.policy.min_signatures_to_revoke == 2


# ---- the successor of the root ------------------------------------------------------------------------------------


def test_a_majority_of_the_anchors_names_a_successor_to_a_lost_root():
    founder, anna, bert = street("anchor", "anchor")
    with raises_rejection("2 of level anchor"):
        anna.succeed(anna)
    anna.succeed(anna, bert)
    assert anna.view.root == anna.node_id
    anna.set_policy(min_signatures_to_revoke=2)
    assert anna.view.policy.min_signatures_to_revoke == 2
    meet(founder, anna, bert)
    with raises_rejection("of level"):
        founder.set_policy(min_signatures_to_revoke=1)
    anna.revoke(founder, bert)
    assert levels(anna.view) == {anna.node_id: "anchor", bert.node_id: "anchor"}
    assert anna.view.root == anna.node_id


def test_the_root_hands_over_and_may_leave_then():
    founder, anna = street("anchor")
    with raises_rejection("another anchor"):
        founder.succeed(founder, reason="handed_over")
    founder.succeed(anna, reason="handed_over")
    assert founder.view.root == anna.node_id
    founder.leave()
    assert levels(founder.view) == {anna.node_id: "anchor"}


def test_what_the_old_root_did_beside_its_succession_is_void():
    founder, anna, bert = street("anchor", "anchor")
    stolen = founder.set_policy(min_signatures_to_revoke=1)
    handed = founder.succeed(bert, reason="handed_over")
    anna.succeed(anna, bert)
    meet(founder, anna, bert)
    for box in (founder, anna, bert):
        assert box.view.root == anna.node_id
        assert box.view.policy.min_signatures_to_revoke == 3
        assert {act.hash for act, stands in box.view.history() if not stands} == {stolen.hash, handed.hash}


def test_a_successor_that_is_removed_at_the_same_time_does_not_rule():
    founder, anna, bert, carl = street("anchor", "anchor", "anchor")
    anna.succeed(bert, founder, carl)
    carl.revoke(bert, anna, founder)
    meet(founder, anna, bert, carl)
    assert carl.view.root == COMMUNITY
    assert bert.node_id not in levels(carl.view)


def test_two_successors_at_once_are_one_everywhere():
    founder, anna, bert, carl = street("anchor", "anchor", "anchor")
    anna.succeed(anna, founder, carl)
    bert.succeed(bert, founder, carl, anna)
    meet(founder, anna, bert, carl)
    assert {box.view.root for box in (founder, anna, bert, carl)} == {bert.node_id}  # more agreed


# ---- co-signatures --------------------------------------------------------------------------------------------


def test_a_co_signature_is_for_one_target_one_community_one_state():
    founder, anna, bert, carl = street("trusted", "trusted", "member")
    revoke = MemberRevoked(carl.node_id, "other", founder.head(carl), LATER, founder.view.frontier())
    agreed = co_sign(bert.key, COMMUNITY, revoke)
    assert check_co_signers(anna.node_id, COMMUNITY, with_co_signers(revoke, (agreed,))) == (anna.node_id, bert.node_id)
    others = [
        msgspec.structs.replace(revoke, target_node_id=anna.node_id),
        msgspec.structs.replace(revoke, reason="compromised"),
        msgspec.structs.replace(revoke, target_head=KnownHead(0, 9, revoke.after[0])),
        msgspec.structs.replace(revoke, after=()),
        msgspec.structs.replace(revoke, expires_at="2031-01-01T00:00:00Z"),
        MemberPromoted(carl.node_id, "trusted", revoke.target_head, LATER, revoke.after),
    ]
    for other in others:
        with pytest.raises(InvalidSignature):
            check_co_signers(anna.node_id, COMMUNITY, with_co_signers(other, (agreed,)))
    with pytest.raises(InvalidSignature):
        check_co_signers(anna.node_id, KEYS[8].node_id, with_co_signers(revoke, (agreed,)))
    with pytest.raises(SchemaMismatch):
        co_sign(bert.key, COMMUNITY, MemberLeft())


def test_a_signer_counts_once():
    _founder, anna, bert, carl = street("trusted", "trusted", "member")
    with raises_rejection("stands twice"):
        anna.revoke(carl, bert, bert)
    with raises_rejection("stands twice"):
        anna.revoke(carl, anna)


def test_an_agreement_ends_with_its_expiry_and_with_the_membership_it_was_about():
    founder, anna = street("member")
    with raises_rejection("expired"):
        founder.revoke(anna, now=1.9e9)
    old = founder.head(anna)
    anna.leave()
    meet(founder, anna)
    anna.hear([founder.invite(anna)])
    anna.join(anna.acts[-1])
    meet(founder, anna)
    with raises_rejection("older than the target's membership"):
        founder.write(MemberRevoked(anna.node_id, "other", old, LATER))


def test_signers_of_too_low_a_level_do_not_count():
    _founder, anna, bert, carl = street("trusted", "member", "member")
    with raises_rejection("2 of level trusted"):
        anna.revoke(carl, bert)


def test_what_is_no_act_of_membership_or_out_of_form_is_refused():
    founder, _anna = street("member")
    with raises_rejection("no act of membership"):
        act_of(founder.seal(CidUnpinned("blake3:" + "0" * 64)))
    both = founder.view.frontier() * 2
    with raises_rejection("do not rise"):
        act_of(founder.seal(msgspec.structs.replace(MemberLeft(), after=both)))


def test_lamport_time_lies_beyond_the_acts_followed_so_that_no_circle_can_be_told():
    founder, anna = street("member")
    with raises_rejection("does not lie beyond"):
        anna.invite(Box(5), lamport=2, after=founder.view.frontier())


# ---- acts beside a removal ----------------------------------------------------------------------------------------


def test_what_the_removed_does_without_knowing_is_void_and_what_rests_on_it():
    founder, anna, bert = street("anchor", "member")
    meet(founder, anna, bert)
    newcomer, friend = Box(8, anna.acts, anna.lamport), Box(9)
    newcomer.hear([anna.invite(newcomer)])
    newcomer.join(newcomer.acts[-1])  # rests on the invitation
    friend.hear([newcomer.invite(friend), *newcomer.acts])
    friend.join(newcomer.acts[-1])
    founder.revoke(anna)
    meet(founder, anna, newcomer, friend)
    for box in (founder, anna, newcomer, friend):
        assert levels(box.view) == {COMMUNITY: "anchor", bert.node_id: "member"}


def test_what_the_removed_did_before_stays():
    founder, anna, _bert = street("anchor", "trusted")
    newcomer = Box(8, anna.acts, anna.lamport)
    newcomer.hear([anna.invite(newcomer)])
    newcomer.join(newcomer.acts[-1])
    meet(founder, anna, newcomer)
    founder.revoke(anna)
    assert founder.level(newcomer) == "member"


def test_a_back_dated_act_of_the_removed_is_void_whatever_time_it_claims():
    founder, anna, bert = street("anchor", "trusted")
    before = founder.view.frontier()
    founder.revoke(anna)
    anna.hear([])
    late = anna.promote(bert, "anchor", founder, after=before)  # a co-signature from better days helps nothing
    anna.invite(Box(8), after=before)
    meet(founder, anna, bert)
    assert founder.level(bert) == "trusted"
    assert not {act.hash: stands for act, stands in founder.view.history()}[late.hash]


def test_a_signature_of_the_removed_does_not_count_beside_the_removal():
    founder, anna, bert, carl = street("trusted", "trusted", "member")
    anna.promote(carl, "trusted", bert)
    founder.revoke(bert, anna)
    meet(founder, anna, bert, carl)
    assert founder.level(carl) == "member"


def test_one_signature_more_than_needed_survives_the_removal_of_a_signer():
    founder, anna, bert, carl, dora = street("trusted", "trusted", "trusted", "member")
    anna.revoke(dora, bert, carl, founder)
    founder.revoke(bert, anna, carl)
    meet(founder, anna, bert, carl, dora)
    assert levels(founder.view).keys() == {box.node_id for box in (founder, anna, carl)}


def test_an_act_beside_a_demotion_stands_if_the_lower_level_suffices():
    founder, anna, _bert = street("trusted", "member")
    newcomer = Box(8, anna.acts, anna.lamport)
    newcomer.hear([anna.invite(newcomer)])
    newcomer.join(newcomer.acts[-1])
    founder.demote(anna, "member")
    meet(founder, anna, newcomer)
    assert founder.level(newcomer) == "member"


def test_mutual_removals_both_apply():
    founder, anna, bert = street("trusted", "trusted")
    anna.revoke(bert, founder)
    bert.revoke(anna, founder)
    meet(founder, anna, bert)
    for box in (founder, anna, bert):
        assert levels(box.view) == {COMMUNITY: "anchor"}


def test_removals_in_a_circle_all_apply():
    policy = CommunityPolicy(min_signatures_to_revoke=1)
    founder, anna, bert, carl = street("trusted", "trusted", "trusted", policy=policy)
    anna.revoke(bert)
    bert.revoke(carl)
    carl.revoke(anna)
    meet(founder, anna, bert, carl)
    assert levels(founder.view) == {COMMUNITY: "anchor"}


def test_the_removed_cannot_take_an_uninvolved_member_along():
    policy = CommunityPolicy(min_signatures_to_revoke=1)
    founder, anna, bert, carl = street("trusted", "trusted", "member", policy=policy)
    founder.revoke(anna)
    anna.revoke(carl)
    anna.revoke(bert)
    meet(founder, anna, bert, carl)
    assert levels(founder.view).keys() == {founder.node_id, bert.node_id, carl.node_id}


def test_puppets_of_the_removed_remove_nobody():
    founder, anna, bert, carl = street("anchor", "trusted", "member")
    before = anna.view.frontier()
    founder.revoke(anna)
    puppets = [Box(number, anna.acts, anna.lamport) for number in (20, 21, 22)]
    for puppet in puppets:  # anna goes back to the day before
        invitation = anna.invite(puppet, "trusted", after=before)
        puppet.hear([invitation])
        anna.hear([puppet.join(invitation, after=[invitation.hash])])
    for puppet in puppets:
        puppet.hear([act for act in anna.acts if act not in puppet.acts])
    puppets[0].revoke(bert, *puppets[1:])
    meet(founder, anna, bert, carl, *puppets)
    assert levels(founder.view).keys() == {founder.node_id, bert.node_id, carl.node_id}


def test_a_chain_of_removals_is_settled_from_its_first():
    policy = CommunityPolicy(min_signatures_to_revoke=1)
    founder, anna, bert, carl, dora = street("trusted", "trusted", "trusted", "trusted", policy=policy)
    newcomer = Box(8)
    dora.invite(newcomer)  # stands
    carl.revoke(dora)  # void: carl is removed beside it
    bert.revoke(carl)  # stands: anna's removal of bert does not
    anna.revoke(bert)  # void: anna is removed beside it
    founder.revoke(anna)
    for order in (founder, anna, bert, carl, dora), (dora, carl, bert, anna, founder):
        view = Membership(COMMUNITY)
        for box in order:
            for act in box.acts:
                view.add(act)
        assert levels(view).keys() == {founder.node_id, bert.node_id, dora.node_id}
        assert len(view.invitations_of(newcomer.node_id)) == 1


def test_an_act_that_relied_on_a_removal_now_void_is_void_itself():
    policy = CommunityPolicy(min_signatures_to_revoke=1, min_signatures_to_demote=1)
    founder, anna, bert, carl, dora = street("trusted", "trusted", "trusted", "member", policy=policy)
    anna.demote(bert, "member")
    carl.revoke(anna)  # with it the demotion is void
    bert.hear([*anna.acts[-1:], *carl.acts[-1:]])
    bert.revoke(dora)
    assert bert.level(dora) == "unknown"
    founder.revoke(carl)  # so anna was not removed, and bert was demoted
    meet(founder, anna, bert, carl, dora)
    assert levels(founder.view) == {
        founder.node_id: "anchor", anna.node_id: "trusted", bert.node_id: "member", dora.node_id: "member",
    }  # fmt: skip


def test_a_root_that_hands_over_twice_at_once_is_succeeded_by_one_and_its_heirs_hold():
    founder, anna, bert, carl = street("anchor", "anchor", "anchor")
    before = founder.view.frontier()
    one = founder.succeed(anna, reason="handed_over")
    two = founder.succeed(bert, reason="handed_over", after=before)
    heirs = {one.hash: anna, two.hash: bert}
    for handed, heir in heirs.items():
        heir.hear([act for act in founder.acts if act.hash == handed])
        known = heir.view.frontier()
        heir.set_policy(min_signatures_to_federate=2)
        heir.succeed(carl, reason="handed_over", after=known)
    meet(founder, anna, bert, carl)
    assert founder.view.root == carl.node_id
    assert sum(not stands for _, stands in founder.view.history()) == 2  # what the heirs did beside handing over


def test_many_removals_beside_acts_of_the_removed():
    founder, *others = street(*["member"] * 20)
    for box in others:
        box.hear([act for act in founder.acts if act not in box.acts])
        box.invite(Box(35))
        founder.revoke(box)
        founder.hear(box.acts[-1:])
        founder.invite(Box(36))
    assert levels(founder.view) == {COMMUNITY: "anchor"}
    assert sum(not stands for _, stands in founder.view.history()) == 20
    assert len(founder.view._resolutions) <= 16


def test_removed_by_one_and_brought_back_by_another_at_once_is_removed():
    founder, anna, bert, carl = street("trusted", "trusted", "member")
    founder.revoke(carl, anna)
    bert.revoke(carl, anna)
    carl.hear(bert.acts)
    carl.hear([bert.invite(carl)])
    bert.hear([carl.join(carl.acts[-1])])
    assert bert.level(carl) == "member"
    meet(founder, anna, bert, carl)
    assert founder.level(carl) == "unknown"


def test_side_by_side_the_lower_level_counts():
    founder, anna, bert, carl, dora = street("anchor", "anchor", "trusted", "member")
    founder.promote(dora, "trusted")
    anna.promote(carl, "anchor", bert)
    founder.demote(carl, "member", bert, anna)
    meet(founder, anna, bert, carl, dora)
    assert anna.level(carl) == "member"
    assert anna.level(dora) == "trusted"


def test_who_leaves_voids_what_it_hid():
    founder, anna = street("trusted")
    before = anna.view.frontier()
    anna.leave()
    hidden = anna.write(MemberInvited(KEYS[8].node_id, "", "member", LATER), after=before)
    meet(founder, anna)
    assert hidden.hash in {act.hash for act, stands in founder.view.history() if not stands}


# ---- other events of members -----------------------------------------------------------------------------------


def place(seq, hash_="", epoch=0):
    return KnownHead(epoch, seq, hash_)


def test_events_count_from_the_joining_on():
    founder, anna = street("member")
    joined = founder.head(anna)
    founder.view.check_author(anna.node_id, place(joined.author_seq + 1))
    founder.view.check_author(anna.node_id, place(joined.author_seq + 50))
    founder.view.check_author(anna.node_id, place(joined.author_seq + 50, epoch=1))
    for seq in range(joined.author_seq + 1):  # what stands at the place of the joining is another branch
        with raises_rejection("unknown_author"):
            founder.view.check_author(anna.node_id, place(seq))
    with raises_rejection("unknown_author"):
        founder.view.check_author(KEYS[9].node_id, place(5))


def test_events_beyond_the_head_that_a_removal_names_are_void():
    founder, anna = street("member")
    founder.heads[anna.node_id] = KnownHead(1, 7, "blake3:" + "7" * 64)
    founder.revoke(anna)
    check = founder.view.check_author
    for fine in (place(7, "blake3:" + "7" * 64, 1), place(6, epoch=1), place(7), place(3)):
        check(anna.node_id, fine)
    for void in (place(8), place(8, epoch=1), place(7, "blake3:" + "6" * 64, 1), place(5, epoch=2)):
        with raises_rejection("revoked_author"):
            check(anna.node_id, void)


def test_a_head_below_an_act_that_the_removers_knew_is_read_as_that_act():
    founder, anna = street("trusted")
    meet(founder, anna)
    anna.invite(Box(8))
    meet(founder, anna)
    newest = founder.heads[anna.node_id]
    founder.heads[anna.node_id] = KnownHead(0, 1)
    founder.revoke(anna)
    founder.view.check_author(anna.node_id, place(newest.author_seq))
    with raises_rejection("revoked_author"):
        founder.view.check_author(anna.node_id, place(newest.author_seq + 1))


def test_who_came_back_writes_again_and_what_lies_between_stays_void():
    founder, anna = street("member")
    known = KnownHead(0, founder.head(anna).author_seq + 3, "blake3:" + "3" * 64)
    founder.heads[anna.node_id] = known
    founder.revoke(anna)
    anna.hear([founder.acts[-1], founder.invite(anna)])
    anna.last = msgspec.structs.replace(anna.last, author_seq=known.author_seq + 5)
    joined = anna.join(anna.acts[-1]).author_seq
    meet(founder, anna)
    founder.view.check_author(anna.node_id, place(joined + 1))
    founder.view.check_author(anna.node_id, known)
    for between in range(known.author_seq + 1, joined + 1):
        with raises_rejection("revoked_author"):
            founder.view.check_author(anna.node_id, place(between))


def test_who_left_is_held_to_the_place_of_its_leaving():
    _founder, anna = street("member")
    left = anna.leave()
    anna.view.check_author(anna.node_id, place(left.author_seq, left.hash))
    with raises_rejection("revoked_author"):
        anna.view.check_author(anna.node_id, place(left.author_seq + 1))


# ---- the graph ----------------------------------------------------------------------------------------------------


def test_acts_wait_for_those_they_follow_and_a_copy_goes_its_own_way():
    founder, anna = street("trusted")
    view = Membership(COMMUNITY)
    *early, last = founder.acts
    view.add(last)
    view.add(last)
    assert len(view.waiting()) == 1
    with raises_rejection("not known here"):
        view.judge(last)
    for act in early:
        view.add(act)
    assert view.waiting() == []
    assert levels(view) == levels(founder.view)
    twin = view.copy()
    twin.add(founder.demote(anna, "member"))
    assert (twin.level(anna.node_id).label, view.level(anna.node_id).label) == ("member", "trusted")


def test_a_refused_act_takes_those_that_wait_for_it_along():
    founder, anna = street("member")
    bad = act_of(anna.seal(anna.follow(MemberPromoted(anna.node_id, "trusted", founder.head(anna), LATER))))
    worse = act_of(anna.seal(anna.follow(MemberInvited(KEYS[8].node_id, "", "trusted", LATER), [bad.hash])))
    late = act_of(founder.seal(founder.follow(MemberInvited(KEYS[9].node_id, "", "anchor", LATER), [worse.hash])))
    for act in (late, worse):
        founder.view.add(act)
    with raises_rejection("of level"):
        founder.view.add(bad)
    assert len(founder.view.waiting()) == 2
    wrong = act_of(anna.seal(anna.follow(MemberInvited(KEYS[8].node_id, "", "trusted", LATER), [founder.acts[0].hash])))
    fresh = Membership(COMMUNITY)
    fresh.add(wrong)
    fresh.add(founder.acts[0])  # the one that waited is refused without a word
    assert fresh.waiting() == []
    assert len(list(fresh.history())) == 1


def test_an_own_act_names_at_most_32_and_what_is_needed_first():
    founder, _anna = street("member")
    frontier = founder.view.frontier()
    boxes = [Box(number, founder.acts, founder.lamport) for number in range(2, 39)]
    first = founder.invite(boxes[0], after=frontier)
    for box in boxes[1:]:
        founder.invite(box, after=frontier)
    named = founder.view.frontier(first.hash, frontier[0])
    assert len(named) == 32
    assert first.hash in named
    assert list(named) == sorted(named)
    assert first.hash not in founder.view.frontier()


# ---- what people ask ------------------------------------------------------------------------------------------------


def test_members_are_called_as_their_inviter_called_them():
    founder, anna = street("member")
    assert [founder.view.called(member) for member in founder.view.members()] == ["", "A name"]
    assert not founder.view.was_removed(anna.node_id)
    anna.leave()
    assert anna.view.was_removed(anna.node_id)
    assert not anna.view.was_removed(KEYS[9].node_id)


def test_what_an_act_would_need_is_told_before_it_has_it():
    founder, anna, _bert, carl = street("trusted", "trusted", "member")
    act = act_of(anna.seal(anna.follow(MemberRevoked(carl.node_id, "other", anna.head(carl), LATER))))
    rule = anna.view.requirement(act)
    assert (rule.need, rule.quorum) == (TrustLevel.TRUSTED, 2)
    with raises_rejection("2 of level trusted"):
        anna.view.judge(act)
    root = act_of(anna.seal(anna.follow(MemberRevoked(founder.node_id, "other", anna.head(founder), LATER))))
    with raises_rejection("succeeded before"):
        anna.view.requirement(root)
