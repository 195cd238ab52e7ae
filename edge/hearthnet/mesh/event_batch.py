"""Events that are stored together, inside one transaction (X02, decisions 6 and 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from hearthnet.mesh.event_rows import EventRows, LogEnd
from hearthnet.wire.chain import ChainEntry, Duplicate, Extends, Fork, Gap, LamportClock, check_link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hearthnet.base.types import CommunityID
    from hearthnet.mesh.verification import Rejection
    from hearthnet.ports import Transaction
    from hearthnet.wire.event import Sealed


Link: TypeAlias = Extends | Duplicate | Gap | Fork

_EXTENDS: Final = Extends()


class EventBatch:
    """Places events after each other and after what is stored; `finish` writes them and the clock.

    It holds no state beyond the transaction: when that fails, the batch is thrown away. After the commit the caller
    takes over `fresh_names`, `tips`, `end`, `stored` and `seqs`.
    """

    def __init__(
        self,
        tx: Transaction,
        community: CommunityID,
        names: Mapping[str, int],
        received_at: int,
        end: LogEnd | None = None,  # what the last commit left, when the caller knows it
    ) -> None:
        self.community = community
        self._rows = EventRows(tx, community, names)
        self._local = self._rows.begin(end)
        self._received_at = received_at
        self.tips: dict[str, ChainEntry | None] = {}  # last entry by author; None when there is not exactly one
        self.clock = LamportClock(self._local.lamport)
        self.head = self._local.head
        self.author_epoch = self._local.author_epoch
        self.stored: list[Sealed] = []
        self.rejected: list[Rejection] = []
        self.duplicates = 0
        self.forks = 0
        self.seqs = range(0)  # arrival numbers of `stored`
        self.end = end  # after `finish` what the commit will leave

    @property
    def fresh_names(self) -> Mapping[str, int]:
        """Names that this batch added."""
        return self._rows.fresh

    def link(self, sealed: Sealed) -> Link:
        """How a received event joins its author's chain; raises EventRejected when its Lamport time does not rise."""
        event = sealed.event
        if event.author not in self.tips:
            self.tips[event.author] = self._rows.tip(event.author)
        tip = self.tips[event.author]
        if (  # the usual case needs no look into the store
            tip is not None
            and event.prev == tip.hash
            and event.author_seq == tip.author_seq + 1
            and event.author_epoch >= tip.author_epoch
            and event.lamport > tip.lamport
        ):
            return _EXTENDS
        return check_link(sealed.entry, event.prev, self._rows.places(event.author, event.author_seq))

    def add(self, sealed: Sealed, link: Link) -> None:
        """Keep an event; a fork is kept with its proof."""
        author = sealed.event.author
        self._rows.add(sealed, self._received_at)
        self.stored.append(sealed)
        if link is _EXTENDS:
            self.tips[author] = sealed.entry
        else:
            self.tips.pop(author, None)
        if isinstance(link, Fork):
            self.forks += 1
            self._rows.add_fork(author, link, self._received_at)

    def add_own(self, events: Sequence[Sealed]) -> None:
        """Keep own events, each following the one before."""
        for sealed in events:
            self._rows.add(sealed, self._received_at)
        self.stored += events
        if events:
            self.tips[events[-1].event.author] = events[-1].entry

    def take_head(self, entry: ChainEntry) -> None:
        """An own event: the next one follows it."""
        if self.head is None or self.head.author_seq < entry.author_seq:
            self.head = entry
            self.author_epoch = max(self.author_epoch, entry.author_epoch)

    def finish(self) -> None:
        """Write everything."""
        last = self._rows.flush_all()
        self.seqs = range(last - len(self.stored) + 1, last + 1)
        clock = msgspec.structs.replace(
            self._local, lamport=self.clock.value, author_epoch=self.author_epoch, head=self.head
        )
        if clock != self._local:
            self._rows.write_clock(clock)
        self.end = LogEnd(clock, last)
