"""One call through the bus: each step of the order refuses what it must, and the place is always given back."""

import asyncio
import logging

import pytest
from msgspec import json

from hearthnet.base import errors
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.bus import SPAN_CHILDREN_MAX
from hearthnet.mesh.capability import Caller
from hearthnet.mesh.limits import Plan, Rate
from mesh.samples import HERE, ME, NEIGHBOUR, AskInput, AskOutput, AskParams, Gate, World, turns


async def test_a_call_from_bytes_gets_the_validated_reply_and_says_who_answered(world):
    answer = await world.bus.handle_call("rag.query@1.0", b'{"input":{"query":"water"}}', caller=ME)
    assert answer.output == AskOutput("water")
    assert json.decode(answer.body) == {"text": "water", "tokens_out": 0}
    assert answer.node_id == HERE
    assert answer.trace_id == world.traces.recent(1)[0].trace_id


async def test_a_call_from_another_capability_gets_the_reply_struct(world):
    reply = await world.bus.call("rag.query@1.0", AskParams(model="m"), AskInput("fire", k=2), caller=NEIGHBOUR)
    assert reply == AskOutput("fire")
    assert world.library.calls[0].caller is NEIGHBOUR


async def test_a_name_without_version_means_version_one(world):
    assert await world.ask("salt", name="rag.query") == "salt"


@pytest.mark.parametrize("name", ["rag.nothing@1.0", "rag.query@1.1", "rag.query@2.0"])
async def test_what_nobody_offers_is_not_found(world, name):
    with pytest.raises(errors.NotFound):
        await world.ask(name=name)


@pytest.mark.parametrize("name", ["", "rag", "rag.query@one", "rag.query@1", "../etc@1.0", "x." * 80 + "y@1.0"])
async def test_what_is_no_capability_name_is_a_bad_request(world, name):
    with pytest.raises(errors.BadRequest):
        await world.ask(name=name)


@pytest.mark.parametrize("trust", [TrustLevel.UNKNOWN, TrustLevel.FEDERATED])
async def test_a_caller_below_the_declared_trust_is_refused_and_the_handler_never_runs(world, trust):
    with pytest.raises(errors.Unauthorized):
        await world.ask(caller=Caller(None, trust, "x"))
    assert world.library.calls == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"params":{},"input":{"query":"w","colour":1}}', errors.SchemaMismatch),
        (b'{"params":{"temperature":1},"input":{"query":"w"}}', errors.SchemaMismatch),
        (b'{"params":{},"input":{"query":"w"},"extra":1}', errors.SchemaMismatch),
        (b'{"params":{},"input":{"query":7}}', errors.SchemaMismatch),
        (b'{"params":{},"input":{"query":"w","k":21}}', errors.SchemaMismatch),
        (b'{"params":{}}', errors.SchemaMismatch),
        (b"[]", errors.SchemaMismatch),
        (b'{"params":{},"input":{"query":"w","k":NaN}}', errors.BadRequest),
        (b'{"params":{},"input":{"query":"\xff\xfe"}}', errors.BadRequest),
        (b'{"params":{},"input":{"query":"w"', errors.BadRequest),
        (b"", errors.BadRequest),
        (b"\xef\xbb\xbf{}", errors.BadRequest),
        (b'{"params":' + b"[" * 200_000, errors.SchemaMismatch),
        (b"[" * 200_000, errors.SchemaMismatch),
    ],
)
async def test_a_request_that_does_not_fit_is_refused_before_the_handler(world, body, error):
    with pytest.raises(error) as raised:
        await world.bus.handle_call("rag.query@1.0", body, caller=ME)
    assert type(raised.value) is error
    assert world.library.calls == []
    assert world.entry("rag.query@1.0").in_flight == 0


