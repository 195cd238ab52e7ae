"""Any capability from outside: the shapes of replies, streams and errors, and what bad input does."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from hearthnet.base.types import Role
from hearthnet.web import payload, sse
from web.api_world import BARE, ApiWorld
from web.conftest import events_of

CALL = "/v1/call/rag.query@1.0"
CHAT = {"params": {"model": BARE}, "input": {"messages": [{"role": "user", "content": "good day"}]}}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def http(api):
    async with aiohttp.ClientSession(api.url) as session:
        yield session


async def call(http, path, body, **more):
    more = {"json": body, **more} if not isinstance(body, bytes) else {"data": io.BytesIO(body), **more}
    async with http.post(path, **more) as reply:
        return reply.status, await reply.json(), reply.headers


async def test_a_reply_has_output_and_meta(http):
    status, body, _ = await call(http, CALL, {"input": {"query": "water"}})
    assert status == 200
    assert body["output"]["chunks"][0]["text"] == "words"
    assert body["meta"]["capability"] == "rag.query@1.0"
    assert body["meta"]["ms"] >= 0
    assert len(body["meta"]["trace_id"]) == 26


async def test_a_meta_of_the_capability_moves_up_beside_the_output(http):
    _, body, _ = await call(http, CALL, {"input": {"query": "water"}})
    assert "meta" not in body["output"]
    assert (body["meta"]["embedding_model"], body["meta"]["confidence"]) == ("e5", 0.8)


@pytest.mark.parametrize("name", ["rag.query", "rag.query@1.0"])
async def test_the_version_may_be_left_out(http, name):
    status, body, _ = await call(http, f"/v1/call/{name}", {"input": {"query": "water"}})
    assert (status, body["meta"]["capability"]) == (200, "rag.query@1.0")


async def test_a_stream_is_gathered_for_who_accepts_json(http):
    status, body, _ = await call(http, "/v1/call/llm.chat", {**CHAT, "params": {}})
    assert status == 200
    assert body["output"]["message"] == {
        "role": "assistant",
        "content": "Only outdoors.\nSix metres from doors.\n\nIt weighs 20 kg.",
    }
    assert [source["number"] for source in body["output"]["sources"]] == [1, 2, 3]
    assert (body["meta"]["tier"], body["meta"]["stop_reason"], body["meta"]["tokens_out"]) == ("quoted", "end", 12)
    assert "event" not in body["meta"]


async def test_a_gathered_answer_tells_which_words_of_its_sources_it_took(http):
    _, body, _ = await call(http, "/v1/call/llm.chat", {**CHAT, "params": {}})
    taken = [
        source["text"][start:end] for source in body["output"]["sources"] for start, end in source.get("quotes", ())
    ]
    assert taken
    assert all(words in body["output"]["message"]["content"] for words in taken)


@pytest.mark.parametrize("path", [CALL, "/v1/chat/completions", "/v1/embeddings"])
async def test_a_body_that_is_too_large_is_413_at_every_door(http, path):
    body = b'{"a":"%b"}' % (b"x" * 1_048_577)
    status, body, _ = await call(http, path, body, headers={"Content-Type": "application/json"})
    assert status == 413
    assert "1048576 bytes" in str(body)


async def test_a_gathered_continuation_is_text(http):
    _, body, _ = await call(http, "/v1/call/llm.complete", {"params": {"model": BARE}, "input": {"prompt": "Once"}})
    assert body["output"] == {"text": "Once and so on"}


async def test_any_other_stream_is_gathered_as_its_frames(http):
    _, body, _ = await call(http, "/v1/call/ocr.pdf", {})
    assert [frame["event"] for frame in body["output"]["frames"]] == ["page", "page", "done"]


async def test_a_stream_is_sent_as_events_named_by_their_frames(http):
    async with http.post("/v1/call/ocr.pdf@1.0", json={}, headers=STREAM) as reply:
        assert reply.content_type == "text/event-stream"
        events = events_of(await reply.text())
    assert [name for name, _ in events] == ["page", "page", "done"]
    assert events[1][1] == {"event": "page", "number": 2, "text": "zwei"}


async def test_exactly_one_terminal_frame_also_when_the_answer_breaks(http):
    body = {"input": {"messages": [{"role": "user", "content": "break"}]}}
    async with http.post("/v1/call/llm.chat", json=body, headers=STREAM) as reply:
        events = events_of(await reply.text())
    assert [name for name, _ in events if name in ("done", "error")] == ["error"]
    assert events[-1][1]["message"] == "the engine ended"
    status, gathered, _ = await call(http, "/v1/call/llm.chat", body)
    assert (status, gathered["error"], gathered["message"]) == (503, "partition", "the engine ended")


async def test_a_refusal_before_the_first_frame_is_an_http_error_also_for_streams(http):
    body = {"input": {"messages": [{"role": "user", "content": "busy"}]}}
    for headers in ({}, STREAM):
        status, refused, heads = await call(http, "/v1/call/llm.chat", body, headers=headers)
        assert (status, refused["error"], refused["retry_after_ms"]) == (429, "capacity_exceeded", 2500)
        assert heads["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [("fail", 400, "bad_request"), ("crash", 500, "internal_error")],
)
async def test_errors_have_the_specifications_form(http, query, status, code):
    got, body, _ = await call(http, CALL, {"input": {"query": query}})
    assert (got, body["error"]) == (status, code)
    assert "Zero" not in json.dumps(body)


@pytest.mark.parametrize(
    ("name", "status"),
    [("rag.nothing", 404), ("rag.query@2.0", 404), ("rag.query@1.7", 404), ("no-name", 400), ("A" * 300, 400)],
)
async def test_what_is_not_offered_is_not_found(http, name, status):
    got, body, _ = await call(http, f"/v1/call/{name}", {"input": {"query": "x"}})
    assert got == status
    assert body["fix"]


BAD = {
    "empty": b"",
    "truncated": b'{"input": {"query": "wa',
    "trailing": b'{"input": {"query": "water"}} x',
    "no object": b"[1, 2]",
    "not utf-8": b'{"input": {"query": "\xff\xfe"}}',
    "lone surrogate": b'{"input": {"query": "\\ud800"}}',
    "byte order mark": b'\xef\xbb\xbf{"input": {"query": "water"}}',
    "nan": b'{"input": {"query": "water", "k": NaN}}',
    "infinity": b'{"input": {"query": "water", "k": 1e999}}',
    "deep": b'{"input": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep objects": b'{"a":' * 60_000 + b"1" + b"}" * 60_000,
    "duplicate key": b'{"input": {"query": "a", "query": "b"}}',
    "unknown field": b'{"input": {"query": "water", "colour": 1}}',
    "unknown field outside": b'{"input": {"query": "water"}, "output": {}}',
    "wrong type": b'{"input": {"query": 7}}',
    "out of range": b'{"input": {"query": "water", "k": 21}}',
    "too long": json.dumps({"input": {"query": "x" * 10_001}}).encode(),
    "oversized": b'{"input": {"query": "' + b"x" * 1_048_576 + b'"}}',
    "null": b"null",
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_is_refused_with_a_reason_and_the_node_goes_on(http, name):
    status, body, _ = await call(http, CALL, BAD[name], headers={"Content-Type": "application/json"})
    assert (status, body["error"] in ("bad_request", "schema_mismatch")) == (413 if name == "oversized" else 400, True)
    assert body["message"]
    status, _, _ = await call(http, CALL, {"input": {"query": "water"}})
    assert status == 200


async def test_ten_thousand_characters_are_a_question(http):
    status, _, _ = await call(http, CALL, {"input": {"query": "ä" * 10_000}})
    assert status == 200


async def test_a_packed_bomb_is_stopped_at_the_limit(http):
    bomb = gzip.compress(b" " * 50_000_000)
    status, body, _ = await call(
        http, CALL, bomb, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert (status, body["message"]) == (413, "the body is larger than 1048576 bytes")


async def test_a_body_that_is_not_packed_as_it_says_is_refused(http):
    status, body, _ = await call(
        http, CALL, b"{}", headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert (status, body["error"]) == (400, "bad_request")


@asynccontextmanager
async def raw(api, head, body=b""):
    """A connection that sends what no client library would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.server.port)
    writer.write(f"POST {head}\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\r\n".encode() + body)
    await writer.drain()
    try:
        yield reader
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_body_that_trickles_is_given_up(api, monkeypatch):
    monkeypatch.setattr(payload, "BODY_TIMEOUT_S", 0.2)
    async with raw(api, f"{CALL} HTTP/1.1\r\nContent-Length: 500", b'{"in') as reader:
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")


