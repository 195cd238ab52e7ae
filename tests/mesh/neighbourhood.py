"""Several nodes in virtual time on a network in memory, each with the sample services and the others' offers attached."""

from __future__ import annotations

import secrets

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.network_fake import FakeNetwork, Link
from hearthnet.adapters.transport_fake import FakeTransport
from hearthnet.base.config import BusSection
from hearthnet.base.errors import Revoked
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import CommunityID, TrustLevel
from hearthnet.base.ulid import Ulids
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Capability, Offer, offered_by
from hearthnet.mesh.peer_server import MeshServer
from hearthnet.mesh.remote import RemoteCapabilities
from hearthnet.mesh.schema import schema_hash
from hearthnet.ports import Peer
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.manifest import Endpoint, NodeManifest, OfferedCapability, sign_node_manifest
from mesh.samples import Library, Talker

COMMUNITY = CommunityID(KeyPair(b"c" * 32).node_id)


class Members:
    """Who belongs; everybody who is not removed."""

    def __init__(self):
        self.levels = {}
        self.removed = set()

    def trust(self, node_id):
        if node_id in self.removed:
            raise Revoked("removed")
        return self.levels.get(node_id, TrustLevel.UNKNOWN)


class Neighbour:
    """One node."""

    def __init__(self, village, name, *, serves=True):
        self.key, self.village = KeyPair(name.encode().ljust(32, b".")), village
        self.node_id, self.community, self.members = self.key.node_id, COMMUNITY, village.members
        self.members.levels[self.node_id] = TrustLevel.MEMBER
        self.library, self.traces = Library(), TraceRing()
        self.bus = CapabilityBus(self.node_id, village.clock, BusSection(), self.traces, Metrics())
        if serves:
            self.bus.register(self.library)
            self.bus.register(Talker(self.library))
        self.params = {}
        self.server = MeshServer(self.bus, self, village.clock, self.write_manifest)
        new_id = Ulids(village.clock.now, secrets.token_bytes).new
        self.transport = FakeTransport(village.network, self.node_id, COMMUNITY, new_id, self.server)
        self.remote = RemoteCapabilities(self.bus, self.transport, village.clock, village.declared)

    @property
    def peer(self):
        return Peer(self.node_id, (self.transport.address,))

    def write_manifest(self, challenge, reached_at):
        entries = [entry for entry in self.bus.entries() if entry.is_local]
        offered = tuple(
            OfferedCapability(
                entry.capability, entry.version, "beta", schema_hash(entry.descriptor),
                self.params.get(entry.capability, {}), entry.descriptor.max_concurrent,
            )
            for entry in entries
        )  # fmt: skip
        manifest = NodeManifest(
            node_id=self.node_id, display_name="", community_id=COMMUNITY, profile="hearth", capabilities=offered,
            challenge=challenge, uptime_seconds=int(self.village.clock.monotonic()),
            endpoints=(Endpoint("https", reached_at.host, reached_at.port),),
        )  # fmt: skip
        return sign_node_manifest(self.key, manifest, self.village.clock.now())

    async def meet(self, *others):
        """Attach what the others offer now."""
        for other in others:
            self.remote.update(other.peer, await self.transport.manifest(other.peer))


class Village:
    """The network, its clock, and the nodes."""

    def __init__(self):
        self.clock = FakeClock()
        self.network = FakeNetwork(self.clock, link=Link(delay_s=0.0))
        self.members = Members()
        self.nodes = []
        library = Library()
        self.declared = [*map(with_models, offered_by(library)), *offered_by(Talker(library))]

    def add(self, name, **options):
        node = Neighbour(self, name, **options)
        self.nodes.append(node)
        return node

    async def close(self):
        for node in self.nodes:
            await node.transport.close()
            await node.bus.close()


def with_models(declared):
    """`rag.query` as offered for some models only."""

    def compatible(offered, requested):
        return requested.get("model", "") in offered.get("models", [requested.get("model", "")])

    return Capability(declared.descriptor, declared.handler, Offer(dict, compatible))
