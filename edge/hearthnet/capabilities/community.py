"""The community: who belongs, who comes, who is trusted, who goes (M01, M13).

What this node's people do here is written in the node's name: such capabilities are theirs alone. An act that needs
more signatures answers with a proposal; the specification's list of co-signers is gathered between the boxes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.errors import Unavailable
from hearthnet.base.types import CID, NodeID, TrustLevel
from hearthnet.mesh.capability import Call, NoParams, capability
from hearthnet.mesh.invitations import INVITE_TTL_S, USES_MAX
from hearthnet.wire.community import CommunityPolicy, CoSigner, LevelField, ReasonField
from hearthnet.wire.field import CidField, NodeIdField
from hearthnet.wire.identity import short_id

if TYPE_CHECKING:
    from hearthnet.mesh.community_desk import CommunityDesk
    from hearthnet.mesh.members import Outcome
    from hearthnet.mesh.services import Services
    from hearthnet.wire.membership_act import Act

_HISTORY_MAX: Final = 500
_INVITE_TTL_MAX_S: Final = 30 * 86_400

_Name = Annotated[str, Meta(max_length=80)]
_NodeIdOrNone = Annotated[str, Meta(pattern="^(|ed25519:[A-Za-z0-9_-]{43})$", max_length=51)]
_ClientId = Annotated[str, Meta(max_length=64)]


class MembersInput(Struct, frozen=True, forbid_unknown_fields=True):
    """`history` acts, newest first, are told too; 0 = none."""

    history: Annotated[int, Meta(ge=0, le=_HISTORY_MAX)] = 0


class MemberItem(Struct, frozen=True):
    """One who belongs."""

    node_id: str
    short_id: str
    display_name: str  # as the inviter called it
    level: str
    added_at: str
    added_by: str
    is_self: bool
    is_root: bool


class RevokedItem(Struct, frozen=True):
    """One who belonged."""

    node_id: str
    revoked_at: str
    by: str
    reason: str  # empty: left by itself


class ActItem(Struct, frozen=True):
    """One act of the history; `stands` is false for what a removal beside it made void."""

    event_id: str
    kind: str
    author: str
    about: str
    at: str
    signatures: int
    stands: bool


class MembersOutput(Struct, frozen=True):
    """The community as this node knows it."""

    community_id: str
    name: str
    root: str
    members: tuple[MemberItem, ...]
    revoked: tuple[RevokedItem, ...]
    policy: CommunityPolicy
    history: tuple[ActItem, ...]


class InviteInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to invite; without `invitee_node_id` whoever holds the invitation may come, `uses` times."""

    invitee_node_id: _NodeIdOrNone = ""
    display_name: _Name = ""
    initial_level: LevelField = "member"
    ttl_seconds: Annotated[int, Meta(ge=60, le=_INVITE_TTL_MAX_S)] = INVITE_TTL_S
    uses: Annotated[int, Meta(ge=1, le=USES_MAX)] = 1


class InviteOutput(Struct, frozen=True):
    """The invitation as text and as a link for a phone's camera; `event_id` is empty for a bearer invitation."""

    invite_blob: str
    link: str
    expires_at: str
    event_id: str


class RedeemInput(Struct, frozen=True, forbid_unknown_fields=True):
    """An invitation's text or link."""

    invite: Annotated[str, Meta(min_length=1, max_length=2000)]


class RedeemOutput(Struct, frozen=True):
    """The community that this node joined; it lives there after its next start."""

    community_id: str
    community_name: str
    members: int
    event_id: str


class PromoteInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to trust how far."""

    target_node_id: NodeIdField
    new_level: Literal["trusted", "anchor"]
    client_id: _ClientId = ""


class DemoteInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to trust less."""

    target_node_id: NodeIdField
    new_level: Literal["member", "trusted"]
    reason: ReasonField = "other"
    client_id: _ClientId = ""


class RevokeInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to remove."""

    target_node_id: NodeIdField
    reason: ReasonField
    client_id: _ClientId = ""


class LeaveInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Leaving takes the community's id, so that nobody leaves by mistake."""

    community_id: NodeIdField


