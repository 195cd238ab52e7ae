"""All known acts of a community with their causal pasts, and what any part of them adds up to (M01).

Sets of acts are integers: bit i stands for the act that arrived as number i. `Past` reads one such set: the level of a
node, the rules, the root. Where acts know nothing of each other the stricter one counts: a removal before everything,
then the lower level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hearthnet.base.types import CID, NodeID, TrustLevel
from hearthnet.wire.community import (
    CommunityCreated,
    CommunityPolicy,
    MemberInvited,
    MemberJoined,
    PolicyUpdated,
    RootSucceeded,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hearthnet.base.types import CommunityID
    from hearthnet.wire.membership_act import Act

NOBODY = NodeID("")


class Rule(Struct, frozen=True, gc=False):
    """What an act needs, as judged once and for all by its causal past, and what it does."""

    need: TrustLevel = TrustLevel.UNKNOWN  # every signer that counts has this level
    quorum: int = 1
    of_root: bool = False  # only the root key may
    about: NodeID = NOBODY  # whose level it sets
    gives: TrustLevel | None = None  # the level it sets; UNKNOWN = removed
    strikes: bool = False  # voids what `about` did beside it, as far as that needed more than `gives`
    unroots: NodeID = NOBODY  # whose acts as root beside it are void
    invitation: int = -1  # number of the invitation that a joining uses


class Record(Struct, frozen=True, gc=False):
    """An act with its place among the others."""

    act: Act
    rule: Rule
    past: int  # acts before it
    support: int  # those of them that its authority may rest on
    clean: bool  # none of those was void in its own past


class Archive:
    """Acts in order of arrival; each one after all that it names. Only grows."""

    def __init__(self, community: CommunityID | NodeID) -> None:
        self.founder = NodeID(community)  # the founder's key is the community's
        self.records: list[Record] = []
        self.number_of: dict[CID, int] = {}
        self.about: dict[NodeID, tuple[int, ...]] = {}  # acts that set the level of a node
        self.signed: dict[NodeID, tuple[int, ...]] = {}
        self.strikes: dict[NodeID, tuple[int, ...]] = {}  # removals of a node
        self.unroots: dict[NodeID, tuple[int, ...]] = {}
        self.invitations: dict[str, tuple[int, ...]] = {}  # by event id
        self.invited: dict[NodeID, tuple[int, ...]] = {}  # by invitee
        self.rules: tuple[int, ...] = ()
        self.successions: tuple[int, ...] = ()
        self.elevated: tuple[NodeID, ...] = ()  # ever given more than the lowest level
        self.hit_by: dict[int, int] = {}  # act -> the removals beside it that strike it
        self.hits: dict[int, int] = {}  # removal -> the acts that it strikes
        self.contested = 0  # removals that strike something
        self.heads = 0  # acts that no other names

    def copy(self) -> Archive:
        """An archive that grows on its own; the records are shared."""
        other = Archive.__new__(Archive)
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if isinstance(value, dict | list) else value)
        return other

    def append(self, record: Record) -> int:
        """Take an act in, with its strikes in both directions; returns its number."""
        number, act, rule = len(self.records), record.act, record.rule
        self.records.append(record)
        self.number_of[act.hash] = number
        self._index(number, act, rule)
        for signer in act.signers:
            for removal in self.strikes.get(signer, ()):
                self._strike(removal, number)
        for succession in self.unroots.get(act.author, ()):
            self._strike(succession, number)
        for signer in act.signers:
            self.signed[signer] = (*self.signed.get(signer, ()), number)
        if rule.strikes:
            self.strikes[rule.about] = (*self.strikes.get(rule.about, ()), number)
        if rule.unroots:
            self.unroots[rule.unroots] = (*self.unroots.get(rule.unroots, ()), number)
        for target in {rule.about if rule.strikes else NOBODY, rule.unroots} - {NOBODY}:
            for other in self.signed.get(target, ()):
                self._strike(number, other)
        for named in act.after:
            self.heads &= ~(1 << self.number_of[named])
        self.heads |= 1 << number
        return number

    def support_of(self, act: Act, rule: Rule, past: int) -> int:
        """The acts in its past that decide about its signers; with theirs in turn."""
        numbers = [number for signer in act.signers for number in self.about.get(signer, ())]
        if rule.invitation >= 0:
            numbers.append(rule.invitation)
        if rule.of_root:
            numbers += self.successions
            for succession in self.successions:
                numbers += self.about.get(self.records[succession].act.data.successor_node_id, ())
        support = 0
        for number in numbers:
            if past >> number & 1:
                support |= 1 << number | self.records[number].support
        return support

    def _index(self, number: int, act: Act, rule: Rule) -> None:
        data = act.data
        if rule.about:
            self.about[rule.about] = (*self.about.get(rule.about, ()), number)
            if (rule.gives or 0) > TrustLevel.MEMBER and rule.about not in self.elevated:
                self.elevated = (*self.elevated, rule.about)
        if isinstance(data, CommunityCreated | PolicyUpdated):
            self.rules = (*self.rules, number)
        elif isinstance(data, RootSucceeded):
            self.successions = (*self.successions, number)
        elif isinstance(data, MemberInvited):
            self.invitations[act.event_id] = (*self.invitations.get(act.event_id, ()), number)
            invitee = data.invitee_node_id
            self.invited[invitee] = (*self.invited.get(invitee, ()), number)

    def _strike(self, removal: int, number: int) -> None:
        """Note a removal and an act that know nothing of each other, when the one takes away what the other needs."""
        one, other = self.records[removal], self.records[number]
        if removal == number or one.past >> number & 1 or other.past >> removal & 1:
            return
        as_member = one.rule.strikes and one.rule.about in other.act.signers and (one.rule.gives or 0) < other.rule.need
        as_root = other.rule.of_root and one.rule.unroots == other.act.author
        if as_member or as_root:
            self.hit_by[number] = self.hit_by.get(number, 0) | 1 << removal
            self.hits[removal] = self.hits.get(removal, 0) | 1 << number
            self.contested |= 1 << removal


class Past:
    """A set of acts, read as a state; made for one question after another about the same set."""

    def __init__(self, archive: Archive, acts: int) -> None:
        self._archive = archive
        self._acts = acts
        self._levels: dict[NodeID, TrustLevel] = {}

    def __contains__(self, number: int) -> bool:
        return bool(self._acts >> number & 1)

    def level(self, node_id: NodeID) -> TrustLevel:
        """How far the node is trusted; `UNKNOWN` is no member."""
        found = self._levels.get(node_id)
        if found is None:
            found = self._levels[node_id] = self._level(node_id)
        return found

    def voters(self, need: TrustLevel, without: NodeID = NOBODY) -> int:
        """How many have at least this level."""
        nodes = self._archive.elevated if need > TrustLevel.MEMBER else self._archive.about
        return sum(self.level(node_id) >= need for node_id in nodes if node_id != without)

    def standings(self, node_id: NodeID) -> list[int]:
        """The acts that make the node a member, as far as no removal undid them, in order of arrival."""
        records = self._archive.records
        numbers = self._numbers(self._archive.about.get(node_id, ()))
        removals = [number for number in numbers if records[number].rule.gives is TrustLevel.UNKNOWN]
        return [
            number
            for number in numbers
            if number not in removals and all(self.follows(number, removal) for removal in removals)
        ]

    def follows(self, number: int, removal: int) -> bool:
        """Whether an act in favour of a node was begun in knowledge of a removal of it; a joining by its invitation."""
        record = self._archive.records[number]
        basis = record if record.rule.invitation < 0 else self._archive.records[record.rule.invitation]
        return bool(basis.past >> removal & 1)

    def root(self) -> NodeID:
        """Who holds the root's authority: the founder, or the last successor that is still an anchor."""
        left = self._numbers(self._archive.successions)
        while left:
            best = max(self._newest(left), key=self._weight)
            successor: NodeID = self._archive.records[best].act.data.successor_node_id
            if self.level(successor) is TrustLevel.ANCHOR:
                return successor
            left.remove(best)
        return self._archive.founder

    def policy(self) -> CommunityPolicy:
        """The rules in force; of two that know nothing of each other the one with the higher (lamport, hash)."""
        newest = self._newest(self._numbers(self._archive.rules))
        if not newest:
            return CommunityPolicy()
        found: CommunityPolicy = self._archive.records[max(newest, key=self._order)].act.data.policy
        return found

    def name(self) -> str:
        """The name given at the founding; empty before it is known."""
        acts = [self._archive.records[number].act for number in self._numbers(self._archive.rules)]
        names = sorted((act.hash, act.data.name) for act in acts if isinstance(act.data, CommunityCreated))
        return names[0][1] if names else ""

    def _level(self, node_id: NodeID) -> TrustLevel:
        records = self._archive.records
        standing = self.standings(node_id)
        if not any(isinstance(records[number].act.data, MemberJoined | CommunityCreated) for number in standing):
            return TrustLevel.UNKNOWN
        return min(records[number].rule.gives or TrustLevel.UNKNOWN for number in self._newest(standing))

    def _newest(self, numbers: list[int]) -> list[int]:
        """Those that no other of them knows."""
        records = self._archive.records
        return [
            number for number in numbers if not any(records[other].past >> number & 1 for other in numbers)
        ]  # fmt: skip

    def _numbers(self, numbers: tuple[int, ...]) -> list[int]:
        return [number for number in numbers if self._acts >> number & 1]

    def _order(self, number: int) -> tuple[int, CID]:
        act = self._archive.records[number].act
        return act.lamport, act.hash

    def _weight(self, number: int) -> tuple[int, CID]:
        act = self._archive.records[number].act
        return len(act.signers), act.hash


def numbers_in(acts: int) -> Iterator[int]:
    """The numbers of a set, rising."""
    while acts:
        low = acts & -acts
        yield low.bit_length() - 1
        acts ^= low
