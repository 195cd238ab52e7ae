"""The real OpenAI client against the doors: chat, streams, tools, embeddings, errors, timeouts, leaving early."""

from __future__ import annotations

import asyncio
import json
import math

import aiohttp
import openai
import pytest

from hearthnet.base.types import Role
from web.api_world import BARE, ApiWorld

QUESTION = [{"role": "user", "content": "May a generator run in the cellar?"}]
ANSWER = (
    "Only outdoors. [1]\nSix metres from doors. [1]\n\nIt weighs 20 kg. [2]"
    "\n\nSources:\n[1] Generators and fuel · BBK, CDC · 2026-11\n[2] Manual · page 3"
)
LOOKUP = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Look up the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/City"}},
            "$defs": {"City": {"type": "string"}},
        },
    },
}


@pytest.fixture
async def client(api):
    async with openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="sk-any", max_retries=0, timeout=10) as client:
        yield client


def say(text, **more):
    return {"model": f"hearthnet/{BARE}", "messages": [{"role": "user", "content": text}], **more}


async def streamed(stream):
    chunks = [chunk async for chunk in stream]
    words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return chunks, words


async def test_models_are_listed_with_the_assistant_first_and_the_node_as_owner(client):
    models = [model async for model in client.models.list()]
    assert [model.id for model in models] == ["hearthnet", f"hearthnet/{BARE}", "hearthnet/multilingual-e5-small"]
    assert {model.owned_by for model in models} == {"Kastanie"}
    assert (await client.models.retrieve(f"hearthnet/{BARE}")).id == f"hearthnet/{BARE}"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-9")


async def test_the_assistant_answers_with_marks_and_a_list_of_the_cited_sources(client):
    reply = await client.chat.completions.create(model="hearthnet", messages=QUESTION)
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].finish_reason == "stop"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (40, 12, 52)


async def test_programs_find_tier_and_all_sources_beside_the_answer(client):
    reply = await client.chat.completions.create(model="hearthnet", messages=QUESTION)
    grounding = reply.model_extra["hearthnet"]
    assert (grounding["tier"], grounding["confidence"]) == ("quoted", 0.93)
    assert [source["number"] for source in grounding["sources"]] == [1, 2, 3]


async def test_a_stream_brings_the_same_words_and_ends_with_reason_grounding_and_usage(client):
    stream = await client.chat.completions.create(
        model="hearthnet", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks, words = await streamed(stream)
    assert words == ANSWER
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:-1]] == ["stop"]
    assert chunks[-2].model_extra["hearthnet"]["tier"] == "quoted"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 52
    assert len({chunk.id for chunk in chunks}) == 1


async def test_without_the_option_no_chunk_carries_usage(client):
    chunks, _ = await streamed(await client.chat.completions.create(model="hearthnet", messages=QUESTION, stream=True))
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert chunks[0].choices[0].delta.role == "assistant"


async def test_what_the_library_does_not_hold_has_no_list_of_sources(client):
    reply = await client.chat.completions.create(model="hearthnet", messages=[{"role": "user", "content": "mars?"}])
    assert reply.choices[0].message.content == "Not in my library."
    assert reply.model_extra["hearthnet"]["tier"] == "not_in_library"


async def test_a_bare_model_is_marked_ungrounded(client):
    reply = await client.chat.completions.create(**say("hello there"))
    assert reply.choices[0].message.content == "hello there"
    assert reply.model_extra["hearthnet"]["tier"] == "ungrounded"


async def test_the_limit_of_tokens_is_the_reason_when_it_was(client):
    reply = await client.chat.completions.create(**say("a long story", max_tokens=3))
    assert reply.choices[0].finish_reason == "length"


async def test_all_usual_parameters_reach_the_capability_and_unknown_ones_do_not_hurt(api, client):
    await client.chat.completions.create(
        model=f"hearthnet/{BARE}", temperature=0, top_p=0, seed=7, stop="\n", max_completion_tokens=90_000, n=1,
        presence_penalty=1, logit_bias={"1": 2}, user="me", extra_body={"num_ctx": 9, "keep_alive": "5m"},
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        ],
    )  # fmt: skip
    (asked,) = api.talker.asked
    assert [(message.role, message.content) for message in asked.messages] == [
        ("system", "Be short."),
        ("user", "one\ntwo"),
    ]
    assert (asked.temperature, asked.seed, asked.stop, asked.max_tokens) == (0.0, 7, ("\n",), 8192)
    assert 0 < asked.top_p < 0.01


async def test_all_turns_of_a_conversation_share_their_prompt_state(api, client):
    turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "one"}]
    more = [*turns, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "two"}]
    for messages in (turns, more, turns[1:]):
        await client.chat.completions.create(model=f"hearthnet/{BARE}", messages=messages)
    first, second, other = api.talker.sessions
    assert first == second != other


