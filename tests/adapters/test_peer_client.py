"""A caller that the other side tries to fool, exhaust or keep waiting."""

import asyncio
import contextlib
import secrets

import pytest
from aiohttp import web

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.peer_lines import url_of
from hearthnet.adapters.tls_context import server_context
from hearthnet.adapters.transport_tls import PeerClient
from hearthnet.base import errors
from hearthnet.base.types import CommunityID
from hearthnet.base.ulid import Ulids
from hearthnet.ports import Address, Peer
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.manifest import NodeManifest, sign_node_manifest
from hearthnet.wire.reply import ReplyHead, sign_reply
from hearthnet.wire.timestamp import format_time

ME, OTHER = KeyPair(b"m" * 32), KeyPair(b"o" * 32)
COMMUNITY = CommunityID(ME.node_id)
BODY = {"params": {}, "input": {}}


class Stranger:
    """A node that answers whatever a test wants."""

    def __init__(self, folder):
        self.answer = None
        self.requests = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        self.tls = server_context(folder, OTHER)

    async def handle(self, request):
        self.requests.append((request.headers.copy(), await request.read()))
        return await self.answer(request)

    async def start(self):
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        return Peer(OTHER.node_id, (Address("127.0.0.1", site._server.sockets[0].getsockname()[1]),))


@pytest.fixture
async def line(tmp_path):
    """A client, a stranger, and the address between them."""
    stranger = Stranger(tmp_path)
    clock = FakeClock()
    client = PeerClient(ME, COMMUNITY, clock, Ulids(clock.now, secrets.token_bytes).new)
    yield client, await stranger.start(), stranger
    await client.close()
    await stranger.runner.cleanup()


def signed(request, body, *, key=OTHER, request_id=None, sent=None):
    """A reply as the protocol wants it, unless told otherwise."""
    head = ReplyHead(
        request_id=request_id or request.headers["X-HearthNet-Request-Id"], sender=key.node_id,
        timestamp=format_time(0), epoch="A" * 22,
    )  # fmt: skip
    reply = sign_reply(key, COMMUNITY, head, 200, body)
    return web.json_response(sent or body, headers=reply.headers())


async def test_a_signed_reply_is_believed(line):
    client, peer, stranger = line

    async def answer(request):
        return signed(request, {"output": {"n": 1}})

    stranger.answer = answer
    assert await client.call(peer, "market.post", "1.0", BODY) == {"output": {"n": 1}}


@pytest.mark.parametrize(
    "lie",
    [
        lambda request: signed(request, {"output": 1}, key=ME),
        lambda request: signed(request, {"output": 1}, request_id="01J0000000000000000000000A"),
        lambda request: signed(request, {"output": 1}, sent={"output": 2}),
        lambda request: web.json_response({"output": 1}),
    ],
    ids=["another signer", "another request", "another body", "no signature"],
)
async def test_a_reply_that_is_not_proven_is_refused_where_it_matters(line, lie):
    client, peer, stranger = line

    async def answer(request):
        return lie(request)

    stranger.answer = answer
    with pytest.raises(errors.InvalidSignature):
        await client.call(peer, "market.post", "1.0", BODY)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"[]", errors.BadRequest),
        (b"{", errors.BadRequest),
        (b'{"a":1,"a":2}', errors.BadRequest),
        (b'{"output":"' + b"x" * 1_100_000 + b'"}', errors.BadRequest),
    ],
)
async def test_a_reply_that_is_no_plain_json_object_is_refused(line, content, error):
    client, peer, stranger = line

    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(content)
        return response

    stranger.answer = answer
    with pytest.raises(error):
        await client.call(peer, "rag.query", "1.0", BODY)


async def test_a_node_that_never_answers_costs_the_timeout(line):
    client, peer, stranger = line

    gone = asyncio.Event()

    async def answer(request):
        await gone.wait()
        return web.Response()

    stranger.answer = answer
    with pytest.raises(errors.CallTimeout):
        await client.call(peer, "rag.query", "1.0", BODY, timeout_s=0.05)
    gone.set()


async def test_a_refusal_as_stale_is_answered_once_only(line):
    client, peer, stranger = line
    epochs = iter(["A" * 22, "B" * 22, "C" * 22])

    async def answer(request):
        return web.json_response({"error": "expired"}, status=410, headers={"X-HearthNet-Epoch": next(epochs)})

    stranger.answer = answer
    with pytest.raises(errors.Expired):
        await client.call(peer, "rag.query", "1.0", BODY)
    first, second = (headers for headers, _ in stranger.requests)
    assert "X-HearthNet-Epoch" not in first
    assert second["X-HearthNet-Epoch"] == "A" * 22
    assert first["X-HearthNet-Request-Id"] != second["X-HearthNet-Request-Id"]


async def test_a_failure_without_a_reason_is_unavailable(line):
    client, peer, stranger = line

    async def answer(request):
        return web.Response(status=500, text="broken")

    stranger.answer = answer
    with pytest.raises(errors.Unavailable):
        await client.call(peer, "rag.query", "1.0", BODY)


async def test_a_request_too_large_to_be_read_is_not_sent(line):
    client, peer, stranger = line
    with pytest.raises(errors.BadRequest):
        await client.call(peer, "rag.query", "1.0", {"input": {"text": "x" * 1_100_000}})
    assert stranger.requests == []


