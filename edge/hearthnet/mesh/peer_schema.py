"""Where neighbours were last reached, kept over restarts (M02)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hearthnet.base.types import NodeID
from hearthnet.ports import Address, Migration, Peer

if TYPE_CHECKING:
    from hearthnet.ports import Store, Transaction

PEERS_KEPT: Final = 256

MIGRATIONS: Final = (
    Migration(
        "peers",
        1,
        """
        CREATE TABLE peer(node_id TEXT PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL, met_at REAL NOT NULL)
            WITHOUT ROWID;
        """,
    ),
)


class KnownPeers:
    """The last address of each neighbour; the longest unmet ones fall out."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self) -> list[Peer]:
        """Those met last come first."""
        rows = await self._store.query("SELECT node_id, host, port FROM peer ORDER BY met_at DESC, node_id")
        return [Peer(NodeID(node_id), (Address(host, port),)) for node_id, host, port in rows]

    async def keep(self, node_id: NodeID, address: Address, now: float) -> None:
        """Remember where a neighbour was reached; raises DiskFull."""

        def work(tx: Transaction) -> None:
            tx.execute("INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?)", (node_id, address.host, address.port, now))
            tx.execute(
                "DELETE FROM peer WHERE node_id NOT IN (SELECT node_id FROM peer ORDER BY met_at DESC LIMIT ?)",
                (PEERS_KEPT,),
            )

        await self._store.transact(work)

    async def forget(self, node_id: NodeID) -> None:
        """It is none of ours any more."""
        await self._store.transact(lambda tx: tx.execute("DELETE FROM peer WHERE node_id = ?", (node_id,)))
