"""The network in memory: what its links do, under virtual time, the same for every run of a seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest

from hearthnet.adapters.clock_fake import FakeClock, SkewedClock
from hearthnet.adapters.network_fake import FakeNetwork, Link
from hearthnet.adapters.transport_fake import FakeTransport
from hearthnet.base.errors import CallTimeout, HearthNetError, InternalError, InvalidSignature, NotFound, Unavailable
from hearthnet.base.types import CommunityID
from hearthnet.ports import Peer
from hearthnet.wire.identity import KeyPair
from mesh.samples import Gate

COMMUNITY = CommunityID(KeyPair(b"f" * 32).node_id)


class Echo:
    """Serves one endpoint; remembers when what came."""

    def __init__(self, clock):
        self.clock, self.got, self.answer = clock, [], None

    async def exchange(self, sender, path, content):
        self.got.append((round(self.clock.monotonic(), 6), content))
        return content if self.answer is None else await self.answer(content)


class World:
    """Nodes named by letters."""

    def __init__(self, names="ab", seed=1, **link):
        self.clock = FakeClock()
        self.network = FakeNetwork(self.clock, seed, Link(**{"delay_s": 0.1} | link))
        self.node = {}
        for name in names:
            node_id = KeyPair(name.encode() * 32).node_id
            server = Echo(self.clock)
            transport = FakeTransport(self.network, node_id, COMMUNITY, lambda: "01J0000000000000000000000A", server)
            self.node[name] = SimpleNamespace(id=node_id, server=server, transport=transport)

    def peer(self, name):
        return Peer(self.node[name].id, (self.node[name].transport.address,))

    async def after(self, seconds, *works):
        """Outcomes of the works when so much time has passed: a result, an error's class, or None."""
        tasks = [asyncio.ensure_future(work) for work in works]
        await self.clock.advance(seconds)
        found = []
        for task in tasks:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                found.append(None)
            else:
                found.append(type(task.exception()) if task.exception() else task.result())
        return found

    def ask(self, source, target, content=b"hello", **options):
        return self.node[source].transport.request(self.peer(target), "/echo", content, **options)


async def test_a_message_takes_the_delay_of_its_link_each_way():
    world = World(delay_s=0.1)
    world.network.connect(world.node["b"].id, world.node["a"].id, Link(delay_s=0.4), both=False)
    assert await world.after(0.45, world.ask("a", "b")) == [None]
    assert await world.after(0.5, world.ask("a", "b")) == [b"hello"]
    start = world.node["b"].server.got[0][0]
    assert start == 1000.1


async def test_two_nodes_with_clocks_twenty_years_apart_share_the_network():
    world = World()
    wrong_clock = SkewedClock(world.clock, wall_s=-20 * 31_557_600.0, boot_s=77.0)
    assert wrong_clock.now() == world.clock.now() - 20 * 31_557_600.0
    assert wrong_clock.monotonic() == world.clock.monotonic() + 77.0
    woken = asyncio.ensure_future(wrong_clock.sleep(1.0))
    await world.clock.advance(1.0)
    assert woken.done()


async def test_lost_messages_cost_the_timeout_whether_or_not_the_handler_ran():
    world = World(loss=0.5)
    outcomes = await world.after(5.0, *(world.ask("a", "b", timeout_s=3.0) for _ in range(200)))
    counted = Counter(outcomes)
    assert set(counted) == {b"hello", CallTimeout}
    assert 30 <= counted[b"hello"] <= 70  # a quarter of 200
    assert 75 <= len(world.node["b"].server.got) <= 125  # half of them ran
    assert Counter(delivery.outcome for delivery in world.network.history)["lost"] > 100


async def test_duplicates_run_the_handler_again():
    world = World(duplicate=1.0)
    assert await world.after(2.0, world.ask("a", "b")) == [b"hello"]
    assert [content for _, content in world.node["b"].server.got] == [b"hello", b"hello"]


async def test_messages_overtake_each_other_when_some_are_held_back():
    world = World(reorder=0.5)
    await world.after(5.0, *(world.ask("a", "b", bytes([number])) for number in range(40)))
    arrived = [content[0] for _, content in world.node["b"].server.got]
    assert sorted(arrived) == list(range(40))
    assert arrived != list(range(40))


async def test_a_narrow_link_carries_one_message_after_the_other():
    world = World(delay_s=0.0, bytes_per_s=1000.0)
    await world.after(60.0, *(world.ask("a", "b", b"x" * 500) for _ in range(4)))
    assert [at for at, _ in world.node["b"].server.got] == [1000.5, 1001.0, 1001.5, 1002.0]


async def test_a_cut_is_silence_and_heals():
    world = World("abc")
    world.network.split([world.node["a"].id], [world.node["b"].id, world.node["c"].id])
    outcomes = await world.after(31.0, world.ask("a", "b"), world.ask("b", "c"), world.ask("a", "c", timeout_s=1.0))
    assert outcomes == [CallTimeout, b"hello", CallTimeout]
    world.network.heal()
    assert await world.after(1.0, world.ask("a", "b")) == [b"hello"]


