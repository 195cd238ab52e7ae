"""Streams over a web socket between nodes: the window, cancel, one terminal frame, and callers that misbehave."""

import asyncio
import secrets
from contextlib import aclosing, asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
from msgspec import json

from hearthnet.adapters.tls_context import client_context
from hearthnet.base import errors
from hearthnet.base.ulid import Ulids
from hearthnet.web import node_socket
from hearthnet.wire.frame import decode_ws
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.rpc import CallHead, sign_call
from hearthnet.wire.stream_message import (
    SUBPROTOCOL,
    AckMessage,
    CallMessage,
    CancelMessage,
    ToolResultMessage,
    encode_message,
)
from hearthnet.wire.timestamp import format_time
from mesh.samples import Done, Gate, Word
from web.test_bus_api import ASK, COMMUNITY, Members, Node

A = KeyPair(b"a" * 32)


@pytest.fixture
async def village(tmp_path):
    members = Members(A, KeyPair(b"b" * 32))
    async with Node(b"a", tmp_path, members) as first, Node(b"b", tmp_path, members) as second:
        yield SimpleNamespace(a=first, b=second, members=members)


@asynccontextmanager
async def open_line(village, protocols=(SUBPROTOCOL,)):
    """A bare web socket to node b."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{village.b.url}/bus/v1/call",
            ssl=client_context(village.b.key.node_id),
            protocols=protocols,
            autoclose=False,
        ) as socket,
    ):
        yield socket


def call_of(village, capability="llm.chat", key=A, **head):
    fields = {
        "capability": capability, "version": "1.0", "sender": key.node_id, "community": COMMUNITY,
        "request_id": Ulids(village.b.clock.now, secrets.token_bytes).new(),
        "timestamp": format_time(village.b.clock.now()),
    } | head  # fmt: skip
    call = sign_call(key, CallHead(**fields), ASK)
    return CallMessage(call.envelope(), call.signature)


async def say(socket, message):
    await socket.send_str(encode_message(message).decode())


async def frames_of(socket, count=1_000):
    """Frames until the socket is closed, or so many; then how it was closed."""
    found = []
    async with asyncio.timeout(15):
        while len(found) < count:
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return found, socket.close_code
            found.append(decode_ws(message.data.encode()))
    return found, None


def counting(words, made):
    async def tell(call, params, request):
        for number in range(words):
            made.append(number)
            yield Word(str(number))
        yield Done()

    return tell


async def test_a_call_over_a_socket_ends_with_one_terminal_frame_and_a_close(village):
    async with open_line(village) as socket:
        await say(socket, call_of(village))
        frames, code = await frames_of(socket)
    assert [(frame.event, frame.seq) for frame in frames] == [("token", 1), ("token", 2), ("done", 3)]
    assert code == 1000


async def test_sixteen_frames_may_be_unread_and_acks_let_it_go_on(village):
    village.b.library.tell = counting(40, [])
    async with open_line(village) as socket:
        await say(socket, call_of(village))
        first, _ = await frames_of(socket, 16)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await socket.receive()
        for upto in (16, 32, 40):
            await say(socket, AckMessage(upto))
            more, _ = await frames_of(socket, min(16, 41 - len(first)))
            first += more
    assert [frame.seq for frame in first] == list(range(1, 42))
    assert first[-1].event == "done"


async def test_a_reader_that_acknowledges_nothing_is_let_go(village, monkeypatch):
    monkeypatch.setattr(node_socket, "ACK_WITHIN_S", 0.2)
    village.b.library.tell = counting(40, [])
    async with open_line(village) as socket:
        await say(socket, call_of(village))
        frames, code = await frames_of(socket)
    assert len(frames) == 17
    assert (frames[-1].event, frames[-1].data["error"], code) == ("error", "timeout", 1000)
    assert [event.result for event in village.b.traces.recent(1)] == ["cancelled"]


async def test_a_slow_reader_slows_the_handler_down(village):
    made = []
    village.b.library.tell = counting(500, made)
    async with aclosing(village.a.client.stream(village.b.peer, "llm.chat", "1.0", ASK)) as stream:
        frames = []
        async for frame in stream:
            frames.append(frame)
            read = len(frames)
            await asyncio.sleep(0.001)
            assert len(made) <= read + 16 + 8 + 17 + 2  # the window, what is not acknowledged yet, the bus's own buffer
    assert (frames[-1].event, read) == ("done", 501)


@pytest.mark.parametrize("how", ["cancel", "close", "abort"])
async def test_whoever_leaves_ends_the_handler(village, how):
    gate = Gate()
    village.b.library.tell = gate.tell
    async with open_line(village) as socket:
        await say(socket, call_of(village))
        await frames_of(socket, 1)
        if how == "cancel":
            await say(socket, CancelMessage())
            frames, _ = await frames_of(socket)
            assert [(frame.event, frame.data) for frame in frames] == [("done", {"cancelled": True})]
        elif how == "close":
            await socket.close()
        else:
            socket._conn.transport.abort()
        async with asyncio.timeout(5):
            await gate.finished.wait()
    assert gate.ended == ["cancelled"]


async def test_leaving_a_stream_reaches_the_handler_within_the_limit(village):
    gate = Gate()
    village.b.library.tell = gate.tell
    stream = village.a.client.stream(village.b.peer, "llm.chat", "1.0", ASK)
    await anext(stream)
    began = asyncio.get_running_loop().time()
    await stream.aclose()
    async with asyncio.timeout(5):
        await gate.finished.wait()
    assert gate.ended == ["cancelled"]
    assert asyncio.get_running_loop().time() - began < 5  # 0.2 s on an idle machine, see the bench


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_request"),
        ("{", "bad_request"),
        ("[]", "bad_request"),
        ('{"type":"ack","upto":1}', "bad_request"),
        ('{"type":"cancel"}', None),
        ('{"type":"call","envelope":{},"signature":""}', "bad_request"),
        ('{"type":"call","envelope":{"body":{}},"signature":"x"}', "schema_mismatch"),
    ],
)
async def test_a_first_message_that_is_no_call_is_refused(village, text, code):
    async with open_line(village) as socket:
        await socket.send_str(text)
        frames, closed = await frames_of(socket)
    assert [frame.event for frame in frames] == ["error"]
    assert frames[0].data["error"] == (code or "bad_request")
    assert closed == 1000
    assert village.b.library.calls == []


async def test_calls_are_proven_as_by_post(village):
    replayed = call_of(village)
    refusals = [
        (call_of(village, key=KeyPair(b"x" * 32)), "unauthorized"),
        (call_of(village, timestamp=format_time(0)), "expired"),
        (call_of(village, to=A.node_id), "unauthorized"),
        (CallMessage(replayed.envelope, "ed25519:" + "A" * 86), "invalid_signature"),
        (call_of(village, capability="rag.query"), "bad_request"),
        (call_of(village, capability="rag.nothing"), "bad_request"),
        (replayed, None),
        (replayed, "expired"),
    ]
    for message, code in refusals:
        async with open_line(village) as socket:
            await say(socket, message)
            frames, _ = await frames_of(socket)
        assert frames[-1].event == ("error" if code else "done")
        assert frames[-1].data.get("error") == code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (ToolResultMessage("t1", {}), "not_implemented"),
        (AckMessage(2), "bad_request"),
        ("again", "bad_request"),
        (b"\x00binary", "bad_request"),
        ("x" * 1_100_000, None),
    ],
    ids=["tool result", "ack of the future", "second call", "binary", "too large"],
)
async def test_a_message_out_of_place_ends_the_call(village, message, code):
    gate = Gate()
    village.b.library.tell = gate.tell
    async with open_line(village) as socket:
        await say(socket, call_of(village))
        await frames_of(socket, 1)
        if message == "again":
            await say(socket, call_of(village))
        elif isinstance(message, bytes):
            await socket.send_bytes(message)
        elif isinstance(message, str):
            await socket.send_str(message)
        else:
            await say(socket, message)
        frames, _ = await frames_of(socket)
    async with asyncio.timeout(5):
        await gate.finished.wait()
    assert [frame.data["error"] for frame in frames] == ([code] if code else [])
    assert gate.ended == ["cancelled"]


async def test_who_says_nothing_is_let_go(village, monkeypatch):
    monkeypatch.setattr(node_socket, "FIRST_MESSAGE_WITHIN_S", 0.1)
    async with open_line(village) as socket:
        frames, code = await frames_of(socket)
    assert ([frame.data["error"] for frame in frames], code) == (["timeout"], 1000)


async def test_a_socket_where_nothing_happens_is_closed(village, monkeypatch):
    monkeypatch.setattr(node_socket, "IDLE_CLOSE_S", 0.2)
    gate = Gate()
    village.b.library.tell = gate.tell
    async with open_line(village) as socket:
        await say(socket, call_of(village))
        frames, code = await frames_of(socket)
    async with asyncio.timeout(5):
        await gate.finished.wait()
    assert [frame.event for frame in frames] == ["token", "done"]
    assert code == 1000
    assert gate.ended == ["cancelled"]


@pytest.mark.parametrize("protocols", [(), ("hearthnet-bus.v1",)])
async def test_another_subprotocol_is_sent_to_the_older_way(village, protocols):
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        async with open_line(village, protocols):
            pass
    assert raised.value.status == 426


async def test_the_rate_of_a_caller_counts_for_sockets_too(village):
    outcomes = []
    for _ in range(12):
        async with open_line(village) as socket:
            await say(socket, call_of(village))
            frames, _ = await frames_of(socket)
            outcomes.append(frames[-1].data.get("error", "done"))
    assert outcomes == ["done"] * 10 + ["rate_limited"] * 2


@pytest.fixture
async def liar(village):
    """A node b that answers sockets as a test says; others are unchanged."""
    from aiohttp import web

    from hearthnet.adapters.tls_context import server_context
    from hearthnet.ports import Address, Peer
    from hearthnet.web.serving import Listener

    script = SimpleNamespace(texts=[], calls=[])

    async def answer(request):
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        script.calls.append(json.decode((await socket.receive()).data))
        for text in script.texts:
            await socket.send_str(text)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/bus/v1/call", answer)
    listener = Listener(app)
    await listener.open()
    port = await listener.listen("127.0.0.1", 0, "transport.port", server_context(village.b.folder, village.b.key))
    script.peer = Peer(village.b.key.node_id, (Address("127.0.0.1", port),))
    yield script
    await listener.close()


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        ([], errors.Unavailable),
        (['{"event":"token","data":{},"seq":2}'], errors.FrameMalformed),
        (["garbage"], errors.BadRequest),
        (['{"event":"token","data":{},"seq":1}'], errors.Unavailable),
        (['{"event":"error","data":{"error":"rate_limited","retry_after_ms":7},"seq":1}'], errors.RateLimited),
        (['{"event":"error","data":{"error":"who knows"},"seq":1}'], errors.InternalError),
        (['{"event":"error","data":[],"seq":1}'], errors.BadRequest),
    ],
)
async def test_a_node_that_answers_garbage_is_an_error_of_the_contract(village, liar, texts, error):
    liar.texts = texts
    stream = village.a.client.stream(liar.peer, "llm.chat", "1.0", ASK)
    with pytest.raises(error):
        [frame async for frame in stream]
    assert liar.calls[0]["type"] == "call"
