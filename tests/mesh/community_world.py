"""Boxes with logs, buses and stores on one network in memory: each begins as a community of one."""

from __future__ import annotations

import asyncio
import itertools

from blake3 import blake3

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.network_fake import FakeNetwork, Link
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.transport_fake import FakeTransport
from hearthnet.base.config import BusSection
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import CommunityID, TrustLevel
from hearthnet.base.ulid import Ulids
from hearthnet.capabilities.admission import Admissions
from hearthnet.capabilities.community import Community
from hearthnet.mesh import invitations, proposals
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Caller
from hearthnet.mesh.community_desk import CommunityDesk
from hearthnet.mesh.event_history import Position
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.events import EventLog, create_community
from hearthnet.mesh.invitations import Invitations
from hearthnet.mesh.joining import Joining
from hearthnet.mesh.members import Members
from hearthnet.mesh.peer_server import MeshServer
from hearthnet.ports import Peer
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.manifest import Endpoint, NodeManifest, sign_node_manifest

NOW = Link(delay_s=0.0)
OWN = Caller(None, TrustLevel.SELF, "people")


class Parts:
    """What the two capabilities read of `Services`."""

    def __init__(self, desk):
        self.community = desk


class House:
    """One box and its people; `start` again after it moved."""

    def __init__(self, town, name):
        self.town, self.name = town, name
        self.key = KeyPair(name.encode().ljust(32, b"."))
        self.node_id = self.key.node_id
        self.community = CommunityID(self.node_id)
        self.logs, self.stores = {}, {}
        self.store = FakeStore((*proposals.MIGRATIONS, *invitations.MIGRATIONS))
        self.bus = None

    async def start(self):
        if self.bus is not None:
            await self.bus.close()
        clock = self.town.clock
        self.log = await self.open(self.community)
        if not self.log.members.community_name and self.community == self.node_id:
            await create_community(self.log, f"{self.name} alone")
        self.bus = CapabilityBus(self.node_id, clock, BusSection(), TraceRing(), Metrics())
        self.server = MeshServer(self.bus, self.log, clock, self.write_manifest)
        new_id = Ulids(clock.now, self.town.random_bytes).new
        self.transport = FakeTransport(self.town.network, self.node_id, self.community, new_id, self.server)
        self.members = Members(self.log, self.key, self.store, clock, self.transport, self.neighbours)
        self.desk = CommunityDesk(
            self.log, self.members,
            Invitations(self.log, self.key, self.store, clock, self.town.random_bytes, self.endpoints),
            Joining(self.node_id, self.community, self.name, self.transport, self), lambda: "http://10.0.0.1:7860",
        )  # fmt: skip
        for kind in (Community, Admissions):
            self.bus.register(kind(Parts(self.desk)))
        return self

    async def call(self, name, **fields):
        return await self.bus.call(f"community.{name}@1.0", None, fields, caller=OWN)

    def level(self, other):
        return self.log.members.membership.level(other.node_id).label

    def neighbours(self):
        return [other.peer for other in self.town.houses if other is not self and other.community == self.community]

    @property
    def peer(self):
        return Peer(self.node_id, (self.transport.address,))

    def endpoints(self):
        return [Endpoint("https", self.transport.address.host, self.transport.address.port)]

    def write_manifest(self, challenge, reached_at):
        manifest = NodeManifest(
            node_id=self.node_id, display_name=self.name, community_id=self.community, profile="hearth", challenge=challenge,
        )  # fmt: skip
        return sign_node_manifest(self.key, manifest, self.town.clock.now())

    # ---- Residence

    async def open(self, community):
        if community not in self.logs:
            store = self.stores.setdefault(community, FakeStore(EVENTS_SCHEMA))
            self.logs[community] = EventLog(store, self.key, community, self.town.clock, self.town.random_bytes)
            await self.logs[community].open()
        return self.logs[community]

    async def describe(self, community):
        return {"node_id": self.node_id}

    async def move(self, community):
        self.community = community

    async def close(self):
        await self.transport.close()
        await self.bus.close()
        for log in self.logs.values():
            await log.close()


class Town:
    """The network and its houses."""

    def __init__(self, link=NOW):
        self.clock = FakeClock()
        self.network = FakeNetwork(self.clock, link=link)
        self.houses = []
        self._draws = itertools.count(1)

    def random_bytes(self, count):
        return blake3(next(self._draws).to_bytes(8)).digest(count)

    async def build(self, *names):
        for name in names:
            self.houses.append(await House(self, name).start())
        return self.houses[-len(names) :]

    async def join(self, host, *guests):
        for guest in guests:
            invitation = await host.call("invite")
            await guest.call("redeem", invite=invitation.invite_blob)
            await guest.start()
        await self.gossip()

    async def gossip(self):
        """Every house of a community hears every event that another has."""
        for one in self.houses:
            for other in self.houses:
                if one.community == other.community and one is not other:
                    found = [sealed async for page in pages(other.log) for sealed in page]
                    await one.log.receive([sealed.wire for sealed in found])

    async def gossip_between(self, *houses):
        """Only these hear of each other."""
        for one in houses:
            for other in houses:
                found = [sealed async for page in pages(other.log) for sealed in page]
                await one.log.receive([sealed.wire for sealed in found])

    async def clock_runs(self, work):
        """The result of work that waits for virtual time."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self.clock.advance(0.5)
        return await task

    async def close(self):
        for house in self.houses:
            await house.close()


async def pages(log):
    at = Position()
    while True:
        page, at = await log.history.page(at)
        if not page:
            return
        yield page
