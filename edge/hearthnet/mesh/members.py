"""What this node's people do about the community: invite, promote, demote, remove, leave, change the rules (M01, M13).

Each act names the newest acts that this node knows and, where it is about somebody, the last event of theirs that it
has. An act that needs more signatures becomes a proposal, which is handed to the trusted boxes in reach.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Struct

from hearthnet.base.errors import HearthNetError
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.proposals import Proposal, Proposals
from hearthnet.wire.community import (
    CommunityPolicy,
    CoSigner,
    MemberDemoted,
    MemberLeft,
    MemberPromoted,
    MemberRevoked,
    PolicyUpdated,
    RootSucceeded,
)
from hearthnet.wire.timestamp import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.base.types import CID, CommunityID, NodeID
    from hearthnet.mesh.event_history import EventHistory
    from hearthnet.mesh.events import Receipt
    from hearthnet.mesh.members_view import MembersView
    from hearthnet.ports import Clock, Peer, Store, Transport
    from hearthnet.wire.community import KnownHead
    from hearthnet.wire.event import Sealed
    from hearthnet.wire.identity import KeyPair

log = logging.getLogger(__name__)

AGREEMENT_S: Final = 7 * 86_400
SHARE_EVERY_S: Final = 30.0
_WORD_WITHIN_S: Final = 10.0


class CommunityLog(Protocol):
    """The parts of `EventLog` that membership needs."""

    community: CommunityID
    node_id: NodeID
    lamport: int
    history: EventHistory

    @property
    def members(self) -> MembersView:
        """Who belongs."""

    async def append(self, data: Struct, *, expires_at: float | None = None) -> Sealed:
        """Write an own event."""

    async def receive(self, wires: Sequence[bytes]) -> Receipt:
        """Take in events of others."""

    async def head_of(self, author: NodeID) -> KnownHead:
        """The last event of an author that is here."""


class Outcome(Struct, frozen=True):
    """What became of an act: its event, or the proposal that waits for more signatures."""

    event_id: str = ""
    lamport: int = 0
    proposal_id: str = ""
    signatures: int = 1
    needed: int = 1


class Members:
    """Acts of this node in its community; `run` hands proposals on."""

    def __init__(
        self, events: CommunityLog, key: KeyPair, store: Store, clock: Clock, transport: Transport,
        neighbours: Callable[[], Sequence[Peer]],
    ) -> None:  # fmt: skip
        self.proposals = Proposals(events, key, store, clock)
        self._log = events
        self._clock = clock
        self._transport = transport
        self._neighbours = neighbours

    async def run(self) -> None:
        """Hand open proposals to who may sign them, again and again, until cancelled."""
        while True:
            await self.share()
            await self._clock.sleep(SHARE_EVERY_S)

    async def promote(self, target: NodeID, level: str) -> Outcome:
        """Trust a member more."""
        head = await self._log.head_of(target)
        return await self._do(MemberPromoted(target, _word(level), head, self._until(), self._after()))

    async def demote(self, target: NodeID, level: str, reason: str) -> Outcome:
        """Trust a member less."""
        head = await self._log.head_of(target)
        return await self._do(MemberDemoted(target, _word(level), _word(reason), head, self._until(), self._after()))

    async def revoke(self, target: NodeID, reason: str) -> Outcome:
        """Remove a member, or withdraw its invitations."""
        head = await self._log.head_of(target)
        return await self._do(MemberRevoked(target, _word(reason), head, self._until(), self._after()))

    async def leave(self) -> Outcome:
        """Go."""
        return await self._do(MemberLeft(self._after()))

    async def set_policy(self, policy: CommunityPolicy) -> Outcome:
        """Replace the rules."""
        return await self._do(PolicyUpdated(policy, self._after()))

    async def succeed(self, successor: NodeID, reason: str) -> Outcome:
        """Name who takes over from the root key."""
        return await self._do(RootSucceeded(successor, _word(reason), self._until(), self._after()))

    async def agree(self, proposal_id: CID) -> Outcome:
        """Agree to what another box proposed."""
        outcome = _outcome(await self.proposals.agree(proposal_id))
        await self.share()
        return outcome

    async def hear(
        self, event_type: str, fields: dict[str, Any], sender: NodeID, co_signers: tuple[CoSigner, ...]
    ) -> tuple[CoSigner, ...]:
        """Another box tells of a proposal; returns the signatures that are known here. Raises BadRequest."""
        found = await self.proposals.merge(event_type, fields, sender, co_signers)
        if found.proposed_by == self._log.node_id:
            await self.proposals.complete(found)
        return found.co_signers

    async def share(self) -> None:
        """Tell the boxes in reach that may sign; what they know comes back."""
        for proposal in await self.proposals.open():
            for peer in self._neighbours():
                if self._log.members.membership.level(peer.node_id) < max(TrustLevel.TRUSTED, proposal.rule.need):
                    continue
                try:
                    proposal = await self._tell(peer, proposal)  # noqa: PLW2901  with the signatures that came back
                except HearthNetError as error:
                    log.info("proposal not handed to a neighbour: %s", error.code)
            if proposal.proposed_by == self._log.node_id:
                await self.proposals.complete(proposal)

    async def _tell(self, peer: Peer, proposal: Proposal) -> Proposal:
        told = {
            "event_type": proposal.event_type, "data": proposal.fields,
            "co_signers": msgspec.to_builtins(proposal.co_signers),
        }  # fmt: skip
        body = {"params": {}, "input": told}
        reply = await self._transport.call(peer, "community.proposal.put", "1.0", body, _WORD_WITHIN_S)
        known = msgspec.convert(reply.get("output", {}).get("co_signers", []), tuple[CoSigner, ...])
        return await self.proposals.merge(proposal.event_type, proposal.fields, proposal.proposed_by, known)

    async def _do(self, data: Struct) -> Outcome:
        outcome = _outcome(await self.proposals.propose(data))
        if outcome.proposal_id:
            await self.share()
        return outcome

    def _until(self) -> Any:
        return format_time(self._clock.now() + AGREEMENT_S)

    def _after(self) -> tuple[CID, ...]:
        membership = self._log.members.membership
        return membership.frontier(*membership.last_act_of(self._log.node_id))


def _word(text: str) -> Any:
    """A word that the capability's schema has checked already."""
    return text


def _outcome(found: Sealed | Proposal) -> Outcome:
    if isinstance(found, Proposal):
        return Outcome(proposal_id=found.id, signatures=len(found.co_signers), needed=found.rule.quorum)
    signatures = 1 + len(getattr(found.data, "co_signers", ()))
    return Outcome(found.event.event_id, found.event.lamport, "", signatures, signatures)
