"""Which community this node lives in: its own of one at first, another after it joined (decision 27).

The choice is a row in the node's store. Moving ends this run and begins the next one in the new community, because
every service, view and connection belongs to one community; the log of the old one stays where it is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from hearthnet.base.types import CommunityID
from hearthnet.ports import Migration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hearthnet.mesh.members import CommunityLog
    from hearthnet.ports import Clock, Store
    from hearthnet.wire.canonical import JsonObject

log = logging.getLogger(__name__)

MIGRATIONS: Final = (
    Migration(
        "residence",
        1,
        "CREATE TABLE residence (community_id TEXT PRIMARY KEY, since REAL NOT NULL, moved INTEGER NOT NULL)",
    ),
)


class Residences:
    """Implements `joining.Residence` over the node's store."""

    def __init__(
        self, store: Store, clock: Clock, open_log: Callable[[CommunityID], Awaitable[CommunityLog]],
        describe: Callable[[CommunityID], JsonObject], begin_again: Callable[[], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._open_log = open_log
        self._describe = describe
        self._begin_again = begin_again
        self._open: dict[CommunityID, CommunityLog] = {}

    async def open(self, community: CommunityID) -> CommunityLog:
        """That community's log on this node; opened once."""
        if community not in self._open:
            self._open[community] = await self._open_log(community)
        return self._open[community]

    async def describe(self, community: CommunityID) -> JsonObject:
        """This node's manifest for that community."""
        return self._describe(community)

    async def move(self, community: CommunityID) -> None:
        """Live there from the next start on, which follows at once."""
        await self._store.transact(
            lambda tx: tx.execute(
                "INSERT OR REPLACE INTO residence SELECT ?, ?, coalesce(max(moved), 0) + 1 FROM residence",
                (community, self._clock.now()),
            )
        )
        log.info("this node moves into another community")
        self._begin_again()


async def residence_of(store: Store, own: CommunityID) -> CommunityID:
    """Where the node lives; its community of one unless it moved."""
    rows = await store.query("SELECT community_id FROM residence ORDER BY moved DESC LIMIT 1")
    return CommunityID(rows[0][0]) if rows else own
