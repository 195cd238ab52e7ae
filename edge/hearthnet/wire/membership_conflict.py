"""Which acts stand when removals and other acts were written side by side (M01; strong removal, as in p2panda-auth).

A removal voids what its target did without knowing of it, and with that everything whose authority rested on it.
Removals strike removals too: they are settled along the arrows of who strikes whom, and those in a circle (A removes B
while B removes A) all apply. The outcome depends on the set of acts alone, not on the order in which they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.wire.membership_archive import Past, numbers_in
from hearthnet.wire.membership_law import stands

if TYPE_CHECKING:
    from hearthnet.base.types import NodeID
    from hearthnet.wire.membership_archive import Archive


class Resolution:
    """The acts that stand if of all contested removals just those in `removals` are known; grows with the archive."""

    def __init__(self, archive: Archive, removals: int, similar: Resolution | None = None) -> None:
        """`similar`: of other removals, whose findings are taken over as far as they are the same."""
        self._archive = archive
        self.removals = removals
        self.settled = 0  # acts looked at
        self.found = 0
        struck = 0
        for number in numbers_in(removals):
            struck |= archive.hits.get(number, 0)
        exposed = [number for number in numbers_in(removals) if _grounds(archive, number) & struck]
        self._decided = self.applied = removals  # those that no removal touches stand, as they did in their own past
        for number in exposed:
            self._decided = self.applied = self.applied & ~(1 << number)
        for group in _groups(archive, exposed):
            self._settle(group)
        if similar is not None:
            self._take_over(similar)

    def copy(self, archive: Archive) -> Resolution:
        """The same for a copy of the archive."""
        other = Resolution(archive, 0)
        vars(other).update(vars(self) | {"_archive": archive})
        return other

    def standing(self) -> int:
        """All acts of the archive that stand; right for acts whose past holds no further contested removal."""
        records = self._archive.records
        while self.settled < len(records):
            number, record = self.settled, records[self.settled]
            self.settled += 1
            void = ((1 << number) - 1) & ~self.found
            if self.removals >> number & 1:
                fine = bool(self.applied >> number & 1)
            elif record.clean and not record.support & void and not self._struck(number):
                fine = True
            else:
                fine = stands(record, Past(self._archive, record.past & self.found), self._struck(number))
            self.found |= fine << number
        return self.found

    def _take_over(self, other: Resolution) -> None:
        """The acts before the first one that the difference in removals can touch."""
        if (self.applied ^ other.applied) & self.removals & other.removals:
            return
        differing = self.removals ^ other.removals
        for number in numbers_in(differing):
            differing |= self._archive.hits.get(number, 0)
        self.settled = min(other.settled, (differing & -differing).bit_length() - 1)
        self.found = other.found & ((1 << self.settled) - 1)

    def _settle(self, group: list[int]) -> None:
        """Decide about removals that strike each other in a circle, or about one; those before them are decided."""
        records, concerned, standing = self._archive.records, 0, 0
        for number in group:
            concerned |= records[number].support | 1 << number
        for number in numbers_in(concerned):
            if self._decided >> number & 1:
                fine = bool(self.applied >> number & 1)
            else:
                past = Past(self._archive, records[number].past & standing)
                fine = stands(records[number], past, self._struck(number))
            standing |= fine << number
        for number in group:
            self._decided |= 1 << number
            self.applied |= standing & 1 << number

    def _struck(self, number: int) -> set[NodeID]:
        """The signers of an act that removals, as far as they apply, strike."""
        removals = self._archive.hit_by.get(number, 0) & self.applied
        if not removals:
            return set()
        rules = [self._archive.records[removal].rule for removal in numbers_in(removals)]
        return {rule.about for rule in rules if rule.strikes} | {rule.unroots for rule in rules}


def _grounds(archive: Archive, number: int) -> int:
    """An act and all that its authority may rest on."""
    return archive.records[number].support | 1 << number


def _groups(archive: Archive, numbers: list[int]) -> list[list[int]]:
    """The removals in an order in which each comes after all that can void it; those in a circle together.

    Tarjan's algorithm without recursion: it finds the groups from the last to the first.
    """
    after = {
        one: [other for other in numbers if other != one and archive.hits.get(one, 0) & _grounds(archive, other)]
        for one in numbers
    }
    found: list[list[int]] = []
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    open_ones: list[int] = []
    for start in numbers:
        path = [(start, iter(after[start]))] if start not in order else []
        while path:
            one, rest = path[-1]
            if one not in order:
                order[one] = low[one] = len(order)
                open_ones.append(one)
            for other in rest:
                if other not in order:
                    path.append((other, iter(after[other])))
                    break
                if other in open_ones:
                    low[one] = min(low[one], order[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[one])
                if low[one] == order[one]:
                    at = open_ones.index(one)
                    found.append(open_ones[at:])
                    del open_ones[at:]
    return found[::-1]
