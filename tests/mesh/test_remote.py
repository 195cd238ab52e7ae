"""Capabilities of neighbours on the bus: the same checks, other candidates when one fails, nothing handed on (M03)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec import structs

from hearthnet.base import errors
from hearthnet.mesh.capability import Caller
from mesh.neighbourhood import Village
from mesh.samples import ME, AskInput, AskOutput, AskParams, Done, Failed, Gate, Word, turns

QUERY = "rag.query@1.0"


@pytest.fixture
async def village():
    made = Village()
    yield made
    await made.close()


@pytest.fixture
async def three(village):
    """A node that serves nothing itself, and two that do."""
    alone, one, two = village.add("alone", serves=False), village.add("one"), village.add("two")
    await alone.meet(one, two)
    return alone, one, two


async def ask(node, text="water", params=None, **options):
    return (await node.bus.call(QUERY, params or AskParams(), AskInput(text), caller=ME, **options)).text


async def frames_of(node):
    async with aclosing(node.bus.stream("llm.chat@1.0", None, AskInput("hi"), caller=ME)) as frames:
        return [frame async for frame in frames]


def fails(error):
    async def answer(call, params, request):
        raise error

    return answer


async def test_a_call_is_answered_by_a_neighbour_and_the_trace_says_by_whom(three):
    alone, one, two = three
    assert await ask(alone) == "water"
    event = alone.traces.recent(1)[0]
    assert event.to_node in (one.node_id, two.node_id)
    assert not event.is_local
    assert sorted(item.verdict for item in event.candidates) == ["chosen", "higher_score"]


async def test_the_neighbour_sees_which_node_calls_and_with_what_trust(three):
    alone, one, two = three
    await ask(alone)
    [call] = one.library.calls + two.library.calls
    assert call.caller.node_id == alone.node_id
    assert call.caller.trust.label == "member"


async def test_a_stream_comes_through_with_its_frames(three):
    alone, _, _ = three
    assert await frames_of(alone) == [Word("hello"), Word("there"), Done(tokens_in=3, tokens_out=2)]


async def test_closing_a_stream_cancels_the_handler_at_the_neighbour(village):
    alone, one = village.add("alone", serves=False), village.add("one")
    gate = Gate()
    one.library.tell = gate.tell
    await alone.meet(one)
    frames = alone.bus.stream("llm.chat@1.0", None, AskInput("hi"), caller=ME)
    assert await anext(frames) == Word("one")
    await frames.aclose()
    await turns(50)
    assert gate.ended == ["cancelled"]


async def test_a_node_serves_itself_while_it_is_free(village):
    here, there = village.add("here"), village.add("there")
    await here.meet(there)
    await ask(here)
    assert [len(here.library.calls), len(there.library.calls)] == [1, 0]
    assert {item.verdict for item in here.traces.recent(1)[0].candidates} == {"chosen", "here_and_free"}


async def test_a_call_from_a_neighbour_is_never_handed_on(three):
    alone, one, _ = three
    with pytest.raises(errors.NotFound):
        await alone.bus.call(QUERY, None, AskInput("x"), caller=Caller(one.node_id, ME.trust, "x"))
    body = {"params": {}, "input": {"query": "x"}}
    with pytest.raises(errors.NotFound):
        await one.transport.call(alone.peer, "rag.query", "1.0", body)


async def test_nor_is_one_that_a_capability_makes_on_a_neighbours_behalf(village):
    here, there, asker = village.add("here"), village.add("there"), village.add("asker", serves=False)
    await here.meet(there)

    async def ask_for_another(call, params, request):
        if request.query == "inner":
            raise errors.CapacityExceeded("full")
        return await here.bus.call(QUERY, None, AskInput("inner"), caller=ME, within=call)

    here.library.answer = ask_for_another
    await asker.meet(here)
    with pytest.raises(errors.CapacityExceeded):
        await ask(asker)
    assert there.library.calls == []


@pytest.mark.parametrize(
    "error", [errors.CapacityExceeded("full", retry_after_ms=10), errors.Unavailable("no"), errors.InternalError("oh")]
)
async def test_a_stream_that_has_not_begun_goes_to_the_next_node(three, error):
    alone, one, two = three

    async def broken(call, params, request):
        raise error
        yield Word("never")

    one.library.tell = broken
    for _ in range(4):
        assert (await frames_of(alone))[-1] == Done(tokens_in=3, tokens_out=2)
    assert two.bus.entries()[0].in_flight == 0


async def test_a_stream_that_breaks_after_words_were_said_is_not_begun_anew(three):
    alone, one, two = three

    async def breaks(call, params, request):
        yield Word("one")
        raise errors.EngineDied("gone")

    one.library.tell = two.library.tell = breaks
    assert [type(frame) for frame in await frames_of(alone)] == [Word, Failed]


async def test_a_refusal_moves_on_but_what_may_have_run_is_not_repeated(three):
    alone, one, two = three
    one.library.answer = two.library.answer = fails(errors.Unavailable("broke in the middle"))
    with pytest.raises(errors.Unavailable):
        await ask(alone)
    assert len(one.library.calls + two.library.calls) == 1  # rag.query of the samples is not idempotent
    one.library.answer = two.library.answer = fails(errors.CapacityExceeded("full"))
    with pytest.raises(errors.CapacityExceeded):
        await ask(alone)
    assert len(one.library.calls + two.library.calls) == 3  # both were asked


async def test_a_mistake_of_the_caller_is_the_same_everywhere(three):
    alone, one, two = three
    one.library.answer = two.library.answer = fails(errors.BadRequest("no"))
    with pytest.raises(errors.BadRequest):
        await ask(alone)
    assert len(one.library.calls + two.library.calls) == 1


async def test_a_dead_neighbour_costs_one_attempt_and_is_found_out(three, village):
    alone, one, _ = three
    village.network.leave(one.node_id)
    for _ in range(30):
        await village.clock.advance(0.2)
        assert (await frames_of(alone))[-1] == Done(tokens_in=3, tokens_out=2)
    sick = [entry for entry in alone.bus.entries() if entry.node_id == one.node_id]
    assert all(entry.in_flight == 0 for entry in sick)


async def test_a_reply_that_does_not_fit_is_a_fault_of_who_sent_it(village):
    alone, one = village.add("alone", serves=False), village.add("one")
    await alone.meet(one)

    async def garbage(peer, capability, version, body, timeout_s=1.0):
        return {"output": {"text": 7}, "meta": {}}

    alone.transport.call = garbage
    with pytest.raises(errors.InternalError):
        await ask(alone)
    assert alone.bus.entries()[0].health.success_rate < 1.0


async def test_the_deadline_of_the_call_is_that_of_the_way_there(village):
    alone, one = village.add("alone", serves=False), village.add("one")
    gate = Gate()
    one.library.answer = gate.answer
    await alone.meet(one)
    asking = asyncio.ensure_future(ask(alone))
    await turns(50)
    await village.clock.advance(11.0)
    with pytest.raises(errors.CallTimeout):
        await asking
    assert gate.ended == ["cancelled"]


async def test_offers_follow_the_manifest(village):
    alone, one = village.add("alone", serves=False), village.add("one")
    one.params = {"rag.query": {"models": ["small"]}}
    await alone.meet(one)
    assert await ask(alone, params=AskParams("small")) == "water"
    with pytest.raises(errors.NotFound):
        await ask(alone, params=AskParams("large"))
    one.params = {"rag.query": {"models": ["large"]}}
    await alone.meet(one)
    assert await ask(alone, params=AskParams("large")) == "water"
    for entry in one.bus.entries():
        one.bus.detach(entry)
    await alone.meet(one)
    assert alone.bus.entries() == []


async def test_an_offer_with_another_schema_is_left_alone(village):
    alone, one = village.add("alone", serves=False), village.add("one")
    manifest = await alone.transport.manifest(one.peer)
    others = tuple(structs.replace(item, schema_hash="blake3:" + "0" * 64) for item in manifest.capabilities)
    alone.remote.update(one.peer, structs.replace(manifest, capabilities=others))
    assert alone.bus.entries() == []


async def test_a_node_that_left_is_no_candidate(three):
    alone, one, two = three
    alone.remote.drop(one.node_id)
    alone.remote.drop(one.node_id)
    await ask(alone)
    assert [len(one.library.calls), len(two.library.calls)] == [0, 1]
    assert {entry.node_id for entry in alone.bus.entries()} == {two.node_id}


async def test_a_node_not_heard_of_for_a_minute_is_not_asked(three, village):
    alone, one, two = three
    await village.clock.advance(50.0)
    await alone.meet(two)
    await village.clock.advance(20.0)
    await ask(alone)
    assert [len(one.library.calls), len(two.library.calls)] == [0, 1]


def test_samples_are_as_the_tests_assume():
    assert AskOutput("x") == AskOutput("x", 0)
