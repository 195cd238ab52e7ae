"""Waiting for a busy engine: bounded, fair per person, position shown, `busy` with a time (M04).

`FairLine` is the pure rule (time is an argument); `FairQueue` lets coroutines wait in it.

Order: emergency before ordinary; then the subject with the fewest running places; then the one served longest ago;
within a subject first come, first served. When the line is full, `busy` (CapacityExceeded) tells when to ask again;
no subject may hold more than half of the line; an emergency pushes out the newest place of the longest waiting list.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import CallTimeout, CapacityExceeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hearthnet.ports import Clock

_FIRST_GUESS_S: Final = 8.0  # how long a place is held, before anything was measured
_SMOOTHING: Final = 0.2
_FIX_BUSY: Final = "wait the time given and ask again, or let another node answer"


class FairLine:
    """The rule of the line as plain data; tickets are rising numbers."""

    def __init__(self, slots: int, waiting_max: int) -> None:
        self.slots = slots
        self.waiting_max = waiting_max
        self.per_subject_max = max(1, (waiting_max + 1) // 2)
        self.mean_hold_s = _FIRST_GUESS_S
        self._next = 0
        self._turn = 0
        self._waiting: dict[int, tuple[bool, str]] = {}  # ticket -> (emergency, subject), oldest first
        self._running: dict[int, tuple[str, float]] = {}  # ticket -> (subject, since)
        self._served: dict[str, int] = {}  # subject -> turn of its last grant

    def join(self, subject: str, *, emergency: bool, now: float) -> tuple[int, list[int]]:
        """A new ticket, and the tickets that an emergency pushed out; raises CapacityExceeded when full."""
        pushed = []
        if self.running < self.slots and not self._waiting:
            pass
        elif emergency:
            pushed = self._push_out() if len(self._waiting) >= self.waiting_max else []
        elif len(self._waiting) >= self.waiting_max or self._held_by(subject) >= self.per_subject_max:
            raise self.busy()
        self._next += 1
        self._waiting[self._next] = (emergency, subject)
        return self._next, pushed

    def grant(self, now: float) -> list[int]:
        """Move waiting tickets into free slots, in order; returns them."""
        granted = []
        while self._waiting and self.running < self.slots:
            ticket = self._first(self._waiting, self._load(), self._served)
            granted.append(ticket)
            self._turn += 1
            _, subject = self._waiting.pop(ticket)
            self._running[ticket] = (subject, now)
            self._served[subject] = self._turn
        return granted

    def leave(self, ticket: int, now: float) -> None:
        """Give up a place, running or waiting; unknown tickets are ignored."""
        self._waiting.pop(ticket, None)
        held = self._running.pop(ticket, None)
        if held is not None:
            self.mean_hold_s += _SMOOTHING * (max(0.0, now - held[1]) - self.mean_hold_s)
        known = {subject for _, subject in self._waiting.values()} | {subject for subject, _ in self._running.values()}
        if len(self._served) > len(known) + 64:  # forget those who left long ago, keep the line's memory small
            self._served = {subject: turn for subject, turn in self._served.items() if subject in known}

    def positions(self) -> dict[int, int]:
        """Position of each waiting ticket, 1 = next, as if those before it were granted one by one."""
        waiting, load, served, order = dict(self._waiting), self._load(), dict(self._served), {}
        for position in range(1, len(waiting) + 1):
            ticket = self._first(waiting, load, served)
            _, subject = waiting.pop(ticket)
            load[subject] = load.get(subject, 0) + 1
            served[subject] = self._turn + position
            order[ticket] = position
        return order

    def busy(self) -> CapacityExceeded:
        """The error for one who finds the line full, with the time after which a place is likely."""
        return CapacityExceeded(
            f"all {self.slots} places are taken and {len(self._waiting)} wait",
            fix=_FIX_BUSY,
            retry_after_ms=max(100, self.wait_ms(len(self._waiting) + 1)),
        )

    def wait_ms(self, position: int) -> int:
        """How long the one at this position will likely wait."""
        return round(1000 * self.mean_hold_s * position / self.slots)

    @property
    def running(self) -> int:
        """Places in use."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Tickets that wait."""
        return len(self._waiting)

    @staticmethod
    def _first(waiting: dict[int, tuple[bool, str]], load: dict[str, int], served: dict[str, int]) -> int:
        return min(
            waiting,
            key=lambda ticket: (
                not waiting[ticket][0],
                load.get(waiting[ticket][1], 0),
                served.get(waiting[ticket][1], 0),
                ticket,
            ),
        )

    def _load(self) -> dict[str, int]:
        load: dict[str, int] = {}
        for subject, _ in self._running.values():
            load[subject] = load.get(subject, 0) + 1
        return load

    def _held_by(self, subject: str) -> int:
        return sum(1 for _, holder in self._waiting.values() if holder == subject)

    def _push_out(self) -> list[int]:
        ordinary = [ticket for ticket, (emergency, _) in self._waiting.items() if not emergency]
        if not ordinary:
            raise self.busy()
        victim = max(ordinary, key=lambda ticket: (self._held_by(self._waiting[ticket][1]), ticket))
        del self._waiting[victim]
        return [victim]