@pytest.mark.parametrize(
    "request_", [AskInput("w" * 21), AskInput("w", k=0), AskInput(query=7), {"query": "w", "colour": 1}, {"k": 1}]
)
async def test_a_struct_of_another_capability_passes_the_same_checks_as_bytes(world, request_):
    with pytest.raises(errors.SchemaMismatch):
        await world.bus.call("rag.query@1.0", None, request_, caller=ME)


async def test_a_request_without_json_form_is_a_bad_request(world):
    with pytest.raises(errors.BadRequest):
        await world.bus.call("rag.query@1.0", None, {"query": object()}, caller=ME)


@pytest.mark.parametrize("reply", [None, AskOutput("x" * 101), AskInput("w"), {"text": "w", "more": 1}, object()])
async def test_a_reply_that_does_not_fit_its_own_schema_never_leaves(world, reply):
    async def answer(call, params, request):
        return reply

    world.library.answer = answer
    with pytest.raises(errors.InternalError):
        await world.ask()
    assert world.entry("rag.query@1.0").health.success_rate == 0


async def test_a_crash_in_a_handler_is_logged_with_its_trace_and_not_shown_to_the_caller(world, caplog):
    async def answer(call, params, request):
        raise ValueError("secret path")

    world.library.answer = answer
    with caplog.at_level(logging.ERROR), pytest.raises(errors.InternalError) as raised:
        await world.ask()
    assert "secret" not in raised.value.detail
    assert caplog.records[0].trace_id == world.traces.recent(1)[0].trace_id
    assert "secret path" in caplog.text


async def test_an_error_of_the_handler_reaches_the_caller_unchanged(world):
    refused = errors.NotFound("no such corpus", fix="hearthnet rag list")

    async def answer(call, params, request):
        raise refused

    world.library.answer = answer
    with pytest.raises(errors.NotFound) as raised:
        await world.ask()
    assert raised.value is refused
    assert world.results() == ["not_found"]


async def test_at_its_deadline_the_handler_is_cancelled_and_its_place_is_free(world):
    gate = Gate()
    world.library.answer = gate.answer
    asked = asyncio.create_task(world.ask())
    await world.clock.advance(9.99)
    assert not asked.done()
    await world.clock.advance(0.02)
    with pytest.raises(errors.CallTimeout):
        await asked
    assert gate.ended == ["cancelled"]
    assert world.entry("rag.query@1.0").in_flight == 0
    assert world.results() == ["timeout"]


async def test_a_task_that_timed_out_can_go_on(world):
    gate = Gate()
    world.library.answer = gate.answer

    async def ask_twice():
        with pytest.raises(errors.CallTimeout):
            await world.ask()
        assert asyncio.current_task().cancelling() == 0
        gate.opened.set()
        return await world.ask("again")

    asked = asyncio.create_task(ask_twice())
    await world.clock.advance(11)
    assert await asked == "again"