async def test_a_body_in_broken_chunks_is_refused(api):
    async with raw(api, f"{CALL} HTTP/1.1\r\nTransfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n") as reader:
        assert b" 400 " in await reader.readline()


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(api, http):
    async with raw(api, f"{CALL} HTTP/1.1\r\nContent-Length: 500", b'{"in'):
        pass
    status, _, _ = await call(http, CALL, {"input": {"query": "water"}})
    assert status == 200
    assert [event.result for event in api.traces.recent(10)] == ["ok"]


async def test_a_reader_that_takes_nothing_is_let_go_and_the_work_with_it(api, monkeypatch):
    monkeypatch.setattr(sse, "READER_TIMEOUT_S", 0.3)
    body = json.dumps(
        {"params": {"model": BARE}, "input": {"messages": [{"role": "user", "content": "flood"}]}}
    ).encode()
    async with raw(
        api, f"/v1/call/llm.chat HTTP/1.1\r\nAccept: text/event-stream\r\nContent-Length: {len(body)}", body
    ):
        async with asyncio.timeout(10):
            await api.talker.cancelled.wait()
        await asyncio.sleep(0.01)
        assert [entry.in_flight for entry in api.bus.entries()] == [0] * 5


async def test_a_stream_too_long_for_one_reply_says_how_to_get_it(http):
    body = {"params": {"model": BARE}, "input": {"messages": [{"role": "user", "content": "flood"}]}}
    status, refused, _ = await call(http, "/v1/call/llm.chat", body)
    assert (status, refused["fix"]) == (400, "Accept: text/event-stream")