@pytest.mark.parametrize(
    "events",
    [b"", b'event: token\nid: 1\ndata: {"text":"a"}\n\n', b"event: token\nid: x\ndata: {}\n\n", b"data: {}\n\n"],
)
async def test_a_stream_that_breaks_off_or_is_malformed_is_an_error(line, events):
    client, peer, stranger = line

    async def answer(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(events)
        return response

    stranger.answer = answer
    stream = client.stream(peer, "llm.chat", "1.0", BODY)
    with pytest.raises(errors.FrameMalformed):
        assert [frame async for frame in stream] == []


@pytest.mark.parametrize("kind", ["events", "socket", "silence"])
async def test_a_stream_in_which_nothing_comes_ends_in_time(line, kind, monkeypatch):
    client, peer, stranger = line
    monkeypatch.setattr("hearthnet.adapters.socket_stream.IDLE_S", 0.2)
    gone = asyncio.Event()

    async def answer(request):
        if kind == "socket":
            response = web.WebSocketResponse(protocols=("hearthnet-bus.v2",))
        elif request.method == "GET":
            return web.Response(status=426)
        elif kind == "silence":
            await gone.wait()
            return web.Response()
        else:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await gone.wait()
        return response

    stranger.answer = answer
    with pytest.raises(errors.CallTimeout):
        await anext(client.stream(peer, "llm.chat", "1.0", BODY))
    gone.set()


async def test_a_reply_that_trickles_in_costs_the_timeout(line):
    client, peer, stranger = line
    left = asyncio.Event()

    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the caller has hung up
            while not left.is_set():
                await response.write(b" ")
                await asyncio.sleep(0.01)
        return response

    stranger.answer = answer
    with pytest.raises(errors.CallTimeout):
        await client.call(peer, "rag.query", "1.0", BODY, timeout_s=0.3)
    with pytest.raises(errors.CallTimeout):
        await client.request(peer, "/sync/v2/reconcile", b"", timeout_s=0.3)
    left.set()


async def test_a_refusal_without_end_is_not_read_to_the_end(line):
    client, peer, stranger = line
    sent = []

    async def answer(request):
        response = web.StreamResponse(status=410, headers={"X-HearthNet-Epoch": "A" * 22})
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x" * 100_000)
            sent.append(100_000)
        return response

    stranger.answer = answer
    with pytest.raises(errors.BadRequest):
        await client.call(peer, "rag.query", "1.0", BODY)
    assert sum(sent) < 10_000_000


async def test_a_manifest_of_another_node_is_refused(line):
    client, peer, stranger = line

    async def answer(request):
        manifest = NodeManifest(
            node_id=ME.node_id, display_name="x", community_id=COMMUNITY, profile="hearth",
            challenge=request.query["challenge"],
        )  # fmt: skip
        return web.Response(body=sign_node_manifest(ME, manifest, 0.0))

    stranger.answer = answer
    with pytest.raises(errors.InvalidSignature):
        await client.manifest(peer)


async def test_who_cannot_be_reached_is_left_alone_for_a_while_but_not_by_discovery(tmp_path):
    clock = FakeClock()
    client = PeerClient(ME, COMMUNITY, clock, Ulids(clock.now, secrets.token_bytes).new)
    stranger = Stranger(tmp_path)
    peer = await stranger.start()
    await stranger.runner.cleanup()
    waits = []
    for _ in range(8):
        with pytest.raises(errors.Unavailable) as raised:
            await client.call(peer, "rag.query", "1.0", BODY)
        assert raised.value.retry_after_ms is None  # it was really tried
        with pytest.raises(errors.Unavailable) as raised:
            await client.call(peer, "rag.query", "1.0", BODY)
        waits.append(raised.value.retry_after_ms / 1000)
        await clock.advance(waits[-1])
    assert 0.25 <= waits[0] <= 0.51
    assert 15.0 <= waits[-1] <= 30.1
    again = Stranger(tmp_path)

    async def answer(request):
        again.requests.append(request.path)
        return web.Response(status=404)

    again.answer = answer
    await again.runner.setup()
    site = web.TCPSite(again.runner, "127.0.0.1", peer.addresses[0].port, ssl_context=again.tls)
    with pytest.raises(errors.Unavailable):
        await client.call(peer, "rag.query", "1.0", BODY)
    await site.start()
    with pytest.raises(errors.Unavailable):  # not a moment after
        await client.call(peer, "rag.query", "1.0", BODY)
    assert again.requests == []
    with pytest.raises(errors.Unavailable, match="404"):
        await client.manifest(peer)
    with pytest.raises(errors.Unavailable, match="404"):
        await client.call(peer, "rag.query", "1.0", BODY)
    assert len(again.requests) == 4  # each is noted twice
    await client.close()
    await again.runner.cleanup()


def test_an_ipv6_address_is_bracketed():
    assert url_of(Address("fe80::1", 7080)) == "https://[fe80::1]:7080"
    assert url_of(Address("fe80::1%eth0", 7080)) == "https://[fe80::1%25eth0]:7080"
    assert url_of(Address("linde.local", 7080)) == "https://linde.local:7080"
