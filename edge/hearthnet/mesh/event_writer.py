"""Own events on their way into the log: chained in order, signed side by side, stored together (X02).

What arrives while a batch is being stored forms the next batch; no task stands between, so that a single event takes
one way to the writer thread and one back. The place of an event in the chain depends on the
hash of what is signed, not on the signature, so that signatures of a large batch are made in several threads.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import HearthNetError
from hearthnet.base.ulid import Ulids
from hearthnet.wire.event import Draft, Sealed, draft_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msgspec import Struct

    from hearthnet.mesh.admission import Admission
    from hearthnet.mesh.event_batch import EventBatch
    from hearthnet.mesh.verification import Verifier
    from hearthnet.ports import Clock
    from hearthnet.wire.identity import KeyPair

_SIGN_APART: Final = 128  # so many are signed by one thread at a time; fewer need no other thread


class Submission:
    """Events that are stored together or not at all, and who waits for them."""

    __slots__ = ("data", "expires_at", "future", "outcome")

    def __init__(self, data: Sequence[Struct], expires_at: float | None) -> None:
        self.data = data
        self.expires_at = expires_at
        self.future: asyncio.Future[list[Sealed]] = asyncio.get_running_loop().create_future()
        self.outcome: list[Sealed] | BaseException = []

    def settle(self, error: BaseException | None) -> None:
        """Tell who waits; `error` voids the whole batch."""
        if self.future.done():
            return
        outcome = error or self.outcome
        if isinstance(outcome, list):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)


class EventWriter:
    """Collects submissions and has `store` write them, one batch at a time; `store` calls back with its error."""

    def __init__(self, store: Callable[[list[Submission], Callable[[BaseException | None], None]], None]) -> None:
        self._store = store
        self._waiting: list[Submission] = []
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, submission: Submission) -> asyncio.Future[list[Sealed]]:
        """Resolves when everything is stored; raises what `store` found."""
        self._waiting.append(submission)
        if self._idle.is_set():
            self._idle.clear()
            self._write()
        return submission.future

    async def finish(self) -> None:
        """Wait until nothing is on its way."""
        await self._idle.wait()

    def _write(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            self._store(batch, partial(self._written, batch))
        except HearthNetError as error:  # the store is closed
            self._written(batch, error)

    def _written(self, batch: list[Submission], error: BaseException | None) -> None:
        for submission in batch:
            submission.settle(error)
        if self._waiting:
            self._write()
        else:
            self._idle.set()


class Sealing:
    """Gives events their place, signs them and puts them into a batch; runs in the store's writer thread."""

    def __init__(self, key: KeyPair, clock: Clock, random_bytes: Callable[[int], bytes], verifier: Verifier) -> None:
        self._key = key
        self._clock = clock
        self._ulids = Ulids(clock.now, random_bytes)
        self._threads = verifier

    def seal_all(self, submissions: Sequence[Submission], admission: Admission, batch: EventBatch) -> None:
        """Fill the batch; a submission that breaks a rule gets its error and leaves no trace.

        First all places, then all signatures, then all rows: what these steps do to the interpreter lock does not mix.
        """
        accepted: list[tuple[Submission, list[Draft]]] = []
        for submission in submissions:
            if submission.future.cancelled():
                continue
            trial = admission.branch()
            try:
                drafts = self._draft(submission, trial, batch)
            except HearthNetError as error:
                submission.outcome = error
                continue
            admission = trial
            accepted.append((submission, drafts))
        sealed = self._seal([draft for _, drafts in accepted for draft in drafts])
        batch.add_own(sealed)
        rest = iter(sealed)
        for submission, drafts in accepted:
            submission.outcome = [*islice(rest, len(drafts))]

    def _draft(self, submission: Submission, admission: Admission, batch: EventBatch) -> list[Draft]:
        """The events at their places; the batch takes note when all are good."""
        now, lamport, head = self._clock.now(), batch.clock.value, batch.head
        drafts: list[Draft] = []
        for data in submission.data:
            lamport += 1
            draft = draft_event(
                self._key.node_id, admission.follow(data, self._key.node_id),
                community_id=batch.community, event_id=self._ulids.new(), lamport=lamport,
                now=now, after=head, author_epoch=batch.author_epoch, expires_at=submission.expires_at,
            )  # fmt: skip
            admission.check(draft)
            admission.count(draft)
            head = draft.entry
            drafts.append(draft)
        batch.clock.value = lamport
        if head is not None:
            batch.take_head(head)
        return drafts

    def _seal(self, drafts: list[Draft]) -> list[Sealed]:
        """Sign, in several threads when there are many."""
        if len(drafts) < _SIGN_APART:
            return _sign(drafts, self._key)
        parts = [drafts[start : start + _SIGN_APART] for start in range(0, len(drafts), _SIGN_APART)]
        begun = [self._threads.begin(partial(_sign, part, self._key)) for part in parts]
        return [sealed for part in begun for sealed in part()]


def _sign(drafts: list[Draft], key: KeyPair) -> list[Sealed]:
    return [draft.seal(key) for draft in drafts]