class PolicyInput(Struct, frozen=True, forbid_unknown_fields=True):
    """All the rules, as they shall be."""

    policy: CommunityPolicy


class SucceedInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Who takes over from the root key, and why."""

    successor_node_id: NodeIdField
    reason: Literal["handed_over", "lost", "compromised"]


class ActOutput(Struct, frozen=True):
    """The event written, or the proposal that waits for `needed` signatures."""

    event_id: str
    lamport: int
    proposal_id: str
    signatures: int
    needed: int


class ProposalItem(Struct, frozen=True):
    """An act that waits for signatures."""

    proposal_id: str
    kind: str
    about: str
    proposed_by: str
    reason: str
    expires_at: str
    signed_by: tuple[str, ...]
    needed: int
    level: str  # that a signer needs


class ProposalsOutput(Struct, frozen=True):
    """All that wait, oldest first."""

    proposals: tuple[ProposalItem, ...]


class AgreeInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Which proposal this node agrees to."""

    proposal_id: CidField


class PutInput(Struct, frozen=True, forbid_unknown_fields=True):
    """A proposal as the caller knows it; every signature is checked."""

    event_type: Annotated[str, Meta(max_length=64)]
    data: dict[str, Any]
    co_signers: Annotated[tuple[CoSigner, ...], Meta(max_length=100)]


class PutOutput(Struct, frozen=True):
    """The signatures known here."""

    co_signers: tuple[CoSigner, ...]


