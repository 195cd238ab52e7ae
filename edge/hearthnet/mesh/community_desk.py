"""Everything that the node's people need to deal with their community, in one place (M01, M13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hearthnet.base.errors import BadRequest
from hearthnet.mesh.invitations import Invitations
from hearthnet.mesh.joining import Joining
from hearthnet.mesh.members import Members
from hearthnet.wire.invite import link_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.mesh.joining import Residence
    from hearthnet.mesh.members import CommunityLog, Outcome
    from hearthnet.ports import Clock, Peer, Store, Transport
    from hearthnet.wire.identity import KeyPair
    from hearthnet.wire.manifest import Endpoint


class Whereabouts(Struct, frozen=True):
    """How others reach this box, and it them; each asked when it is needed."""

    neighbours: Callable[[], Sequence[Peer]]
    endpoints: Callable[[], Sequence[Endpoint]]
    pages: Callable[[], str]  # address of the pages for other devices


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


def open_desk(  # noqa: PLR0913  one parameter a part
    log: CommunityLog, key: KeyPair, store: Store, clock: Clock, transport: Transport, residence: Residence,
    whereabouts: Whereabouts, *, name: str, random_bytes: Callable[[int], bytes],
) -> CommunityDesk:  # fmt: skip
    """All parts over one log."""
    return CommunityDesk(
        log,
        Members(log, key, store, clock, transport, whereabouts.neighbours),
        Invitations(log, key, store, clock, random_bytes, whereabouts.endpoints),
        Joining(log.node_id, log.community, name, transport, residence),
        whereabouts.pages,
    )
