"""Nodes call each other over real TLS: signed, fresh without clocks, and everything else is refused with its code."""

import asyncio
import io
import secrets
from contextlib import aclosing
from types import SimpleNamespace

import aiohttp
import pytest
from msgspec import json

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.peer_lines import PeerLines, url_of
from hearthnet.adapters.tls_context import client_context, server_context
from hearthnet.adapters.transport_tls import PeerClient
from hearthnet.base import errors
from hearthnet.base.config import Config
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import CommunityID, TrustLevel
from hearthnet.base.ulid import Ulids
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.ports import Address, Peer
from hearthnet.web.bus_api import build_node_app
from hearthnet.web.connections import Bounds
from hearthnet.web.door import Door, NodeFacts
from hearthnet.web.serving import Listener
from hearthnet.wire import canonical
from hearthnet.wire.identity import KeyPair, short_id
from hearthnet.wire.manifest import open_node_manifest
from hearthnet.wire.rpc import CallHead, sign_call
from hearthnet.wire.timestamp import format_time
from mesh.samples import Gate, Library, Talker, Word, turns

FOUNDER = KeyPair(b"f" * 32)
COMMUNITY = CommunityID(FOUNDER.node_id)
TWENTY_YEARS_S = 20 * 365.25 * 86_400
ASK = {"params": {}, "input": {"query": "water"}}


class Members:
    """Who belongs; a test may remove somebody."""

    def __init__(self, *keys):
        self.levels = {key.node_id: TrustLevel.MEMBER for key in keys}
        self.removed = set()

    def trust(self, node_id):
        if node_id in self.removed:
            raise errors.Revoked("this node was removed from the community")
        return self.levels.get(node_id, TrustLevel.UNKNOWN)


class Node:
    """A node with its door for other nodes, on a free port of this machine."""

    bounds = Bounds()

    def __init__(self, seed, folder, members, *, now=1_800_000_000.0, community=COMMUNITY):
        self.key = KeyPair(seed * 32)
        self.clock = FakeClock(now=now)
        self.traces = TraceRing()
        self.library = Library()
        config = Config()
        self.metrics = Metrics()
        self.bus = CapabilityBus(self.key.node_id, self.clock, config.bus, self.traces, self.metrics)
        self.bus.register(self.library)
        self.bus.register(Talker(self.library))
        short = short_id(self.key.node_id)
        facts = NodeFacts(self.key.node_id, short, "Linde 4", "ABCD", self.clock.monotonic(), "0.1.0")
        door = Door(
            facts, config, SimpleNamespace(data=folder), SimpleNamespace(clock=self.clock, events=None), self.bus, None,
            self.traces,
            {}, str, print, {},
        )  # fmt: skip
        self.app = build_node_app(door, self.key, SimpleNamespace(community=community, members=members), self.metrics)
        self.client = PeerClient(self.key, community, self.clock, Ulids(self.clock.now, secrets.token_bytes).new)
        self.folder = folder / seed.hex()

    async def __aenter__(self):
        self.listener = Listener(self.app, self.bounds)
        await self.listener.open()
        port = await self.listener.listen("127.0.0.1", 0, "transport.port", server_context(self.folder, self.key))
        self.peer = Peer(self.key.node_id, (Address("127.0.0.1", port),))
        self.url = url_of(self.peer.addresses[0])
        return self

    async def __aexit__(self, *_):
        await self.client.close()
        await self.listener.close()
        await self.bus.close()

    async def ask(self, other, text="water", **options):
        """The text that the other node answers."""
        body = {"params": {}, "input": {"query": text}}
        return (await self.client.call(other.peer, "rag.query", "1.0", body, **options))["output"]["text"]


@pytest.fixture
async def village(tmp_path):
    """Two members of one community."""
    members = Members(KeyPair(b"a" * 32), KeyPair(b"b" * 32))
    async with Node(b"a", tmp_path, members) as first, Node(b"b", tmp_path, members) as second:
        yield SimpleNamespace(a=first, b=second, members=members, folder=tmp_path)


@pytest.fixture
def by_events(monkeypatch):
    """Callers without web sockets: streams come as server-sent events."""

    async def no_socket(lines, peer, path):
        return None

    monkeypatch.setattr(PeerLines, "socket", no_socket)