class Place:
    """One caller's place; `positions` ends when it is this caller's turn."""

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self._updates: deque[int] = deque(maxlen=1)  # only the newest position matters
        self._wake = asyncio.Event()
        self._granted = False
        self._refused: CapacityExceeded | CallTimeout | None = None

    async def positions(self) -> AsyncIterator[int]:
        """Each new position while waiting; raises CallTimeout at the deadline, CapacityExceeded when pushed out."""
        while True:
            self._wake.clear()
            if self._refused is not None:
                raise self._refused
            if self._granted:
                return
            if self._updates:
                yield self._updates.popleft()
                continue
            await self._wake.wait()

    async def turn(self) -> None:
        """Wait for the turn without looking at positions; raises like `positions`."""
        async for _ in self.positions():
            pass

    def tell(
        self, *, position: int = 0, granted: bool = False, refused: CapacityExceeded | CallTimeout | None = None
    ) -> None:
        """Called by the queue: a new position, the turn, or a refusal."""
        if position:
            self._updates.append(position)
        self._granted = self._granted or granted
        self._refused = self._refused or (None if self._granted else refused)
        self._wake.set()


class FairQueue:
    """A line of coroutines before `slots` places.

    async with queue.place(subject, deadline=call.deadline) as place:
        async for position in place.positions(): ...      # shown to the waiting person
        ...                                               # the place is held until the block ends
    """

    def __init__(self, clock: Clock, slots: int, waiting_max: int) -> None:
        self._clock = clock
        self._line = FairLine(slots, waiting_max)
        self._places: dict[int, Place] = {}
        self._told: dict[int, int] = {}

    @property
    def load(self) -> float:
        """Share of places and waiting room in use, for the router's score."""
        return (self._line.running + self._line.waiting) / (self._line.slots + self._line.waiting_max)

    @property
    def running(self) -> int:
        """Places in use."""
        return self._line.running

    @property
    def waiting(self) -> int:
        """Callers that wait."""
        return self._line.waiting

    def wait_ms(self, position: int) -> int:
        """How long the one at this position will likely wait."""
        return self._line.wait_ms(position)

    @asynccontextmanager
    async def place(self, subject: str, *, emergency: bool = False, deadline: float = inf) -> AsyncIterator[Place]:
        """Join the line (raises CapacityExceeded at once when full) and hold the place until the block ends."""
        ticket, pushed = self._line.join(subject, emergency=emergency, now=self._clock.monotonic())
        place = self._places[ticket] = Place(ticket)
        for victim in pushed:
            self._places[victim].tell(refused=self._line.busy())
        self._advance()
        alarm = None if deadline == inf else asyncio.create_task(self._expire(place, deadline))
        try:
            yield place
        finally:
            if alarm is not None:
                alarm.cancel()
            self._line.leave(ticket, self._clock.monotonic())
            del self._places[ticket]
            self._told.pop(ticket, None)
            self._advance()

    async def _expire(self, place: Place, deadline: float) -> None:
        await self._clock.sleep(max(0.0, deadline - self._clock.monotonic()))
        place.tell(refused=CallTimeout("the deadline passed while waiting for a place", fix=_FIX_BUSY))

    def _advance(self) -> None:
        for ticket in self._line.grant(self._clock.monotonic()):
            self._places[ticket].tell(granted=True)
        for ticket, position in self._line.positions().items():
            if self._told.get(ticket) != position:
                self._told[ticket] = position
                self._places[ticket].tell(position=position)
