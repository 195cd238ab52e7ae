"""The bus as a state machine: whatever calls do, places are given back and each call is traced once."""

import asyncio
from collections import Counter

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from hearthnet.base import errors
from hearthnet.mesh.limits import Plan, Rate
from mesh.samples import NEIGHBOUR, AskInput, AskOutput, Done, Word, World, turns

WIDE = Plan(Rate(1e6, 1e7), Rate(1e6, 1e7))
ENDINGS = {
    "finish": lambda: None,
    "fail": lambda: errors.EngineDied("ended"),
    "refuse": lambda: errors.BadRequest("no"),
    "crash": lambda: ValueError("bug"),
    "busy": lambda: errors.CapacityExceeded("full"),
}


class Running:
    """One call in flight, seen from outside: how its handler shall end, and what its caller got."""

    def __init__(self) -> None:
        self.ending = asyncio.get_running_loop().create_future()
        self.task = None


class BusMachine(RuleBasedStateMachine):
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.run(self.start())

    def run(self, work):
        return self.runner.run(work)

    async def start(self):
        self.world = World(limits=WIDE)
        self.world.library.answer = self.answer
        self.world.library.tell = self.tell
        self.made = 0
        self.live = {}

    def teardown(self):
        async def end():
            for running in self.live.values():
                running.task.cancel()
            await turns(20)
            await self.world.bus.close()
            assert all(entry.in_flight == 0 for entry in self.world.bus.entries())
            self.check_traces(unfinished=0)

        self.run(end())
        self.runner.close()

    async def answer(self, call, params, request):
        ending = await self.live[int(request.query)].ending
        if ending is not None:
            raise ending
        return AskOutput(request.query)

    async def tell(self, call, params, request):
        yield Word("begun")
        ending = await self.live[int(request.query)].ending
        if ending is not None:
            raise ending
        yield Done()

    async def consume(self, number, streams):
        if not streams:
            return await self.world.ask(str(number), caller=NEIGHBOUR)
        stream = self.world.bus.stream("llm.chat@1.0", None, AskInput(str(number)), caller=NEIGHBOUR)
        return [frame async for frame in stream]

    @rule(target=calls, streams=st.booleans())
    def call(self, streams):
        async def begin():
            self.made += 1
            running = self.live[self.made] = Running()
            running.task = asyncio.ensure_future(self.consume(self.made, streams))
            await turns(3)
            return self.made

        return self.run(begin())

    @rule(number=calls, how=st.sampled_from(["finish"] * 4 + sorted(ENDINGS)))
    def end(self, number, how):
        async def end():
            running = self.live[number]
            if not running.ending.done():
                running.ending.set_result(ENDINGS[how]())
            await turns()

        self.run(end())

    @rule(number=calls)
    def cancel(self, number):
        async def cancel():
            self.live[number].task.cancel()
            await turns()

        self.run(cancel())

    @rule()
    def break_down(self):
        """Enough failures in a row to quarantine what has no calls in flight."""

        async def fail():
            for _ in range(12):
                self.made += 1
                running = self.live[self.made] = Running()
                running.ending.set_result(ENDINGS["fail"]())
                running.task = asyncio.ensure_future(self.consume(self.made, False))
                await turns(3)

        self.run(fail())

    @rule(seconds=st.sampled_from([0.05, 0.3, 5.0, 10.0, 61.0, 120.0]))
    def wait(self, seconds):
        self.run(self.world.clock.advance(seconds))

    @rule(name=st.sampled_from(["rag.nothing@1.0", "llm.chat@1.0", "no name"]))
    def call_wrongly(self, name):
        async def refused():
            self.made += 1
            self.live[self.made] = running = Running()
            running.task = asyncio.ensure_future(self.world.ask(name=name, caller=NEIGHBOUR))
            await turns(2)
            assert isinstance(running.task.exception(), errors.HearthNetError)

        self.run(refused())

    @invariant()
    def places_are_counted_right(self):
        for entry in self.world.bus.entries():
            assert 0 <= entry.in_flight <= entry.descriptor.max_concurrent
        unfinished = sum(not running.task.done() for running in self.live.values())
        assert sum(entry.in_flight for entry in self.world.bus.entries()) == unfinished
        self.check_traces(unfinished)

    @invariant()
    def only_errors_of_the_contract_leave(self):
        for running in self.live.values():
            if running.task.done() and not running.task.cancelled():
                error = running.task.exception()
                assert error is None or isinstance(error, errors.HearthNetError)

    def check_traces(self, unfinished):
        events = self.world.traces.recent(10_000)
        assert len(events) == self.made - unfinished
        assert max(Counter(event.trace_id for event in events).values(), default=1) == 1


TestBus = BusMachine.TestCase
TestBus.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
