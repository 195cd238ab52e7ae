"""Everything that the node's people need to deal with their community, in one place (M01, M13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hearthnet.base.errors import BadRequest
from hearthnet.wire.invite import link_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearthnet.mesh.invitations import Invitations
    from hearthnet.mesh.joining import Joining
    from hearthnet.mesh.members import CommunityLog, Members, Outcome


class CommunityDesk(Struct, frozen=True):
    """Made by the composition root; `pages` gives the address of this box's pages for other devices."""

    log: CommunityLog
    members: Members
    invitations: Invitations
    joining: Joining
    pages: Callable[[], str]

    def link_of(self, invite_blob: str) -> str:
        """The link that a phone's camera opens."""
        return link_of(invite_blob, self.pages())

    async def leave(self, community_id: str) -> Outcome:
        """Leave the community of this id; raises BadRequest when the node lives in another one."""
        if community_id != self.log.community:
            raise BadRequest("the node lives in another community")
        return await self.members.leave()
