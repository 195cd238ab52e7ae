"""Streams: back-pressure, one terminal frame, and an end of the handler whoever ends it."""

import asyncio
from contextlib import aclosing

import pytest

from hearthnet.base import errors
from hearthnet.base.constants import STREAM_WINDOW_FRAMES
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.capability import Caller
from mesh.samples import HERE, ME, Done, Failed, Gate, Word, World, turns


async def frames_of(stream):
    async with aclosing(stream):
        return [frame async for frame in stream]


async def test_frames_arrive_in_order_and_end_with_the_terminal_one(world):
    assert await frames_of(world.stream()) == [Word("hello"), Word("there"), Done(3, 2)]
    event = world.traces.recent(1)[0]
    assert (event.result, event.tokens_in, event.tokens_out) == ("ok", 3, 2)
    assert event.bytes_out > 60
    assert world.entry("llm.chat@1.0").in_flight == 0


async def test_nothing_runs_before_the_first_frame_is_asked_for(world):
    unread = world.stream()
    await turns()
    assert world.entry("llm.chat@1.0").in_flight == 0
    await unread.aclose()
    assert world.results() == []


async def test_a_refused_stream_raises_at_its_first_frame(world):
    with pytest.raises(errors.Unauthorized):
        await frames_of(world.stream(caller=Caller(None, TrustLevel.UNKNOWN, "x")))
    assert world.results() == ["unauthorized"]


async def test_a_plain_reply_is_not_answered_as_a_stream(world):
    with pytest.raises(errors.BadRequest):
        await frames_of(world.bus.stream("rag.query@1.0", None, {"query": "w"}, caller=ME))


async def test_a_handler_waits_for_a_slow_reader(world):
    made = []

    async def tell(call, params, request):
        for number in range(100):
            made.append(number)
            yield Word(str(number))
        yield Done()

    world.library.tell = tell
    async with aclosing(world.stream()) as stream:
        assert await anext(stream) == Word("0")
        await turns(200)
        assert len(made) <= STREAM_WINDOW_FRAMES + 2
        rest = [frame async for frame in stream]
    assert [frame.text for frame in rest[:-1]] == [str(number) for number in range(1, 100)]


async def test_closing_a_stream_cancels_the_handler_at_once(world):
    gate = Gate()
    world.library.tell = gate.tell
    stream = world.stream()
    assert await anext(stream) == Word("one")
    await turns()
    async with asyncio.timeout(0.2):
        await stream.aclose()
    assert gate.ended == ["cancelled"]
    assert world.results() == ["cancelled"]
    assert world.entry("llm.chat@1.0").in_flight == 0


async def test_a_reader_that_is_cancelled_cancels_the_handler(world):
    gate = Gate()
    world.library.tell = gate.tell
    reading = asyncio.create_task(frames_of(world.stream()))
    await turns(20)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert gate.ended == ["cancelled"]


async def test_a_reader_cancelled_before_the_handler_started_leaves_no_place_taken(world):
    stream = world.stream()
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for pump in world.bus._pumps:
        pump.cancel()  # before its first step
    with pytest.raises(errors.Unavailable):
        await first
    assert world.entry("llm.chat@1.0").in_flight == 0
    assert world.results() == ["cancelled"]


async def test_a_stream_blocked_by_its_reader_still_ends_at_its_deadline(world):
    closed = []

    async def tell(call, params, request):
        try:
            while True:
                yield Word("more")
        finally:
            closed.append(True)

    world.library.tell = tell
    stream = world.stream()
    assert await anext(stream) == Word("more")
    await world.clock.advance(121)
    assert closed == [True]
    assert world.entry("llm.chat@1.0").in_flight == 0
    with pytest.raises(errors.CallTimeout):
        await frames_of(stream)


async def test_an_error_after_the_first_frame_reaches_the_reader_behind_what_was_sent(world):
    async def tell(call, params, request):
        yield Word("begun")
        raise errors.EngineDied("the engine ended")

    world.library.tell = tell
    stream = world.stream()
    assert await anext(stream) == Word("begun")
    with pytest.raises(errors.EngineDied):
        await anext(stream)
    assert world.results() == ["partition"]


async def test_a_stream_without_terminal_frame_is_the_nodes_mistake(world):
    async def tell(call, params, request):
        yield Word("and then")

    world.library.tell = tell
    with pytest.raises(errors.InternalError):
        await frames_of(world.stream())


async def test_what_follows_the_terminal_frame_never_reaches_the_reader(world):
    async def tell(call, params, request):
        yield Done()
        yield Word("more")

    world.library.tell = tell
    assert await frames_of(world.stream()) == [Done()]
    assert world.results() == ["internal_error"]


@pytest.mark.parametrize("frame", [Word(7), None, Word])
async def test_a_frame_that_does_not_fit_its_schema_never_leaves(world, frame):
    async def tell(call, params, request):
        yield frame
        yield Done()

    world.library.tell = tell
    with pytest.raises(errors.InternalError):
        await frames_of(world.stream())


async def test_an_error_frame_counts_as_the_failure_it_names(world):
    async def tell(call, params, request):
        yield Failed("partition", "the engine ended")

    world.library.tell = tell
    assert await frames_of(world.stream()) == [Failed("partition", "the engine ended")]
    assert world.results() == ["partition"]
    rate = f'hearthnet_capability_health_success_rate{{capability="llm.chat",node="{HERE}"}}'
    assert rate in world.metrics.render()
    assert world.metric(rate) == 0


async def test_work_after_the_last_frame_is_finished_though_the_reader_has_gone(world):
    saved = asyncio.Event()
    may_save = asyncio.Event()

    async def tell(call, params, request):
        yield Done()
        await may_save.wait()
        saved.set()

    world.library.tell = tell
    stream = world.stream()
    assert await anext(stream) == Done()
    may_save.set()
    await stream.aclose()
    assert saved.is_set()
    assert world.results() == ["ok"]


async def test_a_handler_that_does_not_end_when_closed_is_left_and_named(world, caplog):
    stubborn = asyncio.Event()

    async def tell(call, params, request):
        yield Word("one")
        while not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                continue
        yield Done()

    world.library.tell = tell
    stream = world.stream()
    assert await anext(stream) == Word("one")
    await turns()
    await stream.aclose()
    assert "does not end when cancelled" in caplog.text
    assert world.entry("llm.chat@1.0").in_flight == 1  # it still occupies its place
    stubborn.set()
    await turns()
    assert world.entry("llm.chat@1.0").in_flight == 0


async def test_a_full_stream_capability_refuses_the_next(world):
    gate = Gate()
    world.library.tell = gate.tell
    open_streams = [world.stream() for _ in range(2)]
    for stream in open_streams:
        assert await anext(stream) == Word("one")
    assert world.metric('hearthnet_active_streams{capability="llm.chat"}') == 2
    with pytest.raises(errors.CapacityExceeded):
        await anext(world.stream())
    for stream in open_streams:
        await stream.aclose()
    gate.opened.set()
    assert (await frames_of(world.stream()))[-1] == Done()


async def test_closing_the_bus_ends_streams_with_an_error_their_readers_see():
    world = World()
    gate = Gate()
    world.library.tell = gate.tell
    stream = world.stream()
    assert await anext(stream) == Word("one")
    reading = asyncio.ensure_future(anext(stream))
    await turns()
    await world.bus.close()
    with pytest.raises(errors.Unavailable):
        await reading
    assert gate.ended == ["cancelled"]
