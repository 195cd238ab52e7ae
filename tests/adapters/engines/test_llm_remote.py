"""The OpenAI-compatible adapter: against llama.cpp's real server, and against servers that misbehave."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.engines.conftest import TEXT_MODEL, installed_models, make_family, require
from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.engines.llm_remote import RemoteEngine
from hearthnet.base.config import Config, LlmBackend, LlmSection
from hearthnet.base.errors import BadRequest, CapacityExceeded, EngineDied, NotFound, Unavailable
from hearthnet.ports import GenerateRequest

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(60)]
HELLO = GenerateRequest((("user", "Tell me about water."),), 6, temperature=0.0, seed=1)


def row(url, **more):
    return LlmBackend("neighbour", url, "some-model", **more)


async def answer(engine, request=HELLO):
    pieces = [delta async for delta in engine.generate(request)]
    return "".join(piece.text for piece in pieces), pieces[-1]


async def test_real_server_answers_chat_completion_and_schema(tmp_path):
    require("xllamacpp")
    family = make_family(tmp_path)
    async with family._local_engines()[TEXT_MODEL].address() as address:
        engine = RemoteEngine(row(f"{address.url}/v1", api_key_env="KEY"), SystemClock(), {"KEY": address.key})
        text, last = await answer(engine)
        raw, _ = await answer(engine, GenerateRequest((), 4, temperature=0.0, raw_prompt="One, two,"))
        schema = '{"type": "object", "properties": {"wet": {"type": "boolean"}}, "required": ["wet"], "additionalProperties": false}'
        shaped, _ = await answer(engine, msgspec.structs.replace(HELLO, json_schema=schema, max_tokens=80))
        wrong = RemoteEngine(row(f"{address.url}/v1", api_key_env="KEY"), SystemClock(), {"KEY": "wrong"})
        with pytest.raises(Unavailable, match="key"):
            await answer(wrong)
        await wrong.close()
        await engine.close()
    await family.close()
    assert text
    assert (last.stop_reason, last.tokens_out) == ("max_tokens", 6)
    assert last.tokens_in > 3
    assert raw
    assert isinstance(msgspec.json.decode(shaped)["wet"], bool)


@pytest.fixture
async def serve():
    """Start servers that behave as the given handler."""
    servers = []

    async def start(handler):
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        app.router.add_post("/v1/completions", handler)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("/v1"))

    yield start
    for server in servers:
        await server.close()


def streaming(*events, then=None):
    async def handler(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(b"data: " + event + b"\n\n")
        if then is not None:
            await then(request)
        return response

    return handler


def status(code, body=b"{}", headers=None):
    async def handler(_request):
        return web.Response(status=code, body=body, headers=headers)

    return handler


WORD = b'{"choices": [{"delta": {"content": "warm"}}]}'
END = b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}'


async def outcome(url, clock=None, request=HELLO, **more):
    engine = RemoteEngine(row(url, **more), clock or SystemClock(), {})
    try:
        return await answer(engine, request)
    finally:
        await engine.close()


async def test_only_the_fields_of_the_request_travel(serve):
    seen = []

    async def handler(request):
        seen.append((await request.json(), request.headers.get("Authorization")))
        return await streaming(WORD, END, b"[DONE]")(request)

    await outcome(await serve(handler), request=msgspec.structs.replace(HELLO, session="private", stop=("x",)))
    body, authorization = seen[0]
    assert set(body) == {
        "model",
        "max_tokens",
        "temperature",
        "top_p",
        "stream",
        "stream_options",
        "stop",
        "seed",
        "messages",
    }
    assert body["model"] == "some-model"
    assert authorization is None


async def test_answer_without_usage_counts_its_pieces(serve):
    text, last = await outcome(await serve(streaming(WORD, WORD, END, b"[DONE]")))
    assert (text, last.stop_reason, last.tokens_out) == ("warmwarm", "end", 2)


async def test_stop_sequence_is_told_where_the_server_tells_it(serve):
    ended = b'{"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": "X"}]}'
    _, last = await outcome(await serve(streaming(WORD, ended)))
    assert last.stop_reason == "stop_sequence"


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (streaming(WORD), EngineDied),
        (streaming(WORD, b"{not json"), EngineDied),
        (streaming(WORD, b'{"error": {"message": "out of memory"}}'), EngineDied),
        (streaming(), Unavailable),
        (status(400, b'{"error": {"message": "too long"}}'), BadRequest),
        (status(404), NotFound),
        (status(401), Unavailable),
        (status(500, b"\xff not json"), Unavailable),
        (status(429, headers={"Retry-After": "7"}), CapacityExceeded),
    ],
    ids=["cut off", "nonsense", "error in the stream", "empty", "400", "404", "401", "500", "429"],
)
async def test_each_fault_of_a_server_has_its_error(serve, handler, error):
    with pytest.raises(error) as found:
        await outcome(await serve(handler))
    assert error is not CapacityExceeded or found.value.retry_after_ms == 7000


async def test_server_that_breaks_the_connection_is_an_error_at_once(serve):
    async def cut(request):
        request.transport.abort()

    with pytest.raises(EngineDied):
        await outcome(await serve(streaming(WORD, then=cut)))


@pytest.mark.parametrize("begun", [True, False])
async def test_silent_server_is_given_up_at_the_deadline(serve, begun):
    silence, clock = asyncio.Event(), FakeClock()

    async def wait(_request):
        await silence.wait()
        return web.Response()

    handler = streaming(WORD, then=wait) if begun else wait
    asking = asyncio.create_task(outcome(await serve(handler), clock))
    while not asking.done():
        await clock.advance(0.5)
        await asyncio.sleep(0.005)
    with pytest.raises(EngineDied if begun else Unavailable, match="silent"):
        await asking
    silence.set()


async def test_unreachable_server_goes_out_of_service_and_comes_back():
    clock = FakeClock()
    engine = RemoteEngine(row("http://127.0.0.1:9/v1"), clock, {})
    for _ in range(3):
        with pytest.raises(Unavailable):
            await answer(engine)
    assert engine.info() is None
    assert engine.status().state == "backing_off"
    with pytest.raises(Unavailable) as refused:
        await answer(engine)
    assert refused.value.retry_after_ms > 500_000
    await clock.advance(600)
    assert engine.info() is not None
    await engine.close()


async def test_missing_key_is_said_with_the_name_of_its_variable(serve):
    with pytest.raises(Unavailable) as missing:
        await outcome(await serve(streaming(WORD)), api_key_env="MY_KEY")
    assert "MY_KEY" in missing.value.fix


async def test_grammar_is_refused_because_the_interface_has_none(serve):
    with pytest.raises(BadRequest):
        await outcome(await serve(streaming(WORD)), request=msgspec.structs.replace(HELLO, grammar='root ::= "a"'))


async def test_offline_drops_what_needs_the_internet_and_brings_it_back(tmp_path):
    rows = (row("http://127.0.0.1:9/v1"), LlmBackend("cloud", "https://127.0.0.1:9/v1", "big", requires_internet=True))
    family = make_family(tmp_path, config=Config(llm=LlmSection(backends=rows, model="cloud/big")))
    assert installed_models(tmp_path)
    assert [info.name for info in family.models()] == ["big", TEXT_MODEL, "some-model"]
    family.set_offline(True)
    assert [info.name for info in family.models()] == [TEXT_MODEL, "some-model"]
    with pytest.raises(NotFound):
        await anext(family.generate("cloud/big", HELLO))
    family.set_offline(False)
    assert family.models()[0].name == "big"
    await family.close()
