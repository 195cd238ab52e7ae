"""Letting newcomers in: invitations made here, and what this box answers to those who come with one (M13, ADR 0013).

A bearer invitation is known to this box alone, by the id of its one-time key. Who proves to hold it is named in the log
by an ordinary invitation event; uses and expiry are counted here. A newcomer gets the membership acts, judges them
itself, and hands over its own joining.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.base.constants import EVENT_MAX_BYTES
from hearthnet.base.errors import BadRequest, EventRejected, Expired, NotFound, Unauthorized
from hearthnet.base.types import NodeID, Signature, TrustLevel
from hearthnet.ports import Migration
from hearthnet.wire.community import LevelField, MemberInvited, MemberJoined
from hearthnet.wire.event import open_event
from hearthnet.wire.invite import InviteBlob, check_proof, write_invite
from hearthnet.wire.timestamp import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.mesh.members import CommunityLog
    from hearthnet.ports import Clock, Store, Transaction
    from hearthnet.wire.identity import KeyPair
    from hearthnet.wire.manifest import Endpoint
    from hearthnet.wire.membership_act import Act

INVITE_TTL_S: Final = 86_400
USES_MAX: Final = 1000
PAGE_BYTES: Final = 400_000
PAGE_ACTS: Final = 500

MIGRATIONS: Final = (
    Migration(
        "invitations",
        1,
        """
        CREATE TABLE invitation (
            bearer TEXT PRIMARY KEY, community_id TEXT NOT NULL, display_name TEXT NOT NULL, level TEXT NOT NULL,
            uses_left INTEGER NOT NULL, expires_at INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE invitation_use (
            bearer TEXT NOT NULL, node_id TEXT NOT NULL, event_id TEXT NOT NULL, PRIMARY KEY (bearer, node_id)
        ) WITHOUT ROWID;
        """,
    ),
)


class Issued(Struct, frozen=True):
    """An invitation to hand over; a bearer one has no event yet."""

    invite_blob: str
    expires_at: str
    event_id: str = ""


class ActsPage(Struct, frozen=True):
    """Some membership events, as their signed bytes, and where to go on; 0 = that was all."""

    events: tuple[str, ...]
    next_offset: int


class Invitations:
    """Invitations of this node, and its side of an admission."""

    def __init__(
        self, events: CommunityLog, key: KeyPair, store: Store, clock: Clock,
        random_bytes: Callable[[int], bytes], endpoints: Callable[[], Sequence[Endpoint]],
    ) -> None:  # fmt: skip
        self._log = events
        self._key = key
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._endpoints = endpoints
        self._counting = asyncio.Lock()

    async def invite(
        self, invitee: NodeID, display_name: str, level: LevelField, *, ttl_s: int = INVITE_TTL_S, uses: int = 1
    ) -> Issued:
        """A named invitation, in the log at once; without invitee a bearer one. Raises EventRejected, BadRequest."""
        expires = int(self._clock.now()) + ttl_s
        blob = InviteBlob(
            community_id=self._log.community, community_name=self._log.members.community_name or "?",
            inviter_node_id=self._key.node_id, invitee_node_id=invitee, initial_level=level,
            bootstrap_endpoints=tuple(self._endpoints())[:4], expires_at=format_time(expires),
        )  # fmt: skip
        if not blob.bootstrap_endpoints:
            raise BadRequest("this box has no address that others reach", fix="connect it to a network first")
        if invitee:
            text = write_invite(self._key, blob)  # before anything is in the log
            sealed = await self._log.append(self._invited(invitee, display_name, level, expires))
            return Issued(text, blob.expires_at, sealed.event.event_id)
        self._check_right(level)
        blob = msgspec.structs.replace(blob, secret=InviteBlob.make_secret(self._random_bytes(16)))
        text, bearer = write_invite(self._key, blob), blob.bearer_key.node_id
        row = (bearer, self._log.community, display_name, level, uses, expires)
        await self._store.transact(lambda tx: tx.execute("INSERT INTO invitation VALUES (?, ?, ?, ?, ?, ?)", row))
        return Issued(text, blob.expires_at)

    async def redeem(self, newcomer: NodeID, display_name: str, bearer: NodeID, proof: Signature) -> str:
        """The id of the invitation event that names the newcomer; written now for the holder of a bearer one.

        Asked again it answers the same. Raises NotFound, Expired, InvalidSignature, EventRejected.
        """
        if not bearer:
            return self._named(newcomer).event_id
        check_proof(bearer, self._log.community, newcomer, proof)
        async with self._counting:  # one use is one newcomer
            used = await self._store.query(
                "SELECT event_id FROM invitation_use WHERE bearer = ? AND node_id = ?", (bearer, newcomer)
            )
            if used and used[0][0]:
                return str(used[0][0])
            label, level, expires = await self._spend(newcomer, bearer, counted=bool(used))
            invited = self._invited(newcomer, (display_name or label)[:80], level, expires)
            event_id = (await self._log.append(invited)).event.event_id
            await self._store.transact(
                lambda tx: tx.execute(
                    "UPDATE invitation_use SET event_id = ? WHERE bearer = ? AND node_id = ?",
                    (event_id, bearer, newcomer),
                )
            )
            return event_id

    async def acts(self, reader: NodeID, offset: int) -> ActsPage:
        """The membership events for who belongs or is invited; raises Unauthorized for everybody else."""
        if self._log.members.membership.level(reader) is TrustLevel.UNKNOWN:
            self._named(reader)
        texts: list[str] = []
        size = 0
        for act, _ in [*self._log.members.membership.history()][offset:]:
            wire = (await self._log.history.get(act.lamport, act.hash)).wire
            size += len(wire)
            if texts and (size > PAGE_BYTES or len(texts) == PAGE_ACTS):
                return ActsPage(tuple(texts), offset + len(texts))
            texts.append(wire.decode())
        return ActsPage(tuple(texts), 0)

    async def admit(self, newcomer: NodeID, text: str) -> None:
        """Take a newcomer's own joining into the log; idempotent. Raises BadRequest, EventRejected, Expired."""
        wire = text.encode()
        if len(wire) > EVENT_MAX_BYTES:
            raise BadRequest("far too large for a joining")
        sealed = open_event(wire)
        if not isinstance(sealed.data, MemberJoined) or sealed.event.author != newcomer:
            raise BadRequest("this is not the caller's joining")
        if self._log.members.membership.level(newcomer) is TrustLevel.UNKNOWN:
            self._named(newcomer)
        receipt = await self._log.receive([wire])
        if receipt.rejected:
            raise EventRejected(receipt.rejected[0].reason)

    async def _spend(self, newcomer: NodeID, bearer: NodeID, *, counted: bool) -> tuple[str, LevelField, int]:
        """Name, level and end that the invitation promised; the use is on the disk before the event is written."""
        rows = await self._store.query(
            "SELECT display_name, level, uses_left, expires_at FROM invitation WHERE bearer = ? AND community_id = ?",
            (bearer, self._log.community),
        )
        if not rows:
            raise NotFound("this box made no such invitation", fix="redeem it at the box that made it")
        label, level, uses_left, expires = rows[0]
        if expires < self._clock.now() or (uses_left < 1 and not counted):
            raise Expired("the invitation ended or was used", fix="ask for a new invitation")
        if self._log.members.membership.level(newcomer) > TrustLevel.UNKNOWN:
            raise BadRequest("the node belongs to the community")
        if not counted:
            await self._store.transact(lambda tx: _count_use(tx, bearer, newcomer))
        return label, level, expires

    def _named(self, newcomer: NodeID) -> Act:
        """The newest open invitation of a node; raises Unauthorized, Expired."""
        found = self._log.members.membership.invitations_of(newcomer)
        if not found:
            raise Unauthorized("no invitation names this node", fix="show the card of the device and ask for one")
        if parse_time(found[0].data.expires_at) < self._clock.now():
            raise Expired("the invitation ended", fix="ask for a new invitation")
        return found[0]

    def _invited(self, invitee: NodeID, display_name: str, level: LevelField, expires: int) -> MemberInvited:
        membership = self._log.members.membership
        after = membership.frontier(*membership.last_act_of(self._key.node_id))
        return MemberInvited(invitee, display_name, level, format_time(expires), after)

    def _check_right(self, level: str) -> None:
        """A bearer invitation is promised only by who could write its event now; raises EventRejected."""
        membership = self._log.members.membership
        given, own = TrustLevel[level.upper()], membership.level(self._key.node_id)
        if own < given or (given > TrustLevel.MEMBER and own < TrustLevel.ANCHOR):
            raise EventRejected(f"this node cannot invite at level {level}")
        if own == TrustLevel.MEMBER and not membership.policy.default_member_can_invite:
            raise EventRejected("the policy lets trusted members invite only")


def _count_use(tx: Transaction, bearer: NodeID, newcomer: NodeID) -> None:
    tx.execute("UPDATE invitation SET uses_left = uses_left - 1 WHERE bearer = ?", (bearer,))
    tx.execute("INSERT INTO invitation_use VALUES (?, ?, '')", (bearer, newcomer))
