"""Who belongs to a community, judged by causal past: the same result from the same acts in any order (M01, decision 8).

Each act is judged once by the acts that its author knew; what fails is refused for good. What was written beside a
removal is settled by `wire/membership_conflict.py`. An act whose `after` names unknown acts waits for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import EventRejected
from hearthnet.base.types import CID, NodeID, TrustLevel
from hearthnet.wire.community import FRONTIER_MAX, CommunityCreated, KnownHead, MemberJoined, MemberLeft
from hearthnet.wire.membership_archive import Archive, Past, Record, numbers_in
from hearthnet.wire.membership_conflict import Resolution
from hearthnet.wire.membership_law import rule_for, stands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hearthnet.base.types import CommunityID
    from hearthnet.wire.community import CommunityPolicy
    from hearthnet.wire.membership_act import Act
    from hearthnet.wire.membership_archive import Rule

_RESOLUTIONS_KEPT: Final = 16


class Member(Struct, frozen=True):
    """One who belongs."""

    node_id: NodeID
    level: TrustLevel
    since: Act  # the joining, or the founding
    added_by: NodeID


class Removed(Struct, frozen=True):
    """One who belonged."""

    node_id: NodeID
    by: Act


class Membership:
    """All acts of one community. `add` takes them in any order; asking costs nothing that was asked before."""

    def __init__(self, community: CommunityID | NodeID) -> None:
        self._archive = Archive(community)
        self._resolutions: dict[int, Resolution] = {}
        self._waiting: dict[CID, tuple[Act, ...]] = {}  # by an act that they wait for
        self._now: Past | None = None
        self._first: dict[NodeID, tuple[int, int]] = {}  # where members without a removal began, as far as asked

    def copy(self) -> Membership:
        """The same acts, to try others on."""
        other = Membership(self._archive.founder)
        archive = self._archive.copy()
        resolutions = {key: kept.copy(archive) for key, kept in self._resolutions.items()}
        vars(other).update(_archive=archive, _resolutions=resolutions, _waiting=self._waiting.copy())
        return other

    # ---- taking acts in -----------------------------------------------------------------------------------------

    def missing(self, act: Act) -> list[CID]:
        """The acts that it names and that are not known here."""
        return [named for named in act.after if named not in self._archive.number_of]

    def judge(self, act: Act) -> Rule:
        """What the act needed and had in its own past. Raises EventRejected, for good unless acts are `missing`."""
        return self._judged(act).rule

    def requirement(self, act: Act) -> Rule:
        """What an act would need, signed by whom it is; raises EventRejected for what nobody may do."""
        past = self._past_of(act)
        return rule_for(act, Past(self._archive, past & self._standing(self._archive.contested & past)), self._archive)

    def add(self, act: Act) -> None:
        """Take an act in, and those that waited for it; known ones change nothing.

        An act that waits is not judged yet. Raises EventRejected for one that will never stand.
        """
        if act.hash in self._archive.number_of:
            return
        if missing := self.missing(act):
            self._wait(act, missing[0])
            return
        self._append(act)
        ready = [*self._waiting.pop(act.hash, ())]
        while ready:
            late = ready.pop()
            if missing := self.missing(late):
                self._wait(late, missing[0])
                continue
            try:
                self._append(late)
            except EventRejected:  # nobody waits for the answer; it counts as if it had never come
                continue
            ready += self._waiting.pop(late.hash, ())

    def waiting(self) -> list[Act]:
        """Acts that wait for others."""
        return [act for acts in self._waiting.values() for act in acts]

    # ---- the state ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> Past:
        """Levels, rules and root as of all known acts."""
        if self._now is None:
            self._now = Past(self._archive, self._standing(self._archive.contested))
        return self._now

    @property
    def name(self) -> str:
        """The name given at the founding; empty before it is known."""
        return self.state.name()

    @property
    def policy(self) -> CommunityPolicy:
        """The rules in force."""
        return self.state.policy()

    @property
    def root(self) -> NodeID:
        """Who may change the rules."""
        return self.state.root()

    def level(self, node_id: NodeID) -> TrustLevel:
        """How far a node is trusted; `UNKNOWN` is no member."""
        return self.state.level(node_id)

    def members(self) -> list[Member]:
        """All members, by the Lamport time and hash of their joining."""
        found = [member for node_id in self._archive.about if (member := self.member(node_id))]
        return sorted(found, key=lambda member: (member.since.lamport, member.since.hash))

    def member(self, node_id: NodeID) -> Member | None:
        """One member, by its newest joining."""
        level = self.level(node_id)
        if level is TrustLevel.UNKNOWN:
            return None
        joined = max(self._joinings(node_id), key=lambda record: (record.act.lamport, record.act.hash))
        invitation = joined.rule.invitation
        by = self._archive.records[invitation].act.author if invitation >= 0 else node_id
        return Member(node_id, level, joined.act, by)

    def called(self, member: Member) -> str:
        """What the inviter called a member; empty for the founder."""
        number = self._archive.records[self._archive.number_of[member.since.hash]].rule.invitation
        return str(self._archive.records[number].act.data.display_name) if number >= 0 else ""

    def removed(self) -> list[Removed]:
        """Who was removed or left and did not come back, by the first act that says so."""
        found = []
        for node_id in self._archive.about:
            removals = [record.act for record in self._removals(node_id)]
            if removals and self.level(node_id) is TrustLevel.UNKNOWN:
                found.append(Removed(node_id, min(removals, key=lambda act: (act.lamport, act.hash))))
        return sorted(found, key=lambda removed: (removed.by.lamport, removed.by.hash))

    def history(self) -> Iterator[tuple[Act, bool]]:
        """Every act, each after those it knew, and whether it stands."""
        for number, record in enumerate(self._archive.records):
            yield record.act, number in self.state

    # ---- other events ---------------------------------------------------------------------------------------------

    def was_removed(self, node_id: NodeID) -> bool:
        """Whether a removal of the node, or its leaving, stands."""
        return node_id in self._archive.strikes and bool(self._removals(node_id))

    def check_author(self, author: NodeID, place: KnownHead) -> None:
        """Whether an event, no act itself, was written as a member at this place of its author's chain.

        Raises EventRejected. The author's own joining and the heads that removals name decide, not any time.
        """
        first = self._first.get(author)  # the usual case: one joining, no removal
        if first is not None and first[0] < place.author_seq and first[1] <= place.author_epoch:
            return
        joined = [record for record in self._joinings(author, standing=False) if _lies_in(record.act, place)]
        if not joined:
            raise EventRejected("unknown_author: not a member of the community at this place of its chain")
        removals = self._removals(author)
        if not removals:
            self._first[author] = (joined[0].act.author_seq, joined[0].act.author_epoch)
        for removal in removals:
            number = self._archive.number_of[removal.act.hash]
            came_back = any(
                self.state.follows(self._archive.number_of[record.act.hash], number)
                for record in joined
            )  # fmt: skip
            if not came_back and not self._was_known(removal, author, place):
                raise EventRejected("revoked_author: written beyond what was known at the author's removal")

    # ---- writing --------------------------------------------------------------------------------------------------

    def frontier(self, *needed: CID) -> tuple[CID, ...]:
        """What the next own act names as `after`: the newest acts, first those through which `needed` are known.

        Beyond 32 the newest by Lamport time are named.
        """
        records = self._archive.records
        heads = sorted(numbers_in(self._archive.heads), key=lambda number: -records[number].act.lamport)
        wanted = [self._archive.number_of[act] for act in needed if act in self._archive.number_of]
        chosen: list[int] = []
        for number in wanted:
            if not any(self._knows(head, number) for head in chosen):
                chosen.append(next(head for head in heads if self._knows(head, number)))
        chosen += [head for head in heads if head not in chosen][: FRONTIER_MAX - len(chosen)]
        return tuple(sorted(records[number].act.hash for number in chosen))

    def last_act_of(self, author: NodeID) -> tuple[CID, ...]:
        """The author's newest act that is known, if any."""
        numbers = self._archive.signed.get(author, ())
        acts = [act for number in numbers if (act := self._archive.records[number].act).author == author]
        return (max(acts, key=lambda act: (act.author_epoch, act.author_seq, act.hash)).hash,) if acts else ()

    def invitations_of(self, invitee: NodeID) -> list[Act]:
        """Invitations of a node that stand and that it could still use, newest first."""
        found = []
        for number in self._archive.invited.get(invitee, ()):
            record = self._archive.records[number]
            used = any(joined.rule.invitation == number for joined in self._joinings(invitee, standing=False))
            removals = [self._archive.number_of[removal.act.hash] for removal in self._removals(invitee)]
            if number in self.state and not used and all(record.past >> removal & 1 for removal in removals):
                found.append(record.act)
        return sorted(found, key=lambda act: (act.lamport, act.hash), reverse=True)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _judged(self, act: Act) -> Record:
        archive, past = self._archive, self._past_of(act)
        standing = self._standing(archive.contested & past)
        view = Past(archive, past & standing)
        rule = rule_for(act, view, archive)
        support = archive.support_of(act, rule, past)
        record = Record(act, rule, past, support, not support & ~standing)
        if not stands(record, view):
            raise EventRejected(f"{rule.quorum} of level {rule.need.label} must sign this, the author among them")
        return record

    def _past_of(self, act: Act) -> int:
        archive, past = self._archive, 0
        if self.missing(act):
            raise EventRejected("unknown_author: it follows acts that are not known here")
        for named in act.after:
            number = archive.number_of[named]
            past |= archive.records[number].past | 1 << number
            if archive.records[number].act.lamport >= act.lamport:
                raise EventRejected("the Lamport time does not lie beyond the acts it follows")
        return past

    def _append(self, act: Act) -> None:
        self._archive.append(self._judged(act))
        self._now = None
        self._first.clear()

    def _wait(self, act: Act, missing: CID) -> None:
        waiting = self._waiting.get(missing, ())
        if act not in waiting:
            self._waiting[missing] = (*waiting, act)

    def _standing(self, removals: int) -> int:
        resolution = self._resolutions.pop(removals, None)
        if resolution is None:
            resolution = Resolution(self._archive, removals, next(reversed(self._resolutions.values()), None))
            while len(self._resolutions) >= _RESOLUTIONS_KEPT:
                del self._resolutions[next(iter(self._resolutions))]
        self._resolutions[removals] = resolution  # the last used stays longest
        return resolution.standing()

    def _joinings(self, node_id: NodeID, *, standing: bool = True) -> list[Record]:
        """Foundings and joinings of the node that stand; those that a removal undid too, if asked."""
        state, archive = self.state, self._archive
        numbers = state.standings(node_id) if standing else archive.about.get(node_id, ())
        records = [archive.records[number] for number in numbers if number in state]
        return [record for record in records if isinstance(record.act.data, MemberJoined | CommunityCreated)]

    def _removals(self, node_id: NodeID) -> list[Record]:
        records = [
            self._archive.records[number] for number in self._archive.about.get(node_id, ()) if number in self.state
        ]
        return [record for record in records if record.rule.gives is TrustLevel.UNKNOWN]

    def _was_known(self, removal: Record, author: NodeID, place: KnownHead) -> bool:
        """Whether who removed the author knew the event at this place, by the head named or by an act in the past."""
        act = removal.act
        head = KnownHead(act.author_epoch, act.author_seq) if isinstance(act.data, MemberLeft) else act.data.target_head
        if place.author_epoch <= head.author_epoch and place.author_seq <= head.author_seq:
            same_place = (place.author_epoch, place.author_seq) == (head.author_epoch, head.author_seq)
            return not same_place or not head.hash or head.hash == place.hash
        known = (self._archive.records[number] for number in self._archive.signed.get(author, ()))
        return any(
            removal.past >> self._archive.number_of[record.act.hash] & 1
            and record.act.author == author
            and place.author_epoch <= record.act.author_epoch
            and place.author_seq <= record.act.author_seq
            for record in known
        )

    def _knows(self, head: int, number: int) -> bool:
        return head == number or bool(self._archive.records[head].past >> number & 1)


def _lies_in(joining: Act, place: KnownHead) -> bool:
    return joining.author_seq < place.author_seq and joining.author_epoch <= place.author_epoch
