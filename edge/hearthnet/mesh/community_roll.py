"""The community's description of itself, derived from its log (M01)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.base.errors import NotFound
from hearthnet.wire.community_manifest import CommunityManifest, Member

if TYPE_CHECKING:
    from hearthnet.base.types import NodeID
    from hearthnet.mesh.events import EventLog
    from hearthnet.wire.event import Sealed


async def describe_community(events: EventLog) -> CommunityManifest:
    """Members, rules and head of the log as of now, unsigned; raises NotFound before the founding is known."""
    founding = [sealed async for page in events.history.by_type("community.created") for sealed in page]
    if not founding:
        raise NotFound("the founding of this community is not in the log yet")
    first = founding[0].event
    times = await _times_of(events, "community.member.joined")
    inviters = await _times_of(events, "community.member.invited", by_invitee=True)
    members = tuple(
        Member(
            node_id=member.node_id,
            level=member.level,  # type: ignore[arg-type]  # the view keeps the words of the events
            added_at=times[member.node_id].event.wall_clock if member.node_id in times else first.wall_clock,
            added_by=inviters[member.node_id].event.author if member.node_id in inviters else first.author,
        )
        for member in events.members.members()
    )
    return CommunityManifest(
        community_id=events.community,
        name=events.members.community_name,
        root_key=first.author,
        created_at=first.wall_clock,
        lamport_at_creation=first.lamport,
        policy=events.members.policy,
        members=members,
        head_lamport=events.lamport,
        signed_by=first.author,
    )


async def _times_of(events: EventLog, kind: str, *, by_invitee: bool = False) -> dict[NodeID, Sealed]:
    """The first event of a kind for each node it is about."""
    found: dict[NodeID, Sealed] = {}
    async for page in events.history.by_type(kind):
        for sealed in page:
            about = getattr(sealed.data, "invitee_node_id") if by_invitee else sealed.event.author  # noqa: B009
            found.setdefault(about, sealed)
    return found