async def test_a_handler_that_swallows_its_cancellation_still_times_out(world):
    async def answer(call, params, request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return AskOutput("too late")

    world.library.answer = answer
    asked = asyncio.create_task(world.ask())
    await world.clock.advance(10.1)
    with pytest.raises(errors.CallTimeout):
        await asked
    assert asked.cancelling() == 0


async def test_cleaning_up_longer_than_200_ms_is_cancelled_again(world, caplog):
    steps = []

    async def answer(call, params, request):
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("cleaning")
            try:
                await asyncio.Event().wait()
            finally:
                steps.append("stopped")

    world.library.answer = answer
    asked = asyncio.create_task(world.ask())
    await world.clock.advance(10.1)
    assert steps == ["cleaning"]
    await world.clock.advance(0.2)
    with pytest.raises(errors.CallTimeout):
        await asked
    assert steps == ["cleaning", "stopped"]
    assert "does not end when cancelled" in caplog.text


async def test_a_caller_that_goes_away_cancels_the_handler_and_is_not_told_of_a_timeout(world):
    gate = Gate()
    world.library.answer = gate.answer
    asked = asyncio.create_task(world.ask())
    await turns()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert gate.ended == ["cancelled"]
    assert world.results() == ["cancelled"]
    assert world.entry("rag.query@1.0").health.samples == 0


async def test_a_cancellation_at_the_same_moment_as_the_deadline_is_not_lost(world):
    gate = Gate()
    world.library.answer = gate.answer
    asked = asyncio.create_task(world.ask())
    await turns()
    world.clock._monotonic += 10.5  # the deadline has passed, its watcher has not run yet
    asked.cancel()
    await world.clock.advance(0)
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert world.entry("rag.query@1.0").in_flight == 0


async def test_the_deadline_of_the_outer_call_ends_the_inner_one_too(world):
    gate = Gate()
    inner = asyncio.Event()

    async def answer(call, params, request):
        if request.query == "inner":
            inner.set()
            await gate.wait()
        return AskOutput((await world.bus.call("rag.query@1.0", None, AskInput("inner"), caller=ME, within=call)).text)

    world.library.answer = answer
    asked = asyncio.create_task(world.ask("outer"))
    await world.clock.advance(1)
    assert inner.is_set()
    await world.clock.advance(9.5)
    with pytest.raises(errors.CallTimeout):
        await asked
    assert gate.ended == ["cancelled"]
    assert sorted(world.results()) == ["cancelled", "timeout"]
    outer, nested = sorted(world.traces.recent(2), key=lambda event: event.result, reverse=True)
    assert outer.trace_id == nested.trace_id
    assert outer.span.children == [nested.span]


async def test_a_full_capability_refuses_with_the_time_to_wait_and_takes_calls_again(world):
    gate = Gate()
    world.library.answer = gate.answer
    asked = [asyncio.create_task(world.ask()) for _ in range(2)]
    await turns()
    with pytest.raises(errors.CapacityExceeded) as raised:
        await world.ask()
    assert raised.value.retry_after_ms >= 50
    gate.opened.set()
    assert await asyncio.gather(*asked) == ["water", "water"]
    assert await world.ask() == "water"
    assert world.entry("rag.query@1.0").health.samples == 3  # being busy is no sickness


async def test_a_neighbour_above_its_rate_is_told_when_to_come_back_and_may_then():
    world = World()
    for _ in range(10):
        await world.ask(caller=NEIGHBOUR)
    with pytest.raises(errors.RateLimited) as raised:
        await world.ask(caller=NEIGHBOUR)
    assert 0 < raised.value.retry_after_ms <= 101
    await world.clock.advance(raised.value.retry_after_ms / 1000)
    assert await world.ask(caller=NEIGHBOUR) == "water"
    assert world.metric('hearthnet_rate_limited_total{capability="rag.query",reason="soft"}') == 1


async def test_a_flood_is_dropped_counted_and_leaves_no_trace():
    world = World()
    for _ in range(10):
        await world.ask(caller=NEIGHBOUR)
    dropped = 0
    for _ in range(500):
        with pytest.raises(errors.RateLimited) as raised:
            await world.ask(caller=NEIGHBOUR)
        dropped += isinstance(raised.value, errors.Dropped)
    assert dropped > 300
    assert world.metric('hearthnet_rate_limited_total{capability="rag.query",reason="hard"}') == dropped
    assert len(world.traces) == 510 - dropped


@pytest.mark.parametrize("body", [b'{"input":{"query":"w"}}', b'{"input":{}}'])
async def test_asking_for_what_is_not_there_is_limited_too(body):
    world = World()
    for _ in range(10):
        with pytest.raises(errors.NotFound):
            await world.bus.handle_call("rag.nothing@1.0", body, caller=NEIGHBOUR)
    with pytest.raises(errors.RateLimited):
        await world.bus.handle_call("rag.else@1.0", body, caller=NEIGHBOUR)


async def test_the_people_of_the_node_are_not_hindered_but_a_runaway_script_is():
    world = World()
    for _ in range(500):
        await world.ask(caller=ME)
    small = Plan(Rate(5, 50), Rate(5, 50))
    strict = World(own_limits=small)
    for _ in range(5):
        await strict.ask(caller=ME)
    with pytest.raises(errors.RateLimited):
        await strict.ask(caller=ME)


async def test_a_capability_that_fails_too_often_rests_and_is_tried_again(world):
    async def broken(call, params, request):
        raise errors.EngineDied("the engine ended", fix="hearthnet doctor")

    world.library.answer = broken
    for _ in range(10):
        with pytest.raises(errors.EngineDied):
            await world.ask()
    with pytest.raises(errors.Unavailable) as resting:
        await world.ask()
    assert resting.value.fix == "hearthnet doctor"
    assert 0 < resting.value.retry_after_ms <= 60_000
    assert len(world.library.calls) == 10
    await world.clock.advance(60)
    with pytest.raises(errors.EngineDied):
        await world.ask()  # the probe fails
    with pytest.raises(errors.Unavailable):
        await world.ask()
    await world.clock.advance(60)
    world.library.answer = Gate().answer
    probe = asyncio.create_task(world.ask())
    await turns()
    with pytest.raises(errors.Unavailable):
        await world.ask()  # only one probe at a time
    probe.cancel()
    await turns()
    world.library.answer = _echo_answer
    assert await world.ask() == "water"
    assert await world.ask() == "water"
    assert world.metric("hearthnet_quarantines_total") == 2


async def _echo_answer(call, params, request):
    return AskOutput(request.query)


async def test_mistakes_of_callers_never_quarantine(world):
    async def refuse(call, params, request):
        raise errors.BadRequest("no")

    world.library.answer = refuse
    for _ in range(30):
        with pytest.raises(errors.BadRequest):
            await world.ask()
    assert world.entry("rag.query@1.0").health.samples == 0


async def test_every_call_is_traced_once_with_what_it_cost(world):
    await world.ask("water", caller=NEIGHBOUR)
    with pytest.raises(errors.NotFound):
        await world.ask(name="rag.nothing@1.0")
    last, first = world.traces.recent(5)
    assert (first.capability, first.version, first.result) == ("rag.query", "1.0", "ok")
    assert (first.from_node, first.to_node, first.is_local) == (NEIGHBOUR.node_id, HERE, True)
    assert first.bytes_in > 0
    assert first.bytes_out == len(b'{"text":"water","tokens_out":0}')
    assert first.span.name == "rag.query@1.0"
    assert last.result == "not_found"
    assert world.metric('hearthnet_requests_total{capability="rag.query",result="ok"}') == 1
    assert world.metric('hearthnet_requests_total{capability="unknown",result="not_found"}') == 1


async def test_a_call_that_makes_thousands_keeps_the_first_in_its_trace(world):
    async def answer(call, params, request):
        if request.query == "outer":
            for _ in range(SPAN_CHILDREN_MAX + 10):
                await world.bus.call("rag.query@1.0", None, AskInput("inner"), caller=ME, within=call)
        return AskOutput(request.query)

    world.library.answer = answer
    await world.ask("outer")
    assert len(world.traces.recent(1)[0].span.children) == SPAN_CHILDREN_MAX
    assert len(world.traces) == SPAN_CHILDREN_MAX + 11


async def test_a_trace_id_that_comes_with_the_call_is_kept(world):
    await world.ask(trace_id="01J0000000000000000000000A")
    assert world.traces.recent(1)[0].trace_id == "01J0000000000000000000000A"
    assert world.library.calls[0].trace_id == "01J0000000000000000000000A"


async def test_a_closed_bus_refuses(world):
    await world.bus.close()
    with pytest.raises(errors.Unavailable):
        await world.ask()


async def test_a_stream_is_not_answered_as_one_reply(world):
    with pytest.raises(errors.BadRequest):
        await world.ask(name="llm.chat@1.0")
