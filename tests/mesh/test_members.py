"""Joining, promoting, removing over the network: what people do at one box is true at all of them (M01, M13)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from hearthnet.adapters.network_fake import Link
from hearthnet.base.config import BusSection
from hearthnet.base.errors import (
    AlreadyMember,
    BadRequest,
    BootstrapUnreachable,
    CommunityManifestInvalid,
    EventRejected,
    InvalidSignature,
    InviteeMismatch,
    InviteExpired,
    InviteInvalid,
    NotFound,
    Revoked,
    SyncFailed,
    Unauthorized,
    Unavailable,
)
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import TrustLevel
from hearthnet.capabilities.admission import Admissions
from hearthnet.capabilities.community import Community
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Caller
from hearthnet.ports import Sender
from hearthnet.wire.community import CommunityPolicy
from hearthnet.wire.event_types import CidUnpinned
from hearthnet.wire.invite import InviteBlob, prove_bearer, read_invite, write_invite
from hearthnet.wire.manifest import Endpoint
from mesh.community_world import OWN, House, Parts, Town

BLOB = CidUnpinned("blake3:" + "0" * 64)


@pytest.fixture
async def town():
    made = Town()
    yield made
    await made.close()


async def settled(town, *levels):
    """A founder and one box a level, all in its community; anchors are made while the founder is the only other."""
    names = ["founder", *(f"box {number}" for number in range(len(levels)))]
    founder, *boxes = await town.build(*names)
    await town.join(founder, *boxes)
    for box, level in zip(boxes, levels, strict=True):
        if level != "member":
            await founder.call("promote", target_node_id=box.node_id, new_level=level)
            await town.gossip()
    return founder, *boxes


# ---- joining --------------------------------------------------------------------------------------------------


async def test_a_newcomer_joins_by_a_bearer_invitation_and_keeps_its_identity(town):
    founder, anna = await town.build("founder", "anna")
    issued = await founder.call("invite", display_name="Anna's box")
    assert issued.event_id == ""
    assert issued.link.startswith("http://10.0.0.1:7860/join#")
    joined = await anna.call("redeem", invite=issued.link)
    assert (joined.community_name, joined.members) == ("founder alone", 2)
    alone = anna.logs[anna.node_id]
    await anna.start()
    assert (anna.community, anna.node_id) == (founder.community, alone.node_id)
    for house in (founder, anna):
        assert house.level(anna) == "member"
        shown = (await house.call("members", history=9)).members
        assert [(item.display_name, item.level, item.added_by) for item in shown][1] == (
            "anna",
            "member",
            founder.node_id,
        )
    assert [act.kind for act in (await anna.call("members", history=9)).history] == [
        "MemberJoined", "MemberInvited", "CommunityCreated",
    ]  # fmt: skip
    await anna.log.append(BLOB)
    await town.gossip()


async def test_a_named_invitation_is_in_the_log_at_once_and_only_for_its_device(town):
    founder, anna, bert = await town.build("founder", "anna", "bert")
    issued = await founder.call("invite", invitee_node_id=anna.node_id, display_name="Anna")
    assert issued.event_id
    with pytest.raises(InviteeMismatch):
        await bert.call("redeem", invite=issued.invite_blob)
    await anna.call("redeem", invite=issued.invite_blob)
    assert founder.level(anna) == "member"


async def test_a_bearer_invitation_is_used_as_often_as_it_says(town):
    founder, anna, bert, carl = await town.build("founder", "anna", "bert", "carl")
    issued = await founder.call("invite", uses=2)
    for house in (anna, bert):
        await house.call("redeem", invite=issued.invite_blob)
    with pytest.raises(InviteExpired, match="was used"):
        await carl.call("redeem", invite=issued.invite_blob)
    assert founder.level(carl) == "unknown"


async def test_an_invitation_ends_by_the_clock_of_the_box_that_made_it(town):
    founder, anna = await town.build("founder", "anna")
    named = await founder.call("invite", invitee_node_id=anna.node_id, ttl_seconds=60)
    bearer = await founder.call("invite", ttl_seconds=60)
    town.clock.jump(61)
    for issued in (named, bearer):
        with pytest.raises(InviteExpired):
            await anna.call("redeem", invite=issued.invite_blob)
    assert founder.level(anna) == "unknown"


async def test_who_was_interrupted_begins_again_and_ends_in_the_same_place(town):
    founder, anna = await town.build("founder", "anna")
    issued = await founder.call("invite")
    answer = founder.desk.invitations.admit

    async def fail(*_):
        raise Unavailable("the cable was pulled")

    founder.desk.invitations.admit = fail
    with pytest.raises(BootstrapUnreachable):
        await anna.call("redeem", invite=issued.invite_blob)
    assert anna.community == anna.node_id
    founder.desk.invitations.admit = answer
    joined = await anna.call("redeem", invite=issued.invite_blob)
    assert joined.members == 2
    assert len((await founder.call("members", history=99)).history) == 3  # nothing stands twice


async def test_a_lost_answer_costs_no_second_use(town):
    founder, anna = await town.build("founder", "anna")
    invite = read_invite((await founder.call("invite")).invite_blob)
    proof = prove_bearer(invite, anna.node_id)
    redeem = founder.desk.invitations.redeem
    first = await redeem(anna.node_id, "anna", invite.bearer_key.node_id, proof)
    assert await redeem(anna.node_id, "anna", invite.bearer_key.node_id, proof) == first
    with pytest.raises(InvalidSignature):
        await redeem(founder.node_id, "thief", invite.bearer_key.node_id, proof)
    other = await House(town, "other").start()
    town.houses.append(other)
    with pytest.raises(NotFound):
        await other.desk.invitations.redeem(
            anna.node_id, "", invite.bearer_key.node_id,
            prove_bearer(msgspec.structs.replace(invite, community_id=other.community), anna.node_id),
        )  # fmt: skip


async def test_wrong_invitations_are_refused_with_their_reason(town):
    founder, anna = await town.build("founder", "anna")
    issued = await founder.call("invite")
    with pytest.raises(InviteInvalid):
        await anna.call("redeem", invite=issued.invite_blob[:-5])
    with pytest.raises(AlreadyMember):
        await founder.call("redeem", invite=issued.invite_blob)
    blob = read_invite(issued.invite_blob)
    nowhere = msgspec.structs.replace(blob, bootstrap_endpoints=(Endpoint("https", "10.9.9.9", 7080),))
    task = anna.call("redeem", invite=write_invite(founder.key, nowhere))
    with pytest.raises(BootstrapUnreachable):
        await town.clock_runs(task)
    moved = msgspec.structs.replace(blob, community_id=anna.node_id, secret=InviteBlob.make_secret(bytes(16)))
    other = await House(town, "other").start()
    town.houses.append(other)
    with pytest.raises(CommunityManifestInvalid, match="lives in another"):
        await other.call("redeem", invite=write_invite(founder.key, moved))


async def test_a_stranger_learns_nothing_of_the_community(town):
    founder, anna = await town.build("founder", "anna")
    for name, asked in (
        ("community.admission.acts", {}), ("community.admission.request", {}), ("community.members", {}),
        ("community.admission.join", {"event": "{}"}), ("community.revoke", {"target_node_id": founder.node_id, "reason": "other"}),
        ("community.proposal.put", {"event_type": "x", "data": {}, "co_signers": []}),
    ):  # fmt: skip
        with pytest.raises((Unauthorized, BadRequest)):
            await anna.transport.call(founder.peer, name, "1.0", {"params": {}, "input": asked})


async def test_a_newcomer_hands_over_only_its_own_joining(town):
    founder, anna = await town.build("founder", "anna")
    await founder.call("invite", invitee_node_id=anna.node_id)
    admit = founder.desk.invitations.admit
    foreign = (await anna.log.append(BLOB)).wire.decode()
    with pytest.raises(BadRequest, match="not the caller's joining"):
        await admit(anna.node_id, foreign)
    with pytest.raises(BadRequest):
        await admit(anna.node_id, "x" * 70_000)


async def test_a_history_that_does_not_hold_is_not_believed(town):
    founder, anna = await town.build("founder", "anna")
    issued = await founder.call("invite")
    real = founder.desk.invitations.acts

    def lie(change):
        async def acts(reader, offset):
            page = await real(reader, offset)
            return change(page)

        founder.desk.invitations.acts = acts

    other = await anna.log.append(BLOB)
    lies = [
        (CommunityManifestInvalid, lambda page: msgspec.structs.replace(page, events=("{}",))),
        (
            CommunityManifestInvalid,
            lambda page: msgspec.structs.replace(page, events=(*page.events, other.wire.decode())),
        ),
        (CommunityManifestInvalid, lambda page: msgspec.structs.replace(page, events=page.events[:0])),
        (SyncFailed, lambda page: msgspec.structs.replace(page, events=page.events[1:])),
        (SyncFailed, lambda page: msgspec.structs.replace(page, events=page.events[:1])),
        (SyncFailed, lambda page: msgspec.structs.replace(page, next_offset=1)),
    ]
    for error, change in lies:
        lie(change)
        with pytest.raises(error):
            await anna.call("redeem", invite=issued.invite_blob)
    assert anna.community == anna.node_id


async def test_many_acts_come_in_pages(town, monkeypatch):
    monkeypatch.setattr("hearthnet.mesh.invitations.PAGE_ACTS", 3)
    founder, anna, bert, carl = await town.build("founder", "anna", "bert", "carl")
    await town.join(founder, anna, bert, carl)
    assert carl.level(bert) == "member"


# ---- acts -----------------------------------------------------------------------------------------------------


async def test_one_signature_is_enough_where_the_quorum_is_one(town):
    founder, anna = await settled(town, "trusted")
    outcome = await founder.call("demote", target_node_id=anna.node_id, new_level="member", reason="inactive")
    assert outcome.event_id
    outcome = await founder.call("revoke", target_node_id=anna.node_id, reason="other")
    assert (outcome.signatures, outcome.needed, outcome.proposal_id) == (1, 1, "")
    with pytest.raises(Revoked):
        founder.server.trust(Sender(anna.node_id, founder.community))
    shown = await founder.call("members")
    assert [(gone.node_id, gone.reason) for gone in shown.revoked] == [(anna.node_id, "other")]


async def test_a_removal_gathers_signatures_from_the_boxes_in_reach(town):
    founder, anna, bert, carl = await settled(town, "trusted", "trusted", "member")
    outcome = await anna.call("revoke", target_node_id=carl.node_id, reason="compromised")
    assert (outcome.signatures, outcome.needed, outcome.event_id) == (1, 2, "")
    (waiting,) = (await bert.call("proposal.list")).proposals
    assert (waiting.about, waiting.proposed_by, waiting.reason) == (carl.node_id, anna.node_id, "compromised")
    assert waiting.signed_by == (anna.node_id,)
    done = await bert.call("proposal.agree", proposal_id=waiting.proposal_id)
    assert (done.signatures, done.proposal_id) == (2, "")
    await town.gossip()
    for house in (founder, anna, bert):
        assert house.level(carl) == "unknown"
        assert (await house.call("proposal.list")).proposals == ()


async def test_signatures_given_elsewhere_meet_at_the_box_that_proposed(town):
    founder, anna, bert, carl = await settled(town, "trusted", "trusted", "trusted")
    town.network.split([founder.node_id, anna.node_id, carl.node_id], [bert.node_id])
    outcome = await town.clock_runs(founder.call("revoke", target_node_id=bert.node_id, reason="other"))
    assert outcome.needed == 2
    anna_sees = (await anna.call("proposal.list")).proposals[0]
    assert (await carl.call("proposal.list")).proposals[0].proposal_id == anna_sees.proposal_id
    done = await town.clock_runs(anna.call("proposal.agree", proposal_id=anna_sees.proposal_id))
    assert done.event_id
    with pytest.raises(NotFound):
        await anna.call("proposal.agree", proposal_id=anna_sees.proposal_id)


async def test_a_proposal_waits_for_who_is_away_and_ends_after_a_week(town):
    founder, anna, bert, carl = await settled(town, "trusted", "trusted", "member")
    town.network.split([anna.node_id], [founder.node_id, bert.node_id, carl.node_id])
    await town.clock_runs(anna.call("revoke", target_node_id=carl.node_id, reason="other"))
    assert (await bert.call("proposal.list")).proposals == ()
    town.network.heal()
    await anna.members.share()
    assert len((await bert.call("proposal.list")).proposals) == 1
    town.clock.jump(8 * 86_400)
    assert (await bert.call("proposal.list")).proposals == ()


async def test_who_may_not_do_it_proposes_nothing(town):
    founder, anna, bert = await settled(town, "trusted", "member")
    with pytest.raises(EventRejected, match="of level trusted"):
        await bert.call("revoke", target_node_id=anna.node_id, reason="other")
    with pytest.raises(EventRejected):
        await bert.call("policy", policy=msgspec.to_builtins(CommunityPolicy()))
    with pytest.raises(EventRejected):
        await bert.call("invite", initial_level="trusted")
    with pytest.raises(EventRejected, match="root key"):
        await founder.call("leave", community_id=founder.community)


async def test_forged_and_foolish_proposals_are_refused(town):
    _founder, anna, bert, carl = await settled(town, "trusted", "trusted", "member")
    await anna.call("revoke", target_node_id=carl.node_id, reason="other")
    (real,) = await anna.members.proposals.open()
    hear = bert.members.hear
    with pytest.raises(BadRequest, match="takes no co-signers"):
        await hear("community.member.left", {}, anna.node_id, ())
    with pytest.raises(BadRequest):
        await hear(real.event_type, {}, anna.node_id, ())
    other = {**real.fields, "target_node_id": anna.node_id}
    with pytest.raises((InvalidSignature, EventRejected)):
        await hear(real.event_type, other, anna.node_id, real.co_signers)
    with pytest.raises(EventRejected, match="not known here"):
        await hear(real.event_type, {**real.fields, "after": ["blake3:" + "0" * 64]}, anna.node_id, real.co_signers)


async def test_leaving_policy_and_succession(town):
    founder, anna, bert = await settled(town, "anchor", "member")
    await founder.call("policy", policy=msgspec.to_builtins(CommunityPolicy(default_member_can_invite=False)))
    await town.gossip()
    with pytest.raises(EventRejected, match="policy"):
        await bert.call("invite")
    with pytest.raises(BadRequest, match="another community"):
        await bert.call("leave", community_id=bert.node_id)
    await bert.call("leave", community_id=founder.community)
    await founder.call("succeed", successor_node_id=anna.node_id, reason="handed_over")
    await town.gossip()
    shown = await anna.call("members")
    assert (shown.root, len(shown.members), shown.revoked[0].reason) == (anna.node_id, 2, "")
    assert [item.is_root for item in shown.members if item.is_self] == [True]


async def test_a_removed_box_is_turned_away_everywhere_and_what_it_writes_late_is_void(town):
    founder, anna, bert = await settled(town, "member", "trusted")
    town.network.split([anna.node_id], [founder.node_id, bert.node_id])
    late = await anna.log.append(BLOB)
    done = await town.clock_runs(founder.call("revoke", target_node_id=anna.node_id, reason="compromised"))
    if done.proposal_id:
        (waiting,) = (await bert.call("proposal.list")).proposals
        await town.clock_runs(bert.call("proposal.agree", proposal_id=waiting.proposal_id))
    await town.gossip_between(founder, bert)
    receipt = await founder.log.receive([late.wire])
    assert "revoked_author" in receipt.rejected[0].reason
    with pytest.raises(Revoked):
        founder.server.trust(Sender(anna.node_id, founder.community))


async def test_proposals_are_handed_on_again_and_again(town):
    _founder, anna, bert, carl = await settled(town, "trusted", "trusted", "member")
    await anna.call("revoke", target_node_id=carl.node_id, reason="other")
    running = asyncio.ensure_future(anna.members.run())
    (waiting,) = (await bert.call("proposal.list")).proposals
    found = await bert.members.proposals.get(waiting.proposal_id)
    assert found.proposed_by == anna.node_id
    await town.clock.advance(31)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_own_people_reach_the_door_for_newcomers_by_another_way(town):
    (founder,) = await town.build("founder")
    with pytest.raises(Unauthorized):
        await founder.bus.call("community.admission.request@1.0", None, {}, caller=OWN)


async def test_a_node_without_a_log_says_so(town):
    bus = CapabilityBus(OWN.node_id or "x", town.clock, BusSection(), TraceRing(), Metrics())
    for kind in (Community, Admissions):
        bus.register(kind(Parts(None)))
    with pytest.raises(Unavailable):
        await bus.call("community.members@1.0", None, {}, caller=OWN)
    with pytest.raises(Unavailable):
        await bus.call(
            "community.admission.acts@1.0", None, {}, caller=Caller("ed25519:" + "A" * 43, TrustLevel.UNKNOWN, "x")
        )
    await bus.close()


@pytest.mark.parametrize("link", [Link(delay_s=0.2), Link(delay_s=0.01, duplicate=1.0)])
async def test_slow_and_repeating_networks_change_nothing(link):
    town = Town(link)
    founder, anna = await town.build("founder", "anna")
    issued = await founder.call("invite")
    await town.clock_runs(anna.call("redeem", invite=issued.invite_blob))
    assert founder.level(anna) == "member"
    assert len((await founder.call("members", history=99)).history) == 3
    await town.clock_runs(town.close())