async def send(node, *, content=None, headers=None, key=None, body=ASK, path="/bus/v1/call", **head):
    """One raw request; (status, decoded body, headers). `head` replaces fields of the signed head."""
    key = key or KeyPair(b"a" * 32)
    fields = {
        "capability": "rag.query", "version": "1.0", "sender": key.node_id, "community": COMMUNITY,
        "request_id": Ulids(node.clock.now, secrets.token_bytes).new(), "timestamp": format_time(node.clock.now()),
    } | head  # fmt: skip
    signed = sign_call(key, CallHead(**fields), body)
    if content is None:
        content = canonical.encode(body)
    if headers is None:
        headers = signed.headers()
    elif callable(headers):
        headers = headers(dict(signed.headers()))
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{node.url}{path}", data=io.BytesIO(content), headers=headers, ssl=client_context(node.key.node_id)
        ) as response,
    ):
        return response.status, json.decode(await response.read() or b"null"), response.headers


async def test_a_member_is_answered_and_the_answer_is_signed(village):
    reply = await village.a.client.call(village.b.peer, "rag.query", "1.0", ASK)
    assert reply["output"] == {"text": "water", "tokens_out": 0}
    assert reply["meta"]["node_id"] == village.b.key.node_id
    caller = village.b.library.calls[0].caller
    assert (caller.node_id, caller.trust) == (village.a.key.node_id, TrustLevel.MEMBER)
    assert village.b.traces.recent(1)[0].from_node == village.a.key.node_id


@pytest.mark.parametrize("offset_s", [TWENTY_YEARS_S, -TWENTY_YEARS_S, -1_800_000_000.0])
async def test_a_node_whose_clock_is_years_off_can_call_and_be_called(tmp_path, offset_s):
    members = Members(KeyPair(b"a" * 32), KeyPair(b"b" * 32))
    wrong = Node(b"a", tmp_path, members, now=1_800_000_000.0 + offset_s)
    async with wrong, Node(b"b", tmp_path, members) as right:
        assert await wrong.ask(right, "out") == "out"
        assert await right.ask(wrong, "in") == "in"
        assert await wrong.ask(right, "again") == "again"
        found = await right.client.manifest(wrong.peer)
        assert found.node_id == wrong.key.node_id


async def test_a_node_that_was_restarted_is_called_with_its_new_epoch(village):
    assert await village.a.ask(village.b) == "water"
    port = village.b.peer.addresses[0].port
    await village.b.listener.close()
    village.b.clock.jump(TWENTY_YEARS_S)
    reborn = Node(b"b", village.folder, village.members, now=village.b.clock.now())
    listener = Listener(reborn.app)
    await listener.open()
    await listener.listen("127.0.0.1", port, "transport.port", server_context(reborn.folder, reborn.key))
    assert await village.a.ask(village.b) == "water"
    await listener.close()
    await reborn.bus.close()


async def test_frames_of_a_stream_arrive_numbered_and_end_with_the_terminal_one(village, by_events):
    body = {"params": {}, "input": {"query": "hello"}}
    async with aclosing(village.a.client.stream(village.b.peer, "llm.chat", "1.0", body)) as stream:
        frames = [(frame.event, frame.data, frame.seq) async for frame in stream]
    assert frames == [
        ("token", {"text": "hello"}, 1),
        ("token", {"text": "there"}, 2),
        ("done", {"tokens_in": 3, "tokens_out": 2}, 3),
    ]


async def test_a_caller_that_hangs_up_cancels_the_handler_there(village, by_events):
    gate = Gate()
    village.b.library.tell = gate.tell
    stream = village.a.client.stream(village.b.peer, "llm.chat", "1.0", ASK)
    assert (await anext(stream)).event == "token"
    await stream.aclose()
    async with asyncio.timeout(1):
        await gate.finished.wait()
    await turns()
    assert gate.ended == ["cancelled"]
    assert [event.result for event in village.b.traces.recent(1)] == ["cancelled"]


async def test_an_error_in_the_middle_of_a_stream_is_its_terminal_frame(village, by_events):
    async def tell(call, params, request):
        yield Word("one")
        raise errors.EngineDied("the engine ended")

    village.b.library.tell = tell
    async with aclosing(village.a.client.stream(village.b.peer, "llm.chat", "1.0", ASK)) as stream:
        frames = [(frame.event, frame.data) async for frame in stream]
    assert frames == [
        ("token", {"text": "one"}),
        ("error", {"error": "partition", "message": "the engine ended"}),
    ]


