"""What every transport promises, asked of TLS on this machine and of the network in memory."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.network_fake import FakeNetwork, Link
from hearthnet.adapters.tls_context import server_context
from hearthnet.adapters.transport_fake import FakeTransport
from hearthnet.adapters.transport_tls import PeerClient
from hearthnet.base import errors
from hearthnet.base.config import Config
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import CommunityID, TrustLevel
from hearthnet.base.ulid import Ulids
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.peer_server import MeshServer
from hearthnet.ports import Address, Peer
from hearthnet.web.bus_api import build_node_app
from hearthnet.web.door import Door, NodeFacts
from hearthnet.web.node_manifest import write_manifest
from hearthnet.web.serving import Listener
from hearthnet.wire.identity import KeyPair, short_id
from mesh.samples import Gate, Library, Talker, Word, turns

KEYS = {name: KeyPair(name.encode() * 32) for name in "abx"}
COMMUNITY = CommunityID(KeyPair(b"f" * 32).node_id)
ASK = {"params": {}, "input": {"query": "water"}}
SYNC = "/sync/v2/reconcile"


class Members:
    """Who belongs to the sample community."""

    def __init__(self, *names):
        self.levels = {KEYS[name].node_id: TrustLevel.MEMBER for name in names}
        self.removed = set()

    def trust(self, node_id):
        if node_id in self.removed:
            raise errors.Revoked("this node was removed from the community")
        return self.levels.get(node_id, TrustLevel.UNKNOWN)


class Node:
    """One node behind either transport; `serve` puts it there."""

    def __init__(self, name, members, folder):
        self.key, self.folder = KEYS[name], folder / name
        self.clock = FakeClock()
        self.library = Library()
        self.metrics = Metrics()
        self.bus = CapabilityBus(self.key.node_id, self.clock, Config().bus, TraceRing(), self.metrics)
        self.bus.register(self.library)
        self.bus.register(Talker(self.library))
        self.community = SimpleNamespace(community=COMMUNITY, members=members)
        self.server = MeshServer(self.bus, self.community, self.clock)
        self.new_id = Ulids(self.clock.now, secrets.token_bytes).new
        facts = NodeFacts(self.key.node_id, short_id(self.key.node_id), name, "ABCD", self.clock.monotonic(), "0.1.0")
        self.door = Door(
            facts, Config(), SimpleNamespace(data=folder), SimpleNamespace(clock=self.clock, events=None), self.bus,
            None, TraceRing(), {}, str, print, {},
        )  # fmt: skip


class TlsVillage:
    """Nodes on free ports of this machine; every call is signed, or sealed in sessions that are open."""

    def __init__(self, *, sealed):
        self.open, self.sealed = [], sealed

    async def settle(self, node):
        app = build_node_app(node.door, node.key, node.community, node.metrics, node.server)
        node.listener = Listener(app)
        await node.listener.open()
        tls = server_context(node.folder, node.key)
        port = await node.listener.listen("127.0.0.1", 0, "transport.port", tls)
        folder = node.folder if self.sealed else None
        node.transport = PeerClient(node.key, COMMUNITY, node.clock, node.new_id, certificates=folder)
        node.peer = Peer(node.key.node_id, (Address("127.0.0.1", port),))
        self.open.append(node)

    async def meet(self, nodes):
        if self.sealed:
            assert [await nodes[name].transport.sessions.open(nodes["b"].peer) for name in "ax"] == [True, False]

    async def stop(self, node):
        await node.listener.close()

    async def close(self):
        for node in self.open:
            await node.transport.close()
            await node.listener.close()
            await node.bus.close()


class FakeVillage:
    """Nodes on a network in memory, under the clock of the machine so that both kinds take the same tests."""

    def __init__(self):
        self.network = FakeNetwork(LoopTime(), link=Link(delay_s=0.001))
        self.open = []

    async def settle(self, node):
        def write(challenge, reached_at):
            here = (reached_at.host, reached_at.port)
            return write_manifest(
                node.door, node.key, COMMUNITY, epoch="A" * 22, challenge=challenge, reached_at=here
            )  # fmt: skip

        node.server.write_manifest = write
        node.transport = FakeTransport(self.network, node.key.node_id, COMMUNITY, node.new_id, node.server)
        node.peer = Peer(node.key.node_id, (node.transport.address,))
        self.open.append(node)

    async def meet(self, nodes):
        """Who sends is proven by construction."""

    async def stop(self, node):
        self.network.leave(node.key.node_id)

    async def close(self):
        self.network.deadlines.close()
        for node in self.open:
            await node.transport.close()
            await node.bus.close()


class LoopTime:
    """Real time, as `SystemClock`, without wall clock."""

    def monotonic(self):
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


@pytest.fixture(params=["signed", "sealed", "fake"])
async def village(request, tmp_path):
    """Nodes `a` and `b` of one community, and `x` who is a stranger."""
    kind = FakeVillage() if request.param == "fake" else TlsVillage(sealed=request.param == "sealed")
    members = Members("a", "b")
    nodes = {name: Node(name, members, tmp_path) for name in KEYS}
    for node in nodes.values():
        await kind.settle(node)
    await kind.meet(nodes)
    yield SimpleNamespace(**nodes, members=members, stop=kind.stop)
    await kind.close()


async def echo(sender, content):
    return f"{sender}:".encode() + content


async def test_a_call_is_answered(village):
    reply = await village.a.transport.call(village.b.peer, "rag.query", "1.0", ASK)
    assert reply["output"] == {"text": "water", "tokens_out": 0}
    assert reply["meta"]["node_id"] == village.b.key.node_id
    caller = village.b.library.calls[0].caller
    assert (caller.node_id, caller.trust) == (village.a.key.node_id, TrustLevel.MEMBER)


async def test_bytes_reach_an_endpoint_and_come_back_with_who_sent_them(village):
    village.b.server.serve(SYNC, echo)
    answer = await village.a.transport.request(village.b.peer, SYNC, b"\x00\xff")
    assert answer == village.a.key.node_id.encode() + b":\x00\xff"
    assert await village.a.transport.request(village.b.peer, SYNC, b"") == village.a.key.node_id.encode() + b":"


@pytest.mark.parametrize(
    "error",
    [errors.BadRequest("no"), errors.Expired("late"), errors.Unavailable("asleep"), errors.RateLimited("slow", retry_after_ms=7)],
    ids=lambda error: error.code,
)  # fmt: skip
async def test_errors_of_an_endpoint_come_back_as_themselves(village, error):
    async def refuse(sender, content):
        raise error

    village.b.server.serve(SYNC, refuse)
    with pytest.raises(type(error)) as raised:
        await village.a.transport.request(village.b.peer, SYNC, b"")
    assert (raised.value.detail, raised.value.retry_after_ms) == (error.detail, error.retry_after_ms)


async def test_a_mistake_of_an_endpoint_is_an_internal_error(village):
    async def stumble(sender, content):
        return {}["missing"]

    village.b.server.serve(SYNC, stumble)
    with pytest.raises(errors.InternalError):
        await village.a.transport.request(village.b.peer, SYNC, b"")


async def test_a_path_that_nobody_serves_is_not_found(village):
    with pytest.raises(errors.NotFound):
        await village.a.transport.request(village.b.peer, "/nothing", b"")


async def test_a_stranger_reaches_only_what_is_open_to_strangers(village):
    village.b.server.serve(SYNC, echo)
    village.b.server.serve("/community/v1/join", echo, TrustLevel.UNKNOWN)
    with pytest.raises(errors.Unauthorized):
        await village.x.transport.request(village.b.peer, SYNC, b"")
    with pytest.raises(errors.Unauthorized):
        await village.x.transport.call(village.b.peer, "rag.query", "1.0", ASK)
    assert (await village.x.transport.request(village.b.peer, "/community/v1/join", b"me")).endswith(b":me")


async def test_a_removed_member_is_refused(village):
    village.b.server.serve(SYNC, echo)
    village.members.removed.add(village.a.key.node_id)
    with pytest.raises(errors.Revoked):
        await village.a.transport.request(village.b.peer, SYNC, b"")
    with pytest.raises(errors.Revoked):
        await village.a.transport.call(village.b.peer, "rag.query", "1.0", ASK)


async def test_errors_of_a_call_come_back_as_themselves(village):
    with pytest.raises(errors.NotFound):
        await village.a.transport.call(village.b.peer, "rag.nothing", "1.0", ASK)
    with pytest.raises(errors.SchemaMismatch, match="colour"):
        await village.a.transport.call(village.b.peer, "rag.query", "1.0", {"input": {"colour": 1}})


async def test_too_much_is_not_sent_and_not_answered(village):
    async def babble(sender, content):
        return b"x" * 1_100_000

    village.b.server.serve(SYNC, babble)
    with pytest.raises(errors.BadRequest):
        await village.a.transport.request(village.b.peer, SYNC, b"x" * 1_100_000)
    with pytest.raises(errors.InternalError):
        await village.a.transport.request(village.b.peer, SYNC, b"")


async def test_who_never_answers_costs_the_timeout_and_is_cancelled(village):
    gate = Gate()

    async def wait(sender, content):
        await gate.wait()

    village.b.server.serve(SYNC, wait)
    with pytest.raises(errors.CallTimeout):
        await village.a.transport.request(village.b.peer, SYNC, b"", timeout_s=0.5)
    async with asyncio.timeout(5):
        await gate.finished.wait()
    assert gate.ended == ["cancelled"]


async def test_a_node_that_is_gone_is_unavailable(village):
    await village.stop(village.b)
    with pytest.raises(errors.Unavailable):
        await village.a.transport.request(village.b.peer, SYNC, b"")
    with pytest.raises(errors.Unavailable):
        await anext(village.a.transport.stream(village.b.peer, "llm.chat", "1.0", ASK))


async def test_an_address_that_is_dead_is_passed_over(village):
    await village.stop(village.x)
    peer = Peer(village.b.peer.node_id, village.x.peer.addresses + village.b.peer.addresses)
    assert (await village.a.transport.call(peer, "rag.query", "1.0", ASK))["output"]["text"] == "water"


async def test_without_an_address_nobody_can_be_reached(village):
    with pytest.raises(errors.Unavailable):
        await village.a.transport.call(Peer(village.b.peer.node_id, ()), "rag.query", "1.0", ASK)


async def test_another_node_in_its_place_is_refused(village):
    impostor = Peer(village.x.key.node_id, village.b.peer.addresses)
    with pytest.raises(errors.InvalidSignature):
        await village.a.transport.call(impostor, "rag.query", "1.0", ASK)
    assert village.b.library.calls == []


async def test_frames_of_a_stream_arrive_numbered_and_end_with_the_terminal_one(village):
    async with aclosing(village.a.transport.stream(village.b.peer, "llm.chat", "1.0", ASK)) as stream:
        frames = [(frame.event, frame.data, frame.seq) async for frame in stream]
    assert frames == [
        ("token", {"text": "hello"}, 1),
        ("token", {"text": "there"}, 2),
        ("done", {"tokens_in": 3, "tokens_out": 2}, 3),
    ]


async def test_closing_a_stream_cancels_the_handler_there(village):
    gate = Gate()
    village.b.library.tell = gate.tell
    stream = village.a.transport.stream(village.b.peer, "llm.chat", "1.0", ASK)
    assert (await anext(stream)).event == "token"
    await stream.aclose()
    async with asyncio.timeout(5):
        await gate.finished.wait()
    await turns()
    assert gate.ended == ["cancelled"]


async def test_an_error_in_the_middle_of_a_stream_is_its_terminal_frame(village):
    async def tell(call, params, request):
        yield Word("one")
        raise errors.EngineDied("the engine ended")

    village.b.library.tell = tell
    async with aclosing(village.a.transport.stream(village.b.peer, "llm.chat", "1.0", ASK)) as stream:
        frames = [(frame.event, frame.data) async for frame in stream]
    assert frames == [("token", {"text": "one"}), ("error", {"error": "partition", "message": "the engine ended"})]


async def test_a_stream_that_is_refused_raises_before_its_first_frame(village):
    with pytest.raises(errors.SchemaMismatch):
        await anext(village.a.transport.stream(village.b.peer, "llm.chat", "1.0", {"input": {"colour": 1}}))
    with pytest.raises(errors.BadRequest):
        await anext(village.a.transport.stream(village.b.peer, "rag.query", "1.0", ASK))


async def test_a_node_that_dies_in_the_middle_of_a_stream_breaks_it(village):
    gate = Gate()
    village.b.library.tell = gate.tell
    async with aclosing(village.a.transport.stream(village.b.peer, "llm.chat", "1.0", ASK)) as stream:
        assert (await anext(stream)).event == "token"
        stop = asyncio.create_task(village.stop(village.b))
        with pytest.raises(errors.HearthNetError):
            await anext(stream)
        await stop


async def test_the_manifest_is_the_nodes_own_and_of_now(village):
    found = await village.a.transport.manifest(village.b.peer)
    assert found.node_id == village.b.key.node_id
    assert [item.name for item in found.capabilities] == ["rag.query", "llm.chat"]
    assert [Address(item.host, item.port) for item in found.endpoints] == list(village.b.peer.addresses)
    with pytest.raises(errors.InvalidSignature):
        await village.a.transport.manifest(Peer(village.x.key.node_id, village.b.peer.addresses))
