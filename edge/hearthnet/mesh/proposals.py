"""Acts that need several signatures: proposed here or elsewhere, agreed to, written when there are enough (M01).

A proposal is advisory: it stands in no log and binds nobody. It names the state that its signers knew, and expires. Any
box that holds enough signatures, its own among them, writes the act; that two do it at once changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from hearthnet.base.errors import BadRequest, EventRejected, HearthNetError, InvalidSignature, NotFound, RateLimited
from hearthnet.base.types import CID, NodeID, Signature, TrustLevel
from hearthnet.ports import Migration
from hearthnet.wire import canonical
from hearthnet.wire.cid import cid_of
from hearthnet.wire.co_signature import agreement_bytes, check_co_signers, co_sign, with_co_signers
from hearthnet.wire.community import CoSigner
from hearthnet.wire.event_types import EVENT_TYPES
from hearthnet.wire.membership_act import Act
from hearthnet.wire.timestamp import format_time, parse_time

if TYPE_CHECKING:
    from hearthnet.mesh.members import CommunityLog
    from hearthnet.ports import Clock, Row, Store, Transaction
    from hearthnet.wire.event import Sealed
    from hearthnet.wire.identity import KeyPair
    from hearthnet.wire.membership_archive import Rule

OPEN_MAX: Final = 100  # of one proposer
_NAME_OF: Final = {kind: name for name, kind in EVENT_TYPES.items()}

MIGRATIONS: Final = (
    Migration(
        "proposals",
        1,
        """
        CREATE TABLE proposal (
            id TEXT PRIMARY KEY, community_id TEXT NOT NULL, event_type TEXT NOT NULL, data BLOB NOT NULL,
            proposed_by TEXT NOT NULL, noted_at REAL NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE proposal_signature (
            proposal TEXT NOT NULL, node_id TEXT NOT NULL, signature TEXT NOT NULL, PRIMARY KEY (proposal, node_id)
        ) WITHOUT ROWID;
        """,
    ),
)


class Proposal(Struct, frozen=True):
    """An act that waits for signatures."""

    id: CID
    event_type: str
    data: Any
    proposed_by: NodeID
    co_signers: tuple[CoSigner, ...]
    rule: Rule

    @property
    def fields(self) -> canonical.JsonObject:
        """The act's data as JSON."""
        found: canonical.JsonObject = msgspec.to_builtins(self.data)
        return found


class Proposals:
    """The proposals that this node knows; kept over restarts until they are written or expire."""

    def __init__(self, log: CommunityLog, key: KeyPair, store: Store, clock: Clock) -> None:
        self._log = log
        self._key = key
        self._store = store
        self._clock = clock
        self._written: dict[CID, CID] = {}  # co-signed acts of the log -> the proposals that they were

    async def propose(self, data: Struct) -> Sealed | Proposal:
        """Write an own act at once if this node's signature suffices, else note it with that one.

        Raises EventRejected for what nobody may do or this node has no part in.
        """
        rule = self._requirement(data, (self._key.node_id,))
        if self._log.members.membership.level(self._key.node_id) < rule.need:
            raise EventRejected(f"this needs members of level {rule.need.label}")
        if rule.quorum == 1:
            return await self._log.append(data)
        return await self._note(data, self._key.node_id, (co_sign(self._key, self._log.community, data),))

    async def agree(self, proposal_id: CID) -> Sealed | Proposal:
        """This node's people agree to a proposal; written when that makes enough. Raises NotFound, EventRejected."""
        found = await self.get(proposal_id)
        own = co_sign(self._key, self._log.community, found.data)
        merged = await self._note(found.data, found.proposed_by, (*found.co_signers, own))
        return await self.complete(merged) or merged

    async def merge(
        self, event_type: str, fields: canonical.JsonObject, proposed_by: NodeID, co_signers: tuple[CoSigner, ...]
    ) -> Proposal:
        """A proposal as another box knows it; every signature is checked. Raises BadRequest, EventRejected."""
        kind = EVENT_TYPES.get(event_type)
        if kind is None or "co_signers" not in kind.__struct_fields__:
            raise BadRequest(f"{event_type[:64]} takes no co-signers")
        data = canonical.fit({**fields, "co_signers": ()}, kind)
        known = await self._find(cid_of(agreement_bytes(data)))
        if known is None and await self._count(proposed_by) >= OPEN_MAX:
            raise RateLimited("too many open proposals of this node", retry_after_ms=3_600_000)
        return await self._note(data, known.proposed_by if known else proposed_by, co_signers)

    async def complete(self, proposal: Proposal) -> Sealed | None:
        """Write the act if this node agreed and the signatures suffice, else None."""
        own = self._key.node_id
        others = tuple(signer for signer in proposal.co_signers if signer.node_id != own)
        if len(others) == len(proposal.co_signers):
            return None
        data = with_co_signers(proposal.data, others)
        try:
            self._log.members.membership.judge(self._act(data, (own, *(signer.node_id for signer in others))))
        except EventRejected:
            return None
        sealed = await self._log.append(data)
        await self._forget(proposal.id)
        return sealed

    async def get(self, proposal_id: CID) -> Proposal:
        """One open proposal; raises NotFound."""
        found = await self._find(proposal_id)
        if found is None:
            raise NotFound("no such proposal; it may be done or expired")
        return found

    async def open(self) -> list[Proposal]:
        """What still waits for signatures, oldest first; what expired or can no longer be done is forgotten."""
        rows = await self._store.query(
            "SELECT id, event_type, data, proposed_by FROM proposal WHERE community_id = ? ORDER BY noted_at, id",
            (self._log.community,),
        )
        found = []
        for row in rows:
            proposal = await self._read(row)
            if proposal is None:
                await self._forget(row[0])
            else:
                found.append(proposal)
        return found

    # ---- inside -----------------------------------------------------------------------------------------------

    async def _note(self, data: Any, proposed_by: NodeID, co_signers: tuple[CoSigner, ...]) -> Proposal:
        self._requirement(data, (proposed_by,))
        if parse_time(data.expires_at) < self._clock.now():
            raise EventRejected("the proposal expired")
        valid = [signer for signer in co_signers if self._counts(data, signer)]
        if not valid:
            raise InvalidSignature("no member that may sign this agreed to it")
        proposal_id, bare = cid_of(agreement_bytes(data)), msgspec.json.encode(with_co_signers(data, ()))

        def work(tx: Transaction) -> None:
            tx.execute(
                "INSERT OR IGNORE INTO proposal VALUES (?, ?, ?, ?, ?, ?)",
                (proposal_id, self._log.community, _NAME_OF[type(data)], bare, proposed_by, self._clock.now()),
            )
            for signer in valid:
                tx.execute(
                    "INSERT OR REPLACE INTO proposal_signature VALUES (?, ?, ?)",
                    (proposal_id, signer.node_id, signer.signature),
                )

        await self._store.transact(work)
        return await self.get(proposal_id)

    def _is_written(self, proposal_id: CID) -> bool:
        """Whether the log has the act, whoever wrote it."""
        for act, _ in self._log.members.membership.history():
            if getattr(act.data, "co_signers", ()) and act.hash not in self._written:
                self._written[act.hash] = cid_of(agreement_bytes(act.data))
        return proposal_id in self._written.values()

    def _counts(self, data: Any, signer: CoSigner) -> bool:
        """Whether a signature is right and its maker trusted; others are not even kept."""
        try:
            check_co_signers(NodeID(""), self._log.community, with_co_signers(data, (signer,)))
        except HearthNetError:
            return False
        return self._log.members.membership.level(signer.node_id) >= TrustLevel.MEMBER

    async def _find(self, proposal_id: CID) -> Proposal | None:
        rows = await self._store.query(
            "SELECT id, event_type, data, proposed_by FROM proposal WHERE id = ? AND community_id = ?",
            (proposal_id, self._log.community),
        )
        return await self._read(rows[0]) if rows else None

    async def _read(self, row: Row) -> Proposal | None:
        proposal_id, event_type, wire, proposed_by = row
        data: Any = msgspec.json.decode(wire, type=EVENT_TYPES[event_type])
        rows = await self._store.query(
            "SELECT node_id, signature FROM proposal_signature WHERE proposal = ? ORDER BY node_id", (proposal_id,)
        )
        signers = tuple(CoSigner(NodeID(node_id), Signature(signature)) for node_id, signature in rows)
        if parse_time(data.expires_at) < self._clock.now() or self._is_written(proposal_id):
            return None
        try:
            rule = self._requirement(data, (proposed_by, *(s.node_id for s in signers if s.node_id != proposed_by)))
        except EventRejected:
            return None
        return Proposal(proposal_id, event_type, data, proposed_by, signers, rule)

    async def _count(self, proposed_by: NodeID) -> int:
        rows = await self._store.query("SELECT count(*) FROM proposal WHERE proposed_by = ?", (proposed_by,))
        return int(rows[0][0])

    async def _forget(self, proposal_id: CID) -> None:
        def work(tx: Transaction) -> None:
            tx.execute("DELETE FROM proposal WHERE id = ?", (proposal_id,))
            tx.execute("DELETE FROM proposal_signature WHERE proposal = ?", (proposal_id,))

        await self._store.transact(work)

    def _requirement(self, data: Any, signers: tuple[NodeID, ...]) -> Rule:
        return self._log.members.membership.requirement(self._act(data, signers))

    def _act(self, data: Any, signers: tuple[NodeID, ...]) -> Act:
        """The act as it would be, written now."""
        now = format_time(self._clock.now())
        return Act(CID(""), signers[0], 0, 0, self._log.lamport + 1, "", now, data, signers)
