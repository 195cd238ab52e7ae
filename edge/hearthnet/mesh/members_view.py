"""Who belongs to the community, kept in step with the log: the graph of membership acts as a view (M01, X02).

The judgement is `wire/membership.py`; here stand its place among the views, its snapshot, and the words that the rest
of the node uses.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import Struct

from hearthnet.base.errors import EventRejected, InvalidSignature, Revoked
from hearthnet.base.types import CID, NodeID, TrustLevel
from hearthnet.wire.event_types import EVENT_TYPES
from hearthnet.wire.membership import Membership
from hearthnet.wire.membership_act import MEMBERSHIP_KINDS, Act, act_of

if TYPE_CHECKING:
    from hearthnet.base.types import CommunityID
    from hearthnet.wire.community import CommunityPolicy
    from hearthnet.wire.membership import Member
    from hearthnet.wire.membership_act import Written

log = logging.getLogger(__name__)

_NAME_OF = {kind: name for name, kind in EVENT_TYPES.items()}


class _KeptAct(Struct, frozen=True, array_like=True):
    """An act in a snapshot; the log has its signatures."""

    hash: CID
    author: NodeID
    author_epoch: int
    author_seq: int
    lamport: int
    event_id: str
    wall_clock: str
    signers: tuple[NodeID, ...]
    event_type: str
    data: msgspec.Raw


class MembersView:
    """Members, levels, rules and name of one community."""

    name: ClassVar[str] = "membership"
    kinds: ClassVar[tuple[type[Struct], ...]] = MEMBERSHIP_KINDS

    def __init__(self, community: CommunityID) -> None:
        self._community = community
        self.membership = Membership(community)

    def reset(self) -> None:
        """Forget everything."""
        self.membership = Membership(self._community)

    def copy(self) -> MembersView:
        """A view to try events on."""
        other = MembersView(self._community)
        other.membership = self.membership.copy()
        return other

    def apply(self, written: Written) -> None:
        """Take one event into account; its own signature was checked when it was stored."""
        try:
            self.membership.add(act_of(written))
        except (EventRejected, InvalidSignature) as error:  # from a log that an older program wrote
            log.warning("membership event %s does not count: %s", written.hash, error.detail)

    def snapshot_state(self) -> bytes:
        """Every act, as JSON."""
        acts = [*(act for act, _ in self.membership.history()), *self.membership.waiting()]
        return msgspec.json.encode([_kept(act) for act in acts])

    def restore_state(self, state: bytes) -> None:
        """Replace the state; raises `msgspec.DecodeError`."""
        kept = msgspec.json.decode(state, type=list[_KeptAct])
        acts = [_act(item) for item in kept]
        self.reset()
        for act in acts:
            self.membership.add(act)

    @property
    def community_name(self) -> str:
        """The name given at the founding; empty before it is known."""
        return self.membership.name

    @property
    def policy(self) -> CommunityPolicy:
        """The rules in force."""
        return self.membership.policy

    def member(self, node_id: NodeID) -> Member | None:
        """One member."""
        return self.membership.member(node_id)

    def members(self) -> list[Member]:
        """All members, in order of joining."""
        return self.membership.members()

    def trust(self, node_id: NodeID) -> TrustLevel:
        """How far a node is trusted, `UNKNOWN` for strangers; raises Revoked for who was removed or left."""
        level = self.membership.level(node_id)
        if level is TrustLevel.UNKNOWN and self.membership.was_removed(node_id):
            raise Revoked("the node no longer belongs to the community", fix="ask a member for a new invitation")
        return level


def _kept(act: Act) -> _KeptAct:
    return _KeptAct(
        act.hash, act.author, act.author_epoch, act.author_seq, act.lamport, act.event_id, act.wall_clock, act.signers,
        _NAME_OF[type(act.data)], msgspec.Raw(msgspec.json.encode(act.data)),
    )  # fmt: skip


def _act(kept: _KeptAct) -> Act:
    kind = EVENT_TYPES.get(kept.event_type)
    if kind not in MEMBERSHIP_KINDS:
        raise msgspec.ValidationError(f"{kept.event_type} is no act of membership")
    return Act(
        kept.hash, kept.author, kept.author_epoch, kept.author_seq, kept.lamport, kept.event_id, kept.wall_clock,
        msgspec.json.decode(kept.data, type=kind), kept.signers,
    )  # fmt: skip