async def test_a_refused_stream_is_a_plain_error(village, by_events):
    with pytest.raises(errors.SchemaMismatch):
        await anext(village.a.client.stream(village.b.peer, "llm.chat", "1.0", {"input": {"colour": 1}}))
    with pytest.raises(errors.BadRequest):
        await anext(village.a.client.stream(village.b.peer, "rag.query", "1.0", ASK))


async def test_errors_of_the_other_node_come_back_as_themselves(village):
    with pytest.raises(errors.NotFound):
        await village.a.client.call(village.b.peer, "rag.nothing", "1.0", ASK)
    with pytest.raises(errors.SchemaMismatch, match="colour"):
        await village.a.client.call(village.b.peer, "rag.query", "1.0", {"input": {"colour": 1}})


async def test_a_stranger_may_not_call_what_is_for_members(village):
    status, body, _ = await send(village.b, key=KeyPair(b"x" * 32))
    assert (status, body["error"]) == (401, "unauthorized")
    status, body, headers = await send(village.b, community=CommunityID(KeyPair(b"z" * 32).node_id))
    assert (status, body["error"]) == (401, "unauthorized")
    assert "X-HearthNet-Signature" not in headers  # a signature made in this community is none in another
    assert village.b.library.calls == []


async def test_a_removed_member_is_refused(village):
    village.members.removed.add(village.a.key.node_id)
    with pytest.raises(errors.Revoked):
        await village.a.ask(village.b)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda h: {k: v for k, v in h.items() if k != "X-HearthNet-Signature"}, "invalid_signature"),
        (lambda h: h | {"X-HearthNet-Signature": "ed25519:" + "A" * 86}, "invalid_signature"),
        (lambda h: h | {"X-HearthNet-Signature": "none"}, "invalid_signature"),
        (lambda h: h | {"X-HearthNet-Capability": "llm.chat"}, "invalid_signature"),
        (lambda h: h | {"X-HearthNet-From": KeyPair(b"b" * 32).node_id}, "invalid_signature"),
        (lambda h: h | {"X-HearthNet-From": "ed25519:ABCD"}, "schema_mismatch"),
        (lambda h: h | {"X-HearthNet-Request-Id": "1"}, "schema_mismatch"),
        (lambda h: h | {"X-HearthNet-Capability": "../../etc"}, "schema_mismatch"),
        (lambda h: {}, "invalid_signature"),
        (lambda h: [*h.items(), ("X-HearthNet-From", "twice")], "bad_request"),
    ],
)
async def test_tampered_headers_are_refused(village, change, code):
    status, body, _ = await send(village.b, headers=change)
    assert body["error"] == code
    assert status in (400, 401)
    assert village.b.library.calls == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff\xfe", b'{"input":{"query":NaN}}', b'{"input":{},"input":{"query":"water"}}',
        b'{"input":' + b'{"a":' * 40 + b"1" + b"}" * 41, b"[" * 100_000, b'"' + b"a" * 1_100_000 + b'"',
        b"\xef\xbb\xbf{}", b'{"input":{"query":"\\ud800"}}',
    ],
)  # fmt: skip
async def test_bodies_that_are_no_plain_json_object_are_refused(village, content):
    status, body, _ = await send(village.b, content=content)
    assert (status, body["error"]) == (413 if len(content) > 1_048_576 else 400, "bad_request")


async def test_another_body_than_the_signed_one_is_refused(village):
    status, body, _ = await send(village.b, content=canonical.encode({"input": {"query": "fire"}}))
    assert (status, body["error"]) == (401, "invalid_signature")
    assert 'hearthnet_signature_failures_total{reason="invalid_signature"} 1' in village.b.metrics.render()


async def test_stale_calls_are_refused_with_the_epoch_that_makes_the_next_fresh(village):
    status, body, headers = await send(village.b, timestamp=format_time(village.b.clock.now() - 61))
    assert (status, body["error"]) == (410, "expired")
    epoch = headers["X-HearthNet-Epoch"]
    status, _, _ = await send(village.b, timestamp=format_time(0), epoch=epoch)
    assert status == 200


