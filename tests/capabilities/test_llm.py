"""`llm.chat` and `llm.complete` on the bus: models, checks, the line, cancelling, engines that die."""

from __future__ import annotations

import asyncio

import pytest

from hearthnet.base.errors import (
    BadRequest,
    CallTimeout,
    CapacityExceeded,
    EngineDied,
    NotFound,
    SchemaMismatch,
    Unauthorized,
)
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.answers import ChatParams, CompleteInput, Done, Failed, Message, Progress, Token
from hearthnet.mesh.capability import Caller
from mesh.answer_samples import LARGE, SMALL, Desk, words

BARE = "hearthnet/tiny"


@pytest.fixture
async def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    await made.bus.close()


def requests_of(desk):
    return [item.request for item in desk.engines.history if item.kind == "generate"]


def complete(desk, prompt, model=BARE, **fields):
    return desk.bus.stream(
        "llm.complete@1.0", ChatParams(model=model), CompleteInput(prompt=prompt, **fields),
        caller=Caller(None, TrustLevel.SELF, "anna"),
    )  # fmt: skip


async def read(frames):
    return [frame async for frame in frames]


async def first_token(frames):
    async for frame in frames:
        if isinstance(frame, Token):
            return frame
    raise AssertionError("no token came")


# ---- models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hearthnet/tiny", "tiny", "local/tiny", "hearthnet/local/tiny"])
async def test_a_bare_model_answers_in_its_own_words_and_is_marked_so(desk, name):
    desk.engines.say("Yes, that is safe.")

    frames = await desk.ask("Is it safe?", model=name)

    assert "".join(words(frames)) == "Yes, that is safe."
    assert not any(frame.quoted or frame.cites for frame in frames if isinstance(frame, Token))
    assert (frames[-1].tier, frames[-1].model, frames[-1].confidence) == ("ungrounded", "tiny", 0.0)
    assert frames[-1].tokens_in > 0
    assert frames[-1].tokens_out == 4


async def test_an_unknown_model_is_not_found(desk):
    with pytest.raises(NotFound):
        await desk.ask("Hello?", model="hearthnet/unheard-of")


async def test_the_offer_names_assistant_and_models(desk):
    offer = next(entry.offer for entry in desk.bus.entries() if entry.capability == "llm.chat")

    assert offer.params() == {"models": ["hearthnet", "tiny"]}
    assert offer.compatible(offer.params(), {})
    assert not offer.compatible(offer.params(), {"model": ["tiny"]})


async def test_the_preferred_model_serves_the_assistant(tmp_path):
    desk = Desk(tmp_path, LARGE, SMALL)
    desk.engines.say("Of carbon monoxide there is no smell [1].")

    assert (await desk.ask("What does carbon monoxide smell of?"))[-1].model == "big"


async def test_seed_stop_and_sampling_reach_the_engine_and_nothing_else_does(desk):
    await desk.ask("Say it", model=BARE, seed=7, stop=("END",), temperature=0.1, top_p=0.5, max_tokens=9)

    (request,) = requests_of(desk)
    assert (request.seed, request.stop, request.temperature, request.top_p, request.max_tokens) == (
        7,
        ("END",),
        0.1,
        0.5,
        9,
    )
    assert request.messages == (("user", "Say it"),)
    assert not request.grammar


async def test_the_same_seed_gives_the_same_words(desk):
    texts = ["".join(words(await desk.ask("Tell me", model=BARE, seed=seed, max_tokens=20))) for seed in (3, 3, 4)]

    assert texts[0] == texts[1] != texts[2]


async def test_a_stop_word_and_a_limit_end_a_bare_answer(desk):
    desk.engines.say("one two END three", "one two three four")

    stopped = await desk.ask("Count", model=BARE, stop=("END",))
    limited = await desk.ask("Count", model=BARE, max_tokens=2)

    assert "END" not in "".join(words(stopped))
    assert stopped[-1].stop_reason == "stop_sequence"
    assert limited[-1].stop_reason == "max_tokens"