class Community:
    """Membership over the bus."""

    def __init__(self, services: Services) -> None:
        self._desk = services.community

    def _open(self) -> CommunityDesk:
        if self._desk is None:
            raise Unavailable("this node keeps no community log")
        return self._desk

    @capability("community.members@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=4, idempotent=True)
    async def members(self, call: Call, params: NoParams, request: MembersInput) -> MembersOutput:
        """Who belongs, how trusted, by what rules, and what happened."""
        members = self._open().log.members
        membership = members.membership
        history = [*membership.history()][-request.history :][::-1] if request.history else []
        return MembersOutput(
            community_id=self._open().log.community, name=members.community_name, root=membership.root,
            members=tuple(self._member(member) for member in members.members()),
            revoked=tuple(
                RevokedItem(gone.node_id, gone.by.wall_clock, gone.by.author, getattr(gone.by.data, "reason", ""))
                for gone in membership.removed()
            ),
            policy=members.policy, history=tuple(_act_item(act, stands) for act, stands in history),
        )  # fmt: skip

    @capability("community.invite@1.0", trust=TrustLevel.SELF, timeout_s=15, max_concurrent=2)
    async def invite(self, call: Call, params: NoParams, request: InviteInput) -> InviteOutput:
        """Invite a device by its id, or whoever holds the invitation."""
        issued = await self._open().invitations.invite(
            NodeID(request.invitee_node_id), request.display_name, request.initial_level,
            ttl_s=request.ttl_seconds, uses=request.uses,
        )  # fmt: skip
        link = self._open().link_of(issued.invite_blob)
        return InviteOutput(issued.invite_blob, link, issued.expires_at, issued.event_id)

    @capability("community.redeem@1.0", trust=TrustLevel.SELF, timeout_s=120, max_concurrent=1)
    async def redeem(self, call: Call, params: NoParams, request: RedeemInput) -> RedeemOutput:
        """Join another community; the identity stays, the community of one is left."""
        joined = await self._open().joining.redeem(request.invite)
        return RedeemOutput(joined.community_id, joined.community_name, joined.members, joined.event_id)

    @capability("community.promote@1.0", trust=TrustLevel.SELF, timeout_s=30, max_concurrent=2)
    async def promote(self, call: Call, params: NoParams, request: PromoteInput) -> ActOutput:
        """Trust a member more."""
        return _outcome(await self._open().members.promote(request.target_node_id, request.new_level))

    @capability("community.demote@1.0", trust=TrustLevel.SELF, timeout_s=30, max_concurrent=2)
    async def demote(self, call: Call, params: NoParams, request: DemoteInput) -> ActOutput:
        """Trust a member less."""
        return _outcome(await self._open().members.demote(request.target_node_id, request.new_level, request.reason))

    @capability("community.revoke@1.0", trust=TrustLevel.SELF, timeout_s=30, max_concurrent=2)
    async def revoke(self, call: Call, params: NoParams, request: RevokeInput) -> ActOutput:
        """Remove a member, or withdraw the invitation of one who did not come yet."""
        return _outcome(await self._open().members.revoke(request.target_node_id, request.reason))

    @capability("community.leave@1.0", trust=TrustLevel.SELF, timeout_s=15, max_concurrent=1)
    async def leave(self, call: Call, params: NoParams, request: LeaveInput) -> ActOutput:
        """Leave the community."""
        return _outcome(await self._open().leave(request.community_id))

    @capability("community.policy@1.0", trust=TrustLevel.SELF, timeout_s=15, max_concurrent=1)
    async def policy(self, call: Call, params: NoParams, request: PolicyInput) -> ActOutput:
        """Change the rules; only the root key may."""
        return _outcome(await self._open().members.set_policy(request.policy))

    @capability("community.succeed@1.0", trust=TrustLevel.SELF, timeout_s=30, max_concurrent=1)
    async def succeed(self, call: Call, params: NoParams, request: SucceedInput) -> ActOutput:
        """Name who takes over from the root key."""
        return _outcome(await self._open().members.succeed(request.successor_node_id, request.reason))

    @capability("community.proposal.list@1.0", trust=TrustLevel.SELF, timeout_s=10, max_concurrent=2, idempotent=True)
    async def list_proposals(self, call: Call, params: NoParams, request: NoParams) -> ProposalsOutput:
        """What waits for signatures."""
        found = await self._open().members.proposals.open()
        return ProposalsOutput(
            tuple(
                ProposalItem(
                    item.id, item.event_type, _about(item.data), item.proposed_by, getattr(item.data, "reason", ""),
                    item.data.expires_at, tuple(signer.node_id for signer in item.co_signers), item.rule.quorum,
                    item.rule.need.label,
                )
                for item in found
            )
        )  # fmt: skip

    @capability("community.proposal.agree@1.0", trust=TrustLevel.SELF, timeout_s=30, max_concurrent=2)
    async def agree(self, call: Call, params: NoParams, request: AgreeInput) -> ActOutput:
        """Agree to a proposal; written as soon as enough did."""
        return _outcome(await self._open().members.agree(CID(request.proposal_id)))

    @capability("community.proposal.put@1.0", trust=TrustLevel.TRUSTED, timeout_s=15, max_concurrent=4, idempotent=True)
    async def put_proposal(self, call: Call, params: NoParams, request: PutInput) -> PutOutput:
        """Take in a proposal that another box tells of, and answer with the signatures known here."""
        sender = call.caller.node_id or self._open().log.node_id
        known = await self._open().members.hear(request.event_type, request.data, sender, request.co_signers)
        return PutOutput(known)

    def _member(self, member: Any) -> MemberItem:
        membership = self._open().log.members.membership
        return MemberItem(
            member.node_id, short_id(member.node_id), membership.called(member), member.level.label,
            member.since.wall_clock, member.added_by, member.node_id == self._open().log.node_id,
            member.node_id == membership.root,
        )  # fmt: skip


def _outcome(found: Outcome) -> ActOutput:
    return msgspec.convert(found, ActOutput, from_attributes=True)


def _about(data: Any) -> str:
    for field in ("target_node_id", "invitee_node_id", "successor_node_id"):
        if found := getattr(data, field, ""):
            return str(found)
    return ""


def _act_item(act: Act, stands: bool) -> ActItem:
    kind = type(act.data).__name__
    return ActItem(act.event_id, kind, act.author, _about(act.data), act.wall_clock, len(act.signers), stands)