async def test_a_json_schema_shapes_the_answer_of_a_bare_model(api, client):
    shape = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    reply = await client.chat.completions.create(
        **say("how many", response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": shape}})
    )
    assert json.loads(reply.choices[0].message.content) == {"answer": 42}
    assert json.loads(api.talker.asked[0].json_schema) == shape


async def test_a_json_object_is_a_schema_too(api, client):
    await client.chat.completions.create(**say("how many", response_format={"type": "json_object"}))
    assert json.loads(api.talker.asked[0].json_schema) == {"type": "object"}


@pytest.mark.parametrize(
    "more",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
        {"response_format": {"type": "json_object"}},
        {"tools": [LOOKUP]},
    ],
)
async def test_the_assistant_refuses_to_press_its_quotes_into_a_shape_and_says_why(client, more):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="quotes the library word for word") as refused:
            await client.chat.completions.create(model="hearthnet", messages=QUESTION, stream=stream, **more)
        assert refused.value.body["fix"] == "ask hearthnet/<model>"


@pytest.mark.parametrize("more", [{"tools": []}, {"tools": [LOOKUP], "tool_choice": "none"}])
async def test_tools_that_may_not_be_called_do_not_disturb_the_assistant(client, more):
    reply = await client.chat.completions.create(model="hearthnet", messages=QUESTION, **more)
    assert reply.choices[0].message.content == ANSWER


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "lookup"}}])
async def test_a_bare_model_calls_a_tool(client, choice):
    reply = await client.chat.completions.create(**say("weather?", tools=[LOOKUP], tool_choice=choice))
    assert reply.choices[0].finish_reason == "tool_calls"
    (call,) = reply.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("lookup", {"city": "Bonn"})
    assert reply.choices[0].message.content is None


async def test_a_bare_model_may_answer_in_words_instead(api, client):
    reply = await client.chat.completions.create(**say("thanks", tools=[LOOKUP]))
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("just words", "stop")
    schema = json.loads(api.talker.asked[0].json_schema)
    assert [sorted(shape["properties"]) for shape in schema["anyOf"]] == [["arguments", "name"], ["reply"]]
    assert schema["$defs"] == {"City": {"type": "string"}}


async def test_a_streamed_tool_call_comes_whole(client):
    stream = await client.chat.completions.create(**say("weather?", tools=[LOOKUP], stream=True))
    chunks, words = await streamed(stream)
    (call,) = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert (call.index, call.function.name, words) == (0, "lookup", "")
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_the_result_of_a_tool_goes_back_to_the_model(api, client):
    call = {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": '{"city":"Bonn"}'}}
    await client.chat.completions.create(
        model=f"hearthnet/{BARE}",
        messages=[
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
    )
    said = [(message.role, message.content) for message in api.talker.asked[0].messages]
    assert said[1:] == [("assistant", '{"name":"lookup","arguments":{"city":"Bonn"}}'), ("user", "call_1: rain")]


@pytest.mark.parametrize(
    "more",
    [{"tool_choice": "required"}, {"tools": [LOOKUP], "tool_choice": {"type": "function", "function": {"name": "x"}}}],
)
async def test_a_choice_without_its_tool_is_refused(client, more):
    with pytest.raises(openai.BadRequestError, match="tool_choice"):
        await client.chat.completions.create(**say("weather?", **more))


async def test_a_text_is_continued_whole_and_as_a_stream(client):
    asked = {"model": f"hearthnet/{BARE}", "prompt": "Once upon"}
    reply = await client.completions.create(**asked)
    assert reply.choices[0].text == "Once upon and so on"
    assert reply.usage.completion_tokens == 5
    stream = await client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Once upon and so on"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 5


async def test_under_the_assistants_name_a_text_is_a_question_to_the_library(client):
    reply = await client.completions.create(model="hearthnet", prompt="May a generator run in the cellar?")
    assert reply.choices[0].text == ANSWER
    assert reply.model_extra["hearthnet"]["tier"] == "quoted"


async def test_vectors_are_the_same_as_numbers_and_as_base64(client):
    texts = ["a", "bcd"]
    packed = await client.embeddings.create(model="hearthnet", input=texts)  # the client asks for base64
    plain = await client.embeddings.create(
        model="hearthnet/multilingual-e5-small", input=texts, encoding_format="float"
    )
    assert [row.embedding[0] for row in plain.data] == [1.0, 3.0]
    for left, right in zip(packed.data, plain.data, strict=True):
        assert left.embedding == pytest.approx(right.embedding, rel=1e-6)
    assert plain.data[1].embedding[1] == pytest.approx(math.pi)
    assert packed.usage.total_tokens == 2


async def test_a_question_may_be_embedded_as_one(client):
    asked = {"model": "hearthnet", "input": "alone", "encoding_format": "float"}
    passage = await client.embeddings.create(**asked)
    question = await client.embeddings.create(**asked, extra_body={"input_type": "query"})
    assert [reply.data[0].embedding[2] for reply in (passage, question)] == [-0.5, 1.0]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"model": "text-embedding-3-small"}, openai.NotFoundError),
        ({"dimensions": 2}, openai.BadRequestError),
        ({"input": []}, openai.BadRequestError),
        ({"input": [""]}, openai.BadRequestError),
        ({"input": ["x" * 8193]}, openai.BadRequestError),
        ({"input": [[1, 2, 3]]}, openai.BadRequestError),
        ({"input": ["x"] * 257}, openai.BadRequestError),
    ],
)
async def test_what_cannot_be_embedded_is_refused(client, more, error):
    with pytest.raises(error):
        await client.embeddings.create(**{"model": "hearthnet", "input": ["a"], **more})


