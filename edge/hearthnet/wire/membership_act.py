"""A membership event as its judges see it: who did what, agreed to by whom, knowing which acts before (M01)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from hearthnet.base.errors import EventRejected
from hearthnet.base.types import CID, NodeID
from hearthnet.wire.co_signature import check_co_signers
from hearthnet.wire.community import (
    CommunityCreated,
    MemberDemoted,
    MemberInvited,
    MemberJoined,
    MemberLeft,
    MemberPromoted,
    MemberRevoked,
    PolicyUpdated,
    RootSucceeded,
)

if TYPE_CHECKING:
    from hearthnet.wire.event import Event

MEMBERSHIP_KINDS: Final[tuple[type[Struct], ...]] = (
    CommunityCreated, MemberInvited, MemberJoined, MemberPromoted, MemberDemoted, MemberRevoked, MemberLeft,
    PolicyUpdated, RootSucceeded,
)  # fmt: skip
_AGREED_KINDS: Final = (MemberPromoted, MemberDemoted, MemberRevoked, RootSucceeded)


class Written(Protocol):
    """An event, signed or about to be."""

    @property
    def event(self) -> Event:
        """The envelope."""

    @property
    def data(self) -> Struct:
        """What it says."""

    @property
    def hash(self) -> CID:
        """Its identity."""


class Act(Struct, frozen=True, gc=False):
    """One membership event whose signatures were checked."""

    hash: CID
    author: NodeID
    author_epoch: int
    author_seq: int
    lamport: int
    event_id: str
    wall_clock: str  # the author's claim, for people
    data: Any  # one of MEMBERSHIP_KINDS
    signers: tuple[NodeID, ...]  # the author first

    @property
    def after(self) -> tuple[CID, ...]:
        """The newest acts that its author knew."""
        found: tuple[CID, ...] = self.data.after
        return found


def act_of(written: Written) -> Act:
    """Check what needs no other event: co-signatures, their expiry, the form of `after`.

    The event's own signature is the caller's to check. Raises EventRejected, InvalidSignature.
    """
    event, data = written.event, written.data
    if not isinstance(data, MEMBERSHIP_KINDS):
        raise EventRejected(f"{event.event_type} is no act of membership")
    after: tuple[CID, ...] = data.after  # type: ignore[attr-defined]  # all of MEMBERSHIP_KINDS have it
    if any(one >= other for one, other in pairwise(after)):
        raise EventRejected("the acts it follows do not rise")
    if isinstance(data, _AGREED_KINDS) and event.wall_clock > data.expires_at:
        raise EventRejected("the agreement expired before the act was written")
    return Act(
        written.hash, event.author, event.author_epoch, event.author_seq, event.lamport, event.event_id,
        event.wall_clock, data, check_co_signers(event.author, event.community_id, data),
    )  # fmt: skip
