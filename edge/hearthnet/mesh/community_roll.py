"""The community's description of itself, derived from its log (M01)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hearthnet.base.errors import NotFound
from hearthnet.wire.community import CommunityCreated
from hearthnet.wire.community_manifest import CommunityManifest, Member, RevokedMember

if TYPE_CHECKING:
    from hearthnet.mesh.events import EventLog


async def describe_community(events: EventLog) -> CommunityManifest:
    """Members, rules and head of the log as of now, unsigned; raises NotFound before the founding is known."""
    membership = events.members.membership
    first = next((act for act, _ in membership.history() if isinstance(act.data, CommunityCreated)), None)
    if first is None:
        raise NotFound("the founding of this community is not in the log yet")
    return CommunityManifest(
        community_id=events.community,
        name=membership.name,
        root_key=first.author,
        created_at=_checked(first.wall_clock),
        lamport_at_creation=first.lamport,
        policy=membership.policy,
        members=tuple(
            Member(member.node_id, _checked(member.level.label), _checked(member.since.wall_clock), member.added_by)
            for member in membership.members()
        ),
        revoked=tuple(RevokedMember(gone.node_id, _checked(gone.by.wall_clock)) for gone in membership.removed()),
        head_lamport=events.lamport,
        signed_by=first.author,
    )


def _checked(text: str) -> Any:
    """A word whose form was checked when its event was opened."""
    return text