@pytest.mark.parametrize("by_epoch", [False, True])
async def test_a_call_is_answered_once(village, by_epoch):
    _, _, headers = await send(village.b)
    head = {"request_id": Ulids(village.b.clock.now, secrets.token_bytes).new()}
    if by_epoch:
        head["epoch"] = headers["X-HearthNet-Epoch"]
    assert (await send(village.b, **head))[0] == 200
    status, body, _ = await send(village.b, **head)
    assert (status, body["error"]) == (410, "expired")
    assert len(village.b.library.calls) == 2


async def test_a_call_signed_for_another_node_is_refused(village):
    status, body, _ = await send(village.b, to=village.a.key.node_id)
    assert (status, body["error"]) == (401, "unauthorized")


async def test_a_caller_above_its_rate_is_told_when_to_come_back(village):
    results = [await send(village.b) for _ in range(12)]
    assert [status for status, _, _ in results] == [200] * 10 + [429] * 2
    _, body, headers = results[-1]
    assert body["error"] == "rate_limited"
    assert 0 < body["retry_after_ms"] <= 1000
    assert headers["Retry-After"] == "1"


async def test_one_address_cannot_make_the_node_verify_without_end(village):
    outcomes = []
    url, tls = f"{village.b.url}/bus/v1/call", client_context(village.b.key.node_id)
    async with aiohttp.ClientSession() as session:
        for _ in range(1000):
            async with session.post(url, data=b"{}", ssl=tls) as response:
                outcomes.append(response.status)
        assert outcomes == [401] * 100 + [429] * 900
        with pytest.raises(aiohttp.ServerDisconnectedError):  # far above the limit: not even an answer
            await session.post(url, data=b"{}", ssl=tls)
    assert 'hearthnet_rate_limited_total{capability="any",reason="hard"} 1' in village.b.metrics.render()


async def test_the_manifest_answers_the_challenge_and_lists_what_others_may_call(village):
    manifest = await village.a.client.manifest(village.b.peer)
    assert manifest.node_id == village.b.key.node_id
    assert manifest.display_name == "Linde 4"
    assert [(item.name, item.version) for item in manifest.capabilities] == [("rag.query", "1.0"), ("llm.chat", "1.0")]
    assert manifest.endpoints[0].port == village.b.peer.addresses[0].port
    assert manifest.epoch


@pytest.mark.parametrize(
    ("challenge", "status"), [("", 200), ("a" * 64, 200), ("a" * 65, 400), ("%0a", 400), ("ü", 400)]
)
async def test_a_challenge_is_short_and_printable(village, challenge, status):
    async with aiohttp.ClientSession() as session:
        url, tls = f"{village.b.url}/manifest?challenge={challenge}", client_context(village.b.key.node_id)
        async with session.get(url, ssl=tls) as response:
            content = await response.read()
    assert response.status == status
    if status == 200:
        assert open_node_manifest(content, now=village.b.clock.now(), challenge=challenge).epoch


async def test_a_node_that_answers_in_anothers_place_learns_nothing(village):
    impostor = Peer(village.a.key.node_id, village.b.peer.addresses)
    with pytest.raises(errors.InvalidSignature):
        await village.a.client.call(impostor, "rag.query", "1.0", ASK)
    assert village.b.library.calls == []


async def test_a_node_that_is_gone_is_unavailable(village):
    await village.b.listener.close()
    with pytest.raises(errors.Unavailable):
        await village.a.ask(village.b)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/bus/v1/call", 426, "not_implemented"),
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/manifest", 400, "bad_request"),
    ],
)
async def test_every_other_route_is_refused_in_json(village, method, path, status, code):
    async with aiohttp.ClientSession() as session:
        tls = client_context(village.b.key.node_id)
        async with session.request(method, f"{village.b.url}{path}", ssl=tls) as response:
            body = json.decode(await response.read())
    assert (response.status, body["error"]) == (status, code)
    assert response.headers["X-HearthNet-From"] == village.b.key.node_id


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_health_and_readiness_need_no_signature(village, path):
    async with aiohttp.ClientSession() as session:
        tls = client_context(village.b.key.node_id)
        async with session.get(f"{village.b.url}{path}", ssl=tls) as response:
            assert response.status == 200