async def test_conversations_of_different_people_share_no_prompt_state(desk):
    for subject in ("anna", "ben"):
        await desk.ask("Hello?", model=BARE, conversation="c1", subject=subject)
    await desk.ask("Hello?", model=BARE)

    assert [request.session for request in requests_of(desk)] == ["anna/c1", "ben/c1", ""]


# ---- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "turns",
    [
        (Message("assistant", "Hello."), Message("user", "Hi?")),
        (Message("user", "Hi?"), Message("assistant", "Hello.")),
        (Message("user", "Hi?"), Message("system", "Be kind."), Message("user", "Hi?")),
        (Message("user", "Hi?"), Message("assistant", "a"), Message("assistant", "b"), Message("user", "Hi?")),
        (Message("system", "Be kind."),),
        (Message("user", "  \n "),),
    ],
)
@pytest.mark.parametrize("model", ["hearthnet", BARE])
async def test_turns_in_the_wrong_order_are_refused(desk, turns, model):
    with pytest.raises(BadRequest):
        await desk.ask(*turns, model=model)


async def test_a_system_message_may_stand_first(desk):
    frames = await desk.ask(Message("system", "Be kind."), Message("user", "Hello?"), model=BARE)

    assert isinstance(frames[-1], Done)


@pytest.mark.parametrize("model", ["hearthnet", BARE])
async def test_more_than_ten_thousand_characters_are_refused(desk, model):
    with pytest.raises(SchemaMismatch):
        await desk.ask("x" * 10_001, model=model)


async def test_what_does_not_fit_a_models_context_is_refused(desk):
    with pytest.raises(BadRequest, match="2048"):
        await desk.ask("x" * 9_000, model=BARE)
    with pytest.raises(BadRequest, match="4096"):
        await desk.ask("Hello?", model=BARE, ctx=4096)


async def test_an_answer_is_cut_to_the_room_that_is_left(desk):
    await desk.ask("x" * 3_500, model=BARE, max_tokens=8192)

    assert requests_of(desk)[0].max_tokens == 2048 - 1000


async def test_a_shape_is_refused_where_the_answer_is_quoted_and_made_where_it_is_not(desk):
    schema = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'

    with pytest.raises(BadRequest, match="word for word"):
        await desk.ask("Give me JSON", json_schema=schema)
    frames = await desk.ask("Give me JSON", json_schema=schema, model=BARE)
    assert "".join(words(frames)).startswith('{"n"')


async def test_strangers_are_refused(desk):
    with pytest.raises(Unauthorized):
        await desk.ask("Hello?", trust=TrustLevel.FEDERATED)


# ---- the line -------------------------------------------------------------------------------------------------


async def test_who_waits_is_told_place_and_time(tmp_path):
    desk = Desk(tmp_path, slots=1, queue_per_slot=4)
    desk.engines.hold = asyncio.Event()
    ahead = desk.stream("First?", model=BARE, subject="anna")
    running = asyncio.create_task(anext(ahead))
    await running
    waiting = desk.stream("Second?", model=BARE, subject="ben")

    frame = await anext(waiting)

    assert isinstance(frame, Progress)
    assert (frame.stage, frame.current) == ("queue", 1)
    assert frame.eta_ms > 0
    desk.engines.hold.set()
    await read(ahead)
    assert (await read(waiting))[-1].tier == "ungrounded"


async def test_a_full_line_says_when_to_come_again(tmp_path):
    desk = Desk(tmp_path, slots=1, queue_per_slot=1)
    desk.engines.hold = asyncio.Event()
    held = [desk.stream("Question?", model=BARE, subject=name) for name in ("anna", "ben")]
    for frames in held:
        await anext(frames)

    with pytest.raises(CapacityExceeded) as refused:
        await desk.ask("Me too?", subject="cleo")

    assert refused.value.retry_after_ms >= 100
    for frames in held:
        await frames.aclose()


