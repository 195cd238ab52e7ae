"""Urgent events among real logs in virtual time: everywhere within a second, never what is forged (X02)."""

from __future__ import annotations

import asyncio
import random
import secrets

import msgspec

from hearthnet.adapters.loop_fake import LoopClock, run_virtual
from hearthnet.adapters.network_fake import FakeNetwork, Link
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.transport_fake import FakeTransport
from hearthnet.base.config import BusSection
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import CommunityID
from hearthnet.base.ulid import Ulids
from hearthnet.mesh.broadcaster import Broadcaster
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.events import EventLog
from hearthnet.mesh.gossip_queue import PATH
from hearthnet.mesh.peer_record import PeerRecord
from hearthnet.mesh.peer_server import MeshServer
from hearthnet.ports import Peer
from hearthnet.wire.chain import ChainEntry
from hearthnet.wire.gossip_message import Contact, Gossip, encode_messages
from hearthnet.wire.identity import KeyPair
from mesh.log_world import Author, Village, document

FOUNDERS = Village()
CLOCK = LoopClock()


class Node:
    """A log with a broadcaster on the network."""

    def __init__(self, network, number, key):
        self.key = key
        self.log = EventLog(FakeStore(EVENTS_SCHEMA), key, CommunityID(FOUNDERS.founder.key.node_id), CLOCK, bytes)
        self.bus = CapabilityBus(key.node_id, CLOCK, BusSection(), TraceRing(), Metrics())
        self.server = MeshServer(self.bus, self.log, CLOCK)
        new_id = Ulids(CLOCK.now, secrets.token_bytes).new
        self.transport = FakeTransport(network, key.node_id, self.log.community, new_id, self.server)
        self.blamed = []
        here = self.transport.address
        self.broadcaster = Broadcaster(
            Contact(key.node_id, here.host, here.port), self.log, self.transport, CLOCK, random.Random(number).random,
            blame=lambda node_id, why: self.blamed.append((node_id, why)),
        )  # fmt: skip
        self.server.serve(PATH, self.broadcaster.answer)
        self.peer = Peer(key.node_id, (here,))

    async def start(self, others, membership):
        await self.log.open()
        await self.log.receive(membership)
        for other in others:
            if other is not self:
                record = PeerRecord(other.peer, "udp", 0.0, manifest=None, rtt_ms=1.0, last_seen=0.0)
                self.broadcaster.peers("added", record)
        self.task = asyncio.ensure_future(self.broadcaster.run())

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.bus.close()
        await self.log.close()

    async def titles(self):
        pages = self.log.history.by_type("rag.document.ingested")
        return {sealed.data.title async for page in pages for sealed in page}


async def with_nodes(count, work, link=None):
    """Run `work(nodes, network)` in a community of so many nodes."""
    network = FakeNetwork(CLOCK, seed=3, link=link or Link(delay_s=0.01, jitter_s=0.03))
    founders, keys = Village(), [KeyPair(bytes([40 + number]) * 32) for number in range(count)]
    for key in keys:
        founders.events += founders.join(Author(key))
    nodes = [Node(network, number, key) for number, key in enumerate(keys)]
    for node in nodes:
        await node.start(nodes, founders.wires)
    await CLOCK.sleep(5.0)
    try:
        return await work(nodes, network)
    finally:
        for node in nodes:
            await node.stop()


async def share(nodes, title):
    return sum([title in await node.titles() for node in nodes]) / len(nodes)


def test_an_event_is_everywhere_within_a_second():
    async def work(nodes, _):
        await nodes[0].log.append(document(title="flood"))
        await CLOCK.sleep(1.0)
        return await share(nodes, "flood"), [node.blamed for node in nodes if node.blamed]

    assert run_virtual(with_nodes(20, work)) == (1.0, [])


def test_with_a_tenth_of_all_messages_lost_it_is_everywhere_soon():
    async def work(nodes, _):
        await CLOCK.sleep(20.0)
        await nodes[3].log.append(document(title="flood"))
        await CLOCK.sleep(5.0)
        soon = await share(nodes, "flood")
        await CLOCK.sleep(55.0)
        return soon >= 0.95, await share(nodes, "flood")

    assert run_virtual(with_nodes(20, work, Link(delay_s=0.01, loss=0.1))) == (True, 1.0)


def test_everyone_may_speak_at_once():
    async def work(nodes, _):
        await asyncio.gather(
            *(node.log.append(document(number, title=f"d{number}")) for number, node in enumerate(nodes))
        )
        await CLOCK.sleep(5.0)
        return [len(await node.titles()) for node in nodes]

    assert run_virtual(with_nodes(12, work)) == [12] * 12


def test_a_forged_event_goes_nowhere_and_who_sent_it_is_blamed():
    async def work(nodes, _):
        liar, victim = nodes[0], nodes[1]
        sealed = Author(victim.key, lamport=500).seal(document(title="lie"))
        event = msgspec.structs.replace(sealed.event, signature="ed25519:" + "A" * 86)
        forged = Gossip(bytes.fromhex(sealed.hash[7:]), 1, msgspec.json.encode(event))
        await liar.transport.request(nodes[2].peer, PATH, encode_messages((forged,)))
        await CLOCK.sleep(5.0)
        return await share(nodes, "lie"), [node_id for node_id, _ in nodes[2].blamed] == [liar.key.node_id]

    assert run_virtual(with_nodes(4, work)) == (0.0, True)


def test_an_event_under_another_ones_hash_is_refused_and_the_true_one_still_comes():
    async def work(nodes, _):
        liar, author, victim = nodes[:3]
        joined = await victim.log.head_of(author.key.node_id)
        after = ChainEntry(joined.author_epoch, joined.author_seq, joined.hash, 1)
        sealed = Author(author.key, lamport=500).seal(document(title="true"), after=after)
        other = Author(liar.key, lamport=500).seal(document(title="other"))
        swapped = Gossip(bytes.fromhex(sealed.hash[7:]), 1, other.wire)
        await liar.transport.request(victim.peer, PATH, encode_messages((swapped,)))
        true = Gossip(bytes.fromhex(sealed.hash[7:]), 1, sealed.wire)
        await author.transport.request(victim.peer, PATH, encode_messages((true,)))
        await CLOCK.sleep(5.0)
        return "true" in await victim.titles(), len(victim.blamed)

    assert run_virtual(with_nodes(3, work)) == (True, 1)


def test_a_neighbour_that_leaves_is_replaced_and_the_rest_stay_together():
    async def work(nodes, network):
        for node in nodes[:5]:
            network.leave(node.key.node_id)
        await CLOCK.sleep(60.0)
        await nodes[-1].log.append(document(title="after"))
        await CLOCK.sleep(10.0)
        return await share(nodes[5:], "after")

    assert run_virtual(with_nodes(16, work)) == 1.0