@pytest.mark.parametrize(("cut_at_s", "ran"), [(0.5, 0), (1.5, 1)])
async def test_a_cut_takes_what_is_under_way(cut_at_s, ran):
    world = World(delay_s=1.0)
    asked = asyncio.ensure_future(world.ask("a", "b", timeout_s=5.0))
    await world.clock.advance(cut_at_s)
    world.network.split([world.node["a"].id])
    assert await world.after(5.0, asked) == [CallTimeout]
    assert len(world.node["b"].server.got) == ran


async def test_a_crash_ends_what_runs_there_and_tells_who_waits():
    world = World()
    gate = Gate()
    world.node["b"].server.answer = lambda content: gate.wait()
    asked = asyncio.ensure_future(world.ask("a", "b"))
    await world.clock.advance(0.2)
    world.network.leave(world.node["b"].id)
    assert await world.after(0.0, asked) == [Unavailable]
    assert gate.ended == ["cancelled"]
    assert await world.after(0.0, world.ask("a", "b")) == [Unavailable]
    assert await world.after(0.0, world.ask("b", "a")) == [Unavailable]  # it cannot call either


async def test_a_node_that_moves_is_found_at_its_new_address_only():
    world = World("abc")
    old = world.peer("b")
    world.network.move(world.node["b"].id)
    assert world.peer("b").addresses != old.addresses
    outcomes = await world.after(
        1.0, world.node["a"].transport.request(old, "/echo", b""), world.ask("a", "b"),
        world.node["a"].transport.request(Peer(old.node_id, world.peer("c").addresses), "/echo", b""),
    )  # fmt: skip
    assert outcomes == [Unavailable, b"hello", InvalidSignature]


async def test_errors_travel_and_mistakes_are_kept_for_the_test():
    world = World()

    async def refuse(content):
        raise NotFound("nothing here")

    async def stumble(content):
        return {}["missing"]

    world.node["b"].server.answer = refuse
    assert await world.after(1.0, world.ask("a", "b")) == [NotFound]
    assert world.network.faults == []
    world.node["b"].server.answer = stumble
    assert await world.after(1.0, world.ask("a", "b")) == [InternalError]
    assert [type(fault) for fault in world.network.faults] == [KeyError]


async def test_a_caller_that_gives_up_cancels_the_handler():
    world = World()
    gate = Gate()
    world.node["b"].server.answer = lambda content: gate.wait()
    asked = asyncio.ensure_future(world.ask("a", "b"))
    await world.clock.advance(0.2)
    asked.cancel()
    await world.clock.advance(0.0)
    assert gate.ended == ["cancelled"]


async def run_of(seed):
    world = World("abc", seed, loss=0.2, duplicate=0.2, reorder=0.3, jitter_s=0.05)
    asks = [world.ask(*pair, bytes([n]), timeout_s=2.0) for n in range(20) for pair in ("ab", "bc", "ca")]
    outcomes = await world.after(10.0, *asks)
    return outcomes, list(world.network.history), [node.server.got for node in world.node.values()]


async def test_a_run_follows_from_its_seed():
    assert await run_of(7) == await run_of(7)
    assert await run_of(7) != await run_of(8)


async def test_what_happens_on_a_link_does_not_depend_on_other_links():
    def fates(busy):
        world = World("abc", 3, loss=0.3, jitter_s=1.0)
        found = []
        for _ in range(50):
            found.append(world.network.send(world.node["a"].id, world.node["b"].id, "/x", 1))
            if busy:
                world.network.send(world.node["c"].id, world.node["b"].id, "/x", 1)
        return found

    assert fates(False) == fates(True)


async def test_traffic_is_counted_for_who_sends():
    world = World()
    await world.after(1.0, world.ask("a", "b", b"12345"))
    sent = world.network.traffic[world.node["a"].id]
    assert (sent.messages, sent.requests, sent.bytes) == (1, 1, 5)
    sent = world.network.traffic[world.node["b"].id]
    assert (sent.messages, sent.requests, sent.bytes) == (1, 0, 5)


async def test_a_node_that_only_calls_cannot_be_called():
    world = World()
    key = KeyPair(b"z" * 32)
    caller = FakeTransport(world.network, key.node_id, COMMUNITY, str)
    outcomes = await world.after(
        1.0, caller.request(world.peer("a"), "/echo", b"hi"),
        world.node["a"].transport.request(Peer(key.node_id, (caller.address,)), "/echo", b""),
    )  # fmt: skip
    assert outcomes == [b"hi", Unavailable]
    await caller.close()
    with pytest.raises(HearthNetError):
        await caller.request(world.peer("a"), "/echo", b"hi")
