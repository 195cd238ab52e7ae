"""Joining a community by an invitation: believe nothing, judge its whole history, then write the own joining (M13).

The way: read the invitation; reach the box that made it, pinned to its key; be named in its log; fetch the membership
acts and judge them from the founding on; open that community's log here with them; write the joining; hand it over;
move. Each step may be repeated: who was interrupted begins again and ends in the same place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from hearthnet.base.errors import (
    AlreadyMember,
    BadRequest,
    BootstrapUnreachable,
    CallTimeout,
    CommunityManifestInvalid,
    Expired,
    HearthNetError,
    InvalidSignature,
    InviteExpired,
    SyncFailed,
    Unavailable,
)
from hearthnet.base.types import CommunityID, NodeID, TrustLevel
from hearthnet.ports import Address, Peer
from hearthnet.wire.community import MemberJoined
from hearthnet.wire.event import open_event, verify_event
from hearthnet.wire.invite import InviteBlob, prove_bearer, read_invite
from hearthnet.wire.membership import Membership
from hearthnet.wire.membership_act import MEMBERSHIP_KINDS, act_of

if TYPE_CHECKING:
    from hearthnet.mesh.members import CommunityLog
    from hearthnet.ports import Transport
    from hearthnet.wire.canonical import JsonObject
    from hearthnet.wire.event import Sealed

_PAGES_MAX: Final = 1000
_ACTS_MAX: Final = 200_000


class Residence(Protocol):
    """Where the node keeps its communities, and which one it lives in."""

    async def open(self, community: CommunityID) -> CommunityLog:
        """That community's log on this node, made when it is missing."""

    async def describe(self, community: CommunityID) -> JsonObject:
        """This node's manifest for that community."""

    async def move(self, community: CommunityID) -> None:
        """Live there from the next start on; the identity stays (decision 27)."""


class Joined(Struct, frozen=True):
    """What became of it."""

    community_id: CommunityID
    community_name: str
    members: int
    event_id: str


class Joining:
    """This node's way into another community."""

    def __init__(
        self, node_id: NodeID, community: CommunityID, display_name: str, transport: Transport, residence: Residence
    ) -> None:
        self._node_id = node_id
        self._community = community
        self._display_name = display_name
        self._transport = transport
        self._residence = residence

    async def redeem(self, text: str) -> Joined:
        """Join by an invitation's text or link.

        Raises InviteInvalid, InviteeMismatch, AlreadyMember, BootstrapUnreachable, InviteExpired,
        CommunityManifestInvalid, SyncFailed, and what the inviter's box refuses.
        """
        invite = read_invite(text, reader=self._node_id)
        if invite.community_id == self._community:
            raise AlreadyMember("the node belongs to this community")
        peer = Peer(invite.inviter_node_id, tuple(Address(end.host, end.port) for end in invite.bootstrap_endpoints))
        await self._meet(peer, invite)
        event_id = await self._be_named(peer, invite)
        acts = await self._fetch(peer)
        self._judge(acts, invite)
        log = await self._residence.open(CommunityID(invite.community_id))
        receipt = await log.receive([sealed.wire for sealed in acts])
        if receipt.rejected:
            raise SyncFailed(f"the log refuses what came: {receipt.rejected[0].reason}")
        joined = await self._join(log, event_id)
        await self._call(peer, "community.admission.join", {"event": joined.wire.decode()})
        await self._residence.move(log.community)
        members = log.members
        return Joined(log.community, members.community_name, len(members.members()), joined.event.event_id)

    async def _meet(self, peer: Peer, invite: InviteBlob) -> None:
        try:
            manifest = await self._transport.manifest(peer)
        except (Unavailable, CallTimeout) as error:
            raise BootstrapUnreachable("no address of the invitation answers", fix="join the same network") from error
        except (InvalidSignature, BadRequest) as error:
            raise CommunityManifestInvalid(f"another box answers there: {error.detail}") from error
        if manifest.community_id != invite.community_id:
            raise CommunityManifestInvalid("the box that invited lives in another community now")

    async def _be_named(self, peer: Peer, invite: InviteBlob) -> str:
        asked: dict[str, Any] = {"display_name": self._display_name}
        if invite.secret:
            asked |= {"bearer": invite.bearer_key.node_id, "proof": prove_bearer(invite, self._node_id)}
        try:
            reply = await self._call(peer, "community.admission.request", asked)
        except Expired as error:
            raise InviteExpired(error.detail, fix="ask for a new invitation") from error
        return str(reply.get("event_id", ""))

    async def _fetch(self, peer: Peer) -> list[Sealed]:
        """All membership events, each with its right signature, in an order in which each follows those it names."""
        found: list[Sealed] = []
        offset = 0
        for _ in range(_PAGES_MAX):
            page = await self._call(peer, "community.admission.acts", {"offset": offset})
            try:
                for text in page["events"]:
                    sealed = open_event(text.encode())
                    verify_event(sealed)
                    found.append(sealed)
                following = int(page["next_offset"])
            except (HearthNetError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise CommunityManifestInvalid("what came is no list of signed events") from error
            if not following:
                return sorted(found, key=lambda sealed: (sealed.event.lamport, sealed.event.event_id))
            if following <= offset or len(found) > _ACTS_MAX:
                break
            offset = following
        raise SyncFailed("the other box does not come to an end")

    def _judge(self, acts: list[Sealed], invite: InviteBlob) -> None:
        """Whether this is a community, founded by the key that is its name, with the inviter in it."""
        membership = Membership(CommunityID(invite.community_id))
        try:
            for sealed in acts:
                if not isinstance(sealed.data, MEMBERSHIP_KINDS) or sealed.event.community_id != invite.community_id:
                    raise CommunityManifestInvalid("events of something else are among them")
                membership.add(act_of(sealed))
        except HearthNetError as error:
            raise CommunityManifestInvalid(f"the history does not hold: {error.detail}") from error
        if membership.waiting():
            raise SyncFailed("parts of the history are missing")
        if membership.level(invite.inviter_node_id) is TrustLevel.UNKNOWN:
            raise CommunityManifestInvalid("who invited does not belong to the community")

    async def _join(self, log: CommunityLog, event_id: str) -> Sealed:
        """The own joining: the one that was written before an interruption, or a new one."""
        membership = log.members.membership
        member = membership.member(self._node_id)
        if member is not None:
            return await log.history.get(member.since.lamport, member.since.hash)
        invitations = [act for act in membership.invitations_of(self._node_id) if act.event_id == event_id]
        if not invitations:
            raise SyncFailed("the invitation is not among what came")
        manifest = await self._residence.describe(log.community)
        return await log.append(MemberJoined(event_id, manifest, membership.frontier(invitations[0].hash)))

    async def _call(self, peer: Peer, name: str, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            reply = await self._transport.call(peer, name, "1.0", {"params": {}, "input": asked})
        except (Unavailable, CallTimeout) as error:
            raise BootstrapUnreachable("the box that invited does not answer any more") from error
        output = reply.get("output")
        if not isinstance(output, dict):
            raise CommunityManifestInvalid("the answer is not an object")
        return output
