from __future__ import annotations

import asyncio

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.base.errors import CallTimeout, CapacityExceeded
from hearthnet.mesh.fair_queue import FairLine, FairQueue


def join(line, subject, *, emergency=False, now=0.0):
    return line.join(subject, emergency=emergency, now=now)[0]


def test_one_person_with_many_questions_does_not_keep_others_waiting():
    line = FairLine(slots=1, waiting_max=20)
    first = join(line, "anna")
    assert line.grant(0.0) == [first]
    annas = [join(line, "anna") for _ in range(5)]
    bens = [join(line, "ben") for _ in range(2)]
    order, running = [], first
    while line.waiting:
        line.leave(running, 1.0)
        (running,) = line.grant(1.0)
        order.append(running)
    assert order == [bens[0], annas[0], bens[1], *annas[1:]]


def test_positions_foretell_the_order_of_service():
    line = FairLine(slots=1, waiting_max=20)
    running = join(line, "anna")
    line.grant(0.0)
    for subject in ("anna", "anna", "ben", "cleo", "ben", "anna"):
        join(line, subject)
    foretold = sorted(line.positions(), key=line.positions().get)
    served = []
    while line.waiting:
        line.leave(running, 1.0)
        (running,) = line.grant(1.0)
        served.append(running)
    assert served == foretold


def test_subject_with_fewer_running_places_goes_first():
    line = FairLine(slots=2, waiting_max=8)
    join(line, "anna"), join(line, "anna")
    running = line.grant(0.0)
    anna, ben = join(line, "anna"), join(line, "ben")
    line.leave(running[0], 1.0)
    assert line.grant(1.0) == [ben]
    assert line.positions() == {anna: 1}


def test_emergency_overtakes_everyone_who_waits():
    line = FairLine(slots=1, waiting_max=8)
    running = join(line, "anna")
    line.grant(0.0)
    join(line, "ben")
    urgent = join(line, "cleo", emergency=True)
    line.leave(running, 1.0)
    assert line.grant(1.0) == [urgent]


def test_full_line_says_busy_and_when_to_come_back():
    line = FairLine(slots=1, waiting_max=2)
    join(line, "anna")
    line.grant(0.0)
    join(line, "ben"), join(line, "cleo")
    with pytest.raises(CapacityExceeded) as busy:
        join(line, "dora")
    assert busy.value.retry_after_ms >= 1000
    assert busy.value.fix


def test_retry_time_follows_how_long_places_are_really_held():
    line = FairLine(slots=1, waiting_max=2)
    for _ in range(40):
        ticket = join(line, "anna", now=0.0)
        line.grant(0.0)
        line.leave(ticket, 0.5)
    assert line.busy().retry_after_ms == pytest.approx(500, abs=10)


def test_one_subject_cannot_fill_the_line():
    line = FairLine(slots=1, waiting_max=4)
    join(line, "anna")
    line.grant(0.0)
    join(line, "anna"), join(line, "anna")
    with pytest.raises(CapacityExceeded):
        join(line, "anna")
    assert join(line, "ben") in line.positions()


def test_emergency_finds_room_in_a_full_line_at_the_cost_of_the_longest_list():
    line = FairLine(slots=1, waiting_max=3)
    join(line, "anna")
    line.grant(0.0)
    join(line, "anna")
    newest = join(line, "anna")
    ben = join(line, "ben")
    urgent, pushed = line.join("cleo", emergency=True, now=0.0)
    assert pushed == [newest]
    assert line.positions()[urgent] == 1
    assert ben in line.positions()


def test_line_full_of_emergencies_refuses_the_next_one():
    line = FairLine(slots=1, waiting_max=1)
    join(line, "anna")
    line.grant(0.0)
    join(line, "ben", emergency=True)
    with pytest.raises(CapacityExceeded):
        join(line, "cleo", emergency=True)


async def test_waiting_caller_sees_its_position_fall_until_its_turn():
    queue = FairQueue(FakeClock(), slots=1, waiting_max=8)
    release, seen = asyncio.Event(), []

    async def hold():
        async with queue.place("anna") as place:
            await place.turn()
            await release.wait()

    async def watch():
        async with queue.place("cleo") as place:
            async for position in place.positions():
                seen.append(position)  # noqa: PERF401  the list is watched while it grows
            seen.append("turn")

    async with asyncio.TaskGroup() as group:
        group.create_task(hold())
        await asyncio.sleep(0)
        group.create_task(hold())  # waits as anna's second
        await asyncio.sleep(0)
        async with queue.place("ben") as ben:
            group.create_task(watch())
            await asyncio.sleep(0.01)
            assert seen == [2]
            del ben
        await asyncio.sleep(0.01)
        assert seen == [2, 1]
        release.set()
    assert seen[-1] == "turn"
    assert queue.running == queue.waiting == 0