async def test_leaving_ends_a_call_within_200_ms(api, http):
    waiting = asyncio.create_task(call(http, CALL, {"input": {"query": "hang"}}))
    shelf = next(entry for entry in api.bus.entries() if entry.name == "rag.query@1.0")
    async with asyncio.timeout(5):
        while not shelf.in_flight:  # noqa: ASYNC110  the bus has no event for it
            await asyncio.sleep(0.005)
    waiting.cancel()
    left = asyncio.get_running_loop().time()
    async with asyncio.timeout(1):
        while shelf.in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert asyncio.get_running_loop().time() - left < 0.2


async def test_capabilities_are_listed_with_schemas_that_say_what_the_bus_checks(http):
    async with http.get("/v1/capabilities") as reply:
        listed = {entry["name"]: entry for entry in (await reply.json())["capabilities"]}
    assert list(listed) == ["embed.text", "llm.chat", "llm.complete", "ocr.pdf", "rag.query"]
    query = listed["rag.query"]
    assert (query["version"], query["trust_required"], query["timeout_seconds"]) == ("1.0", "member", 10.0)
    assert query["request_schema"]["properties"]["input"]["properties"]["k"]["maximum"] == 20
    assert (query["stream_schema"], listed["llm.chat"]["response_schema"]) == (None, None)
    assert listed["llm.chat"]["streams"]
    assert query["schema_hash"].startswith("blake3:")


@pytest.mark.parametrize(("path", "method"), [("/v1/capabilities", "GET"), (CALL, "POST"), ("/v1/models", "GET")])
async def test_guests_from_the_network_are_told_what_they_lack(tmp_path, monkeypatch, path, method):
    monkeypatch.setattr("hearthnet.web.admission.is_loopback", lambda request: False)
    world = ApiWorld(tmp_path)
    await world.start()
    _, secret = await world.sessions.create_token("cli", Role.MEMBER)
    async with aiohttp.ClientSession(world.url) as http:
        async with http.request(method, path, json={}) as reply:
            assert reply.status == 401
        async with http.request(method, path, json={}, headers={"Authorization": f"Bearer {secret}"}) as reply:
            assert reply.status in (200, 400)
    assert len(world.traces) <= 1
    await world.close()


async def test_a_page_of_another_site_cannot_call(http):
    status, _, _ = await call(http, CALL, {"input": {"query": "x"}}, headers={"Origin": "http://evil.example"})
    assert status == 401


async def test_the_wrong_method_names_the_right_one(http):
    async with http.put("/v1/capabilities", json={}) as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "GET")
        assert (await reply.json())["error"] == "bad_request"