async def test_busy_is_a_rate_limit_with_the_time_to_wait_and_comes_at_once(client):
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as busy:
            await client.chat.completions.create(
                model="hearthnet", messages=[{"role": "user", "content": "busy"}], stream=stream
            )
        assert busy.value.response.headers["retry-after"] == "3"
        assert busy.value.type == "rate_limit_error"


async def test_the_client_waits_as_told_and_tries_again(api, client, monkeypatch):
    waited = []

    async def sleep(seconds):
        waited.append(seconds)
        api.talker.gate.set()

    monkeypatch.setattr("openai._base_client.anyio.sleep", sleep)
    with pytest.raises(openai.RateLimitError):
        await client.with_options(max_retries=1).chat.completions.create(
            model="hearthnet", messages=[{"role": "user", "content": "busy"}]
        )
    assert waited == [3.0]


async def test_an_unknown_model_is_not_found_by_openais_code(client):
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="hearthnet/none", messages=QUESTION)
    assert missing.value.code == "model_not_found"
    assert missing.value.body["fix"] == "hearthnet models list"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 10_001}]}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["x"] * 9}, "stop"),
        ({"model": ""}, "model"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
async def test_a_wrong_request_names_the_parameter(client, more, param):
    with pytest.raises(openai.BadRequestError) as wrong:
        await client.chat.completions.create(**{**say("x"), **more})
    assert (wrong.value.type, wrong.value.param) == ("invalid_request_error", param)


async def test_a_question_of_ten_thousand_characters_is_answered(client):
    reply = await client.chat.completions.create(**say("ä" * 10_000))
    assert len(reply.choices[0].message.content) == 10_000


async def test_a_fault_in_the_middle_is_an_error_whole_and_streamed(client):
    asked = {"model": "hearthnet", "messages": [{"role": "user", "content": "break"}]}
    with pytest.raises(openai.InternalServerError, match="the engine ended"):
        await client.chat.completions.create(**asked)
    stream = await client.chat.completions.create(**asked, stream=True)
    words = []

    async def read():
        async for chunk in stream:
            words.append(chunk.choices[0].delta.content)  # noqa: PERF401  what came before the error counts

    with pytest.raises(openai.APIError, match="the engine ended"):
        await read()
    assert "".join(words) == "Only outdoors. [1]"


async def test_a_client_that_leaves_a_stream_ends_the_work_within_200_ms(api, client):
    stream = await client.chat.completions.create(**say("so slow"), stream=True)
    await api.talker.started.wait()
    left = asyncio.get_running_loop().time()
    await stream.close()
    async with asyncio.timeout(1):
        await api.talker.cancelled.wait()
    assert asyncio.get_running_loop().time() - left < 0.2


async def test_a_client_that_gives_up_waiting_ends_the_work_within_200_ms(api, client):
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.3).chat.completions.create(**say("so slow"))
    left = asyncio.get_running_loop().time()
    async with asyncio.timeout(1):
        await api.talker.cancelled.wait()
    assert asyncio.get_running_loop().time() - left < 0.2


async def test_eight_streams_at_once_do_not_mix(client):
    async def ask(number):
        _, words = await streamed(await client.chat.completions.create(**say(f"{number} " * 50), stream=True))
        return words

    answers = await asyncio.gather(*(ask(number) for number in range(8)))
    assert answers == [f"{number} " * 50 for number in range(8)]


async def test_from_the_network_a_token_opens_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("hearthnet.web.admission.is_loopback", lambda request: False)
    world = ApiWorld(tmp_path)
    await world.start()
    _, secret = await world.sessions.create_token("laptop", Role.MEMBER)
    base = {"base_url": f"{world.url}/v1", "max_retries": 0}
    async with openai.AsyncOpenAI(api_key="sk-any", **base) as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.models.list()
    assert "hearthnet token create" in refused.value.message
    assert "llm keys set hearthnet" in refused.value.message
    assert refused.value.type == "authentication_error"
    async with openai.AsyncOpenAI(api_key=secret, **base) as friend:
        reply = await friend.chat.completions.create(model="hearthnet", messages=QUESTION)
    assert reply.choices[0].message.content == ANSWER
    await world.close()


async def test_the_blocking_client_works_too(api):
    def ask():
        with openai.OpenAI(base_url=f"{api.url}/v1", api_key="none") as client:
            return client.chat.completions.create(model="hearthnet", messages=QUESTION).choices[0].message.content

    assert await asyncio.to_thread(ask) == ANSWER


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"model": "hearthnet", "messages": [{"role": "user", "content": "\xff"}]}', b'{"model":NaN}',
     b'{"model": "hearthnet", "messages": ' + b"[" * 9000, b'{"model": "a", "model": "b", "messages": []}'],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
async def test_what_is_no_request_gets_openais_error_object(api, path, body):
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(api.url) as http, http.post(path, data=body, headers=headers) as reply:
        assert reply.status == 400
        error = (await reply.json())["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