async def test_deadline_ends_the_wait_and_frees_the_place_in_line():
    clock = FakeClock()
    queue = FairQueue(clock, slots=1, waiting_max=4)

    async def wait():
        async with queue.place("ben", deadline=clock.monotonic() + 5) as place:
            await place.turn()

    async with queue.place("anna"):
        waiting = asyncio.create_task(wait())
        await clock.advance(4.9)
        assert not waiting.done()
        await clock.advance(0.2)
        with pytest.raises(CallTimeout):
            await waiting
        assert queue.waiting == 0
    assert queue.running == 0


async def test_deadline_does_not_end_a_place_that_has_its_turn():
    clock = FakeClock()
    queue = FairQueue(clock, slots=1, waiting_max=4)
    async with queue.place("anna", deadline=clock.monotonic() + 1) as place:
        await place.turn()
        await clock.advance(10)
        await place.turn()
        assert queue.running == 1


async def test_caller_that_gives_up_hands_its_turn_to_the_next():
    queue = FairQueue(FakeClock(), slots=1, waiting_max=4)
    reached = asyncio.Event()

    async def wait(subject, mark=None):
        async with queue.place(subject) as place:
            await place.turn()
            if mark:
                mark.set()

    async with queue.place("anna"):
        ben = asyncio.create_task(wait("ben"))
        await asyncio.sleep(0)
        cleo = asyncio.create_task(wait("cleo", reached))
        await asyncio.sleep(0)
        ben.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ben
        assert queue.waiting == 1
    await cleo
    assert reached.is_set()


async def test_pushed_out_caller_is_told_busy():
    queue = FairQueue(FakeClock(), slots=1, waiting_max=1)

    async def wait():
        async with queue.place("ben") as place:
            await place.turn()

    async with queue.place("anna"):
        ben = asyncio.create_task(wait())
        await asyncio.sleep(0)
        async with queue.place("cleo", emergency=True):
            with pytest.raises(CapacityExceeded) as busy:
                await ben
            assert busy.value.retry_after_ms > 0


async def test_load_rises_from_idle_to_full():
    queue = FairQueue(FakeClock(), slots=1, waiting_max=1)
    assert queue.load == 0.0
    async with queue.place("anna"), queue.place("ben"):
        assert queue.load == 1.0


SUBJECTS = st.sampled_from(["anna", "ben", "cleo"])


class LineMachine(RuleBasedStateMachine):
    """The line against a plain list of who is where."""

    tickets = Bundle("tickets")

    def __init__(self):
        super().__init__()
        self.line = FairLine(slots=2, waiting_max=4)
        self.waiting = {}
        self.running = {}
        self.now = 0.0

    @rule(target=tickets, subject=SUBJECTS, emergency=st.booleans())
    def arrive(self, subject, emergency):
        try:
            ticket, pushed = self.line.join(subject, emergency=emergency, now=self.now)
        except CapacityExceeded as busy:
            assert busy.retry_after_ms >= 100  # noqa: PT017  the refusal is allowed, not expected
            full = len(self.waiting) >= 4
            hog = sum(1 for _, holder in self.waiting.values() if holder == subject) >= 2
            assert full or hog
            return multiple()
        for victim in pushed:
            assert not self.waiting.pop(victim)[0], "an emergency was pushed out"
        self.waiting[ticket] = (emergency, subject)
        return ticket

    @rule(seconds=st.floats(0, 60))
    def serve(self, seconds):
        self.now += seconds
        urgent = sum(1 for emergency, _ in self.waiting.values() if emergency)
        granted = self.line.grant(self.now)
        for ticket in granted:
            emergency, _ = self.running[ticket] = self.waiting.pop(ticket)
            assert emergency or not urgent, "an ordinary place overtook an emergency"
            urgent -= emergency
        assert len(self.running) == 2 or not self.waiting, "a free slot stood idle"

    @rule(ticket=consumes(tickets))
    def go(self, ticket):
        self.line.leave(ticket, self.now)
        self.waiting.pop(ticket, None)
        self.running.pop(ticket, None)

    @invariant()
    def books_agree(self):
        assert self.line.running == len(self.running) <= 2
        assert self.line.waiting == len(self.waiting) <= 4
        positions = self.line.positions()
        assert sorted(positions.values()) == list(range(1, len(self.waiting) + 1))
        assert positions.keys() == self.waiting.keys()


TestLineMachine = LineMachine.TestCase