async def test_one_who_asks_much_does_not_push_others_back(tmp_path):
    desk = Desk(tmp_path, slots=1, queue_per_slot=8)
    desk.engines.hold = asyncio.Event()
    first = desk.stream("0?", model=BARE, subject="greedy")
    await anext(first)
    tasks = {
        name: asyncio.create_task(desk.ask("Mine?", model=BARE, subject=name.rstrip("123")))
        for name in ("greedy1", "greedy2", "ben")
    }
    await desk.clock.advance(0)
    ended = []
    for name, task in tasks.items():
        task.add_done_callback(lambda _, name=name: ended.append(name))

    desk.engines.hold.set()
    await read(first)
    await asyncio.gather(*tasks.values())

    assert ended[0] == "ben"


async def test_the_deadline_passes_in_the_line_too(tmp_path):
    desk = Desk(tmp_path, slots=1, queue_per_slot=4)
    desk.engines.hold = asyncio.Event()
    ahead = desk.stream("First?", model=BARE, subject="anna")
    await anext(ahead)
    await desk.clock.advance(60)
    late = asyncio.create_task(desk.ask("Second?", model=BARE, subject="ben"))
    await desk.clock.advance(119)
    assert not late.done()

    await desk.clock.advance(2)

    with pytest.raises(CallTimeout):
        await late
    await ahead.aclose()


# ---- ending early ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["hearthnet", BARE])
async def test_a_reader_who_leaves_frees_engine_and_place(tmp_path, model):
    desk = Desk(tmp_path, slots=1, queue_per_slot=1)
    desk.engines.say("one two three four five six")
    frames = desk.stream("Count", model=model)
    await first_token(frames)

    async with asyncio.timeout(0.2):
        await frames.aclose()

    assert desk.engines.open_answers == 0
    assert (await desk.ask("Next?"))[-1].tier == "quoted"  # the place is free


async def test_an_engine_that_dies_before_its_first_word_is_asked_again(desk):
    desk.engines.say("never heard", "A whole answer.")
    desk.engines.die_after = 0

    assert "".join(words(await desk.ask("Tell me", model=BARE))) == "A whole answer."


async def test_an_engine_that_dies_mid_answer_ends_it_clearly(desk):
    desk.engines.say("one two three four")
    desk.engines.die_after = 2

    frames = await desk.ask("Count", model=BARE)

    assert "".join(words(frames)) == "one two"
    assert isinstance(frames[-1], Failed)
    assert frames[-1].error == "partition"


async def test_a_text_to_complete_goes_on_behind_what_was_written(desk):
    desk.engines.say("one two three four", " three four")
    desk.engines.die_after = 2

    frames = await read(complete(desk, "Count:", max_tokens=50))

    assert "".join(words(frames)) == "one two three four"
    assert requests_of(desk)[1].raw_prompt == "Count:one two"
    assert frames[-1].stop_reason == "end"


async def test_an_engine_that_stays_dead_is_an_error_not_a_hang(desk):
    async def generate(model, request):
        if request:
            raise EngineDied("gone")
        yield None

    desk.engines.generate = generate

    with pytest.raises(EngineDied):
        await desk.ask("Count", model=BARE)


# ---- completion -----------------------------------------------------------------------------------------------


async def test_a_completion_takes_the_text_as_it_is(desk):
    desk.engines.say(" upon a time")

    frames = await read(complete(desk, "Once", max_tokens=5, seed=1))

    assert "".join(words(frames)) == " upon a time"
    assert (requests_of(desk)[0].raw_prompt, requests_of(desk)[0].messages) == ("Once", ())


async def test_a_completion_under_the_assistants_name_is_grounded(desk):
    frames = await read(complete(desk, "May I run the generator in the cellar?", model="hearthnet"))

    assert frames[-1].tier == "quoted"
    assert "Never run a petrol generator in a cellar or garage." in words(frames)


async def test_an_empty_prompt_is_refused(desk):
    with pytest.raises(BadRequest):
        await read(complete(desk, "  "))
