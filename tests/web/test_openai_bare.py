"""Bare models through the door: the real capability, its line and the OpenAI client over engines without models."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from hearthnet.adapters.engines.fake import FAKE_MODEL, FakeEngines
from hearthnet.base.config import Config, LlmSection
from hearthnet.capabilities.llm import LanguageModels
from web.api_world import ApiWorld

MODEL = f"hearthnet/{FAKE_MODEL.name}"


@pytest.fixture
async def world(tmp_path):
    world = ApiWorld(
        tmp_path, Config(llm=LlmSection(slots=1, queue_per_slot=2)), engines=FakeEngines(), services=[LanguageModels]
    )
    await world.start()
    yield world
    await world.close()


@pytest.fixture
async def client(world):
    async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="none", max_retries=0, timeout=10) as client:
        yield client


def say(text, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


async def words_of(stream):
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def test_the_models_own_words_come_whole_and_streamed_with_the_engines_count(world, client):
    world.engines.say("one two three", "one two three")
    reply = await client.chat.completions.create(**say("count"))
    assert reply.choices[0].message.content == "one two three"
    assert (reply.usage.completion_tokens, reply.model_extra["hearthnet"]["tier"]) == (3, "ungrounded")
    assert await words_of(await client.chat.completions.create(**say("count", stream=True))) == "one two three"


async def test_limits_stops_and_seeds_are_obeyed(client):
    short = await client.chat.completions.create(**say("talk", max_tokens=4, seed=5))
    again = await client.chat.completions.create(**say("talk", max_tokens=4, seed=5))
    assert short.choices[0].finish_reason == "length"
    assert short.choices[0].message.content == again.choices[0].message.content


async def test_a_schema_is_obeyed_and_one_that_no_engine_can_follow_is_refused(client):
    shape = {
        "type": "object",
        "properties": {"safe": {"type": "boolean"}},
        "required": ["safe"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": shape}}
    reply = await client.chat.completions.create(**say("is it", response_format=wanted))
    assert isinstance(json.loads(reply.choices[0].message.content)["safe"], bool)
    wanted["json_schema"]["schema"] = {"type": "object", "patternProperties": {"^x": {}}}
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(**say("is it", response_format=wanted))


async def test_a_forced_tool_is_called_with_arguments_of_its_schema(client):
    tool = {"type": "function", "function": {"name": "lamp", "parameters": {
        "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": False,
    }}}  # fmt: skip
    reply = await client.chat.completions.create(**say("light", tools=[tool], tool_choice="required"))
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.name == "lamp"
    assert isinstance(json.loads(call.function.arguments)["on"], bool)


async def test_an_engine_that_dies_in_the_middle_is_an_error_and_no_hang(world, client):
    world.engines.say("one two three four", "one two three four")
    world.engines.die_after = 2
    with pytest.raises(openai.APIError):
        await words_of(await client.chat.completions.create(**say("count", stream=True)))


async def test_without_any_model_the_answer_says_what_mends_it(world, client):
    world.engines.missing = {"llm"}
    assert [model.id async for model in client.models.list()] == ["hearthnet", "hearthnet/multilingual-e5-small"]
    with pytest.raises(openai.APIStatusError) as missing:
        await client.chat.completions.create(**say("hello"))
    assert missing.value.status_code in (404, 503)
    assert missing.value.body["fix"]


@pytest.mark.parametrize("asked", [{"model": "hearthnet/none"}, {"model": "gpt-5"}])
async def test_an_unknown_model_is_openais_model_not_found(client, asked):
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(**{**say("hello"), **asked})
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize(
    "roles",
    [["assistant"], ["user", "assistant"], ["user", "system", "user"], ["user", "assistant", "assistant", "user"]],
)
async def test_turns_out_of_order_are_refused(client, roles):
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model=MODEL, messages=[{"role": role, "content": "x"} for role in roles])


async def test_a_full_line_is_busy_at_once_and_the_place_in_it_is_told_meanwhile(world, client):
    world.engines.hold = asyncio.Event()
    places = [asyncio.create_task(client.chat.completions.create(**say(f"q{number}"))) for number in range(2)]
    async with asyncio.timeout(5):
        while world.bus.entries()[0].in_flight < 2:  # noqa: ASYNC110  the bus has no event for it
            await asyncio.sleep(0.005)
    began = asyncio.get_running_loop().time()
    with pytest.raises(openai.RateLimitError) as busy:
        await client.chat.completions.create(**say("one too many"))
    assert asyncio.get_running_loop().time() - began < 1
    assert int(busy.value.response.headers["retry-after"]) >= 1
    world.engines.hold.set()
    assert [place.choices[0].finish_reason for place in await asyncio.gather(*places)] == ["stop", "stop"]


async def test_who_leaves_the_line_makes_room(world, client):
    world.engines.hold = asyncio.Event()
    first = asyncio.create_task(client.chat.completions.create(**say("first")))
    async with asyncio.timeout(5):
        while not world.engines.open_answers:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    waiting = await client.chat.completions.create(**say("second", stream=True))
    await waiting.close()
    async with asyncio.timeout(1):
        while world.bus.entries()[0].in_flight > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    world.engines.hold.set()
    assert (await first).choices[0].finish_reason == "stop"
    assert [asked.kind for asked in world.engines.history] == ["generate"]
