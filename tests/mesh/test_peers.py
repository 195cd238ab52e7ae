"""Neighbours found by hints, believed by signed manifests, dropped when silent or removed (M02)."""

from __future__ import annotations

import asyncio

import pytest

from hearthnet.adapters.announcer_fake import FakeAnnouncer, FakeLink
from hearthnet.adapters.network_fake import Link
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.base.types import TrustLevel
from hearthnet.mesh import peer_schema
from hearthnet.mesh.discovery import Discovery
from hearthnet.mesh.peer_schema import KnownPeers
from hearthnet.mesh.peers import STRANGERS_MAX, TARGETS_MAX, PeerRegistry
from hearthnet.ports import Address, Peer, Sighting
from hearthnet.wire.discovery import Hint
from hearthnet.wire.identity import KeyPair
from mesh.neighbourhood import COMMUNITY, Village

NOWHERE = Address("10.9.9.9", 7080)


class Box:
    """A node of the village with discovery on a link."""

    def __init__(self, village, link, name, known=None):
        self.village, self.node = village, village.add(name)
        self.changes = []
        self.registry = PeerRegistry(
            self.node.node_id, COMMUNITY, village.members, self.node.transport, village.clock, known
        )  # fmt: skip
        self.registry.subscribe(lambda change, record: self.changes.append((change, record.node_id)))
        self.announcer = FakeAnnouncer(link, self.node.transport.address.host)
        dice = iter(range(10**9))
        self.offers = ["rag.query"]
        self.discovery = Discovery(
            self.node.node_id, COMMUNITY, lambda: 7080, lambda: self.offers, self.registry, [self.announcer],
            village.clock, lambda: next(dice) * 0.618 % 1,
        )  # fmt: skip
        self.tasks = []

    def start(self):
        self.tasks = [asyncio.ensure_future(self.registry.run()), asyncio.ensure_future(self.discovery.run())]

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def known(self):
        return {record.node_id for record in self.registry.peers()}


@pytest.fixture
async def street():
    """A village with a link; `street.add(name)` starts a box."""
    village, link, boxes = Village(), FakeLink(), []

    class Street:
        pass

    def add(name, known=None):
        box = Box(village, link, name, known)
        box.start()
        boxes.append(box)
        return box

    made = Street()
    made.village, made.link, made.add = village, link, add
    yield made
    for box in boxes:
        await box.stop()
    await village.close()


async def test_boxes_find_each_other_without_any_address(street):
    one, two, three = (street.add(name) for name in ("one", "two", "three"))
    await street.village.clock.advance(10.0)
    assert one.known() == {two.node.node_id, three.node.node_id}
    assert two.known() == {one.node.node_id, three.node.node_id}
    record = one.registry.find(two.node.node_id)
    assert record.peer.addresses[0] == two.node.transport.address
    assert record.source == "udp"


async def test_no_announcement_carries_a_name(street):
    street.add("one")
    await street.village.clock.advance(10.0)
    assert all(hint == Hint(hint.node, COMMUNITY, 7080, ("rag.query",), hint.rev) for _, hint in street.link.history)


async def test_a_box_that_falls_silent_is_dropped_and_comes_back(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(10.0)
    street.village.network.split([one.node.node_id], [two.node.node_id])
    street.link.is_up = False
    await street.village.clock.advance(120.0)
    assert one.known() == set()
    assert ("removed", two.node.node_id) in one.changes
    street.village.network.heal()
    street.link.is_up = True
    await street.village.clock.advance(20.0)
    assert one.known() == {two.node.node_id}


async def test_offline_silence_counts_sooner(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(10.0)
    one.registry.is_offline = True
    street.village.network.split([one.node.node_id], [two.node.node_id])
    await street.village.clock.advance(65.0)
    assert one.known() == set()


async def test_a_neighbour_is_kept_fresh_so_that_it_stays_a_candidate(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(300.0)
    now = street.village.clock.monotonic()
    assert now - one.registry.find(two.node.node_id).last_seen < 30.0


async def test_a_hint_alone_makes_nobody_a_neighbour(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(10.0)
    forged = KeyPair(b"f" * 32).node_id
    street.village.members.levels[forged] = TrustLevel.MEMBER
    one.registry.sight(Sighting(Hint(forged, COMMUNITY, 7080), (two.node.transport.address,), "udp"))
    await street.village.clock.advance(5.0)
    assert one.known() == {two.node.node_id}


async def test_strangers_are_named_but_never_neighbours(street):
    one, two = street.add("one"), street.add("two")
    del street.village.members.levels[two.node.node_id]
    await street.village.clock.advance(10.0)
    assert one.known() == set()
    assert [record.node_id for record in one.registry.strangers()] == [two.node.node_id]
    street.village.members.levels[two.node.node_id] = TrustLevel.MEMBER
    one.registry.judge_again()
    await street.village.clock.advance(2.0)
    assert one.known() == {two.node.node_id}


async def test_a_removed_member_is_dropped_at_once(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(10.0)
    street.village.members.removed.add(two.node.node_id)
    one.registry.judge_again()
    assert one.known() == set()
    await street.village.clock.advance(30.0)
    assert one.known() == set()


async def test_a_box_that_moved_is_reached_at_its_new_address(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(10.0)
    two.announcer.host = street.village.network.move(two.node.node_id).host
    two.announcer.moved = True
    await street.village.clock.advance(60.0)
    assert one.registry.find(two.node.node_id).peer.addresses[0].host == two.announcer.host


async def test_a_changed_offer_is_fetched_soon(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(200.0)
    two.offers = ["rag.query", "llm.chat"]
    before = one.changes.count(("updated", two.node.node_id))
    await street.village.clock.advance(8.0)
    assert one.changes.count(("updated", two.node.node_id)) > before


async def test_met_neighbours_are_asked_again_after_a_restart_without_any_announcement(street):
    store = FakeStore(peer_schema.MIGRATIONS)
    one, two = street.add("one", KnownPeers(store)), street.add("two")
    await street.village.clock.advance(10.0)
    await one.stop()
    street.link.is_up = False
    again = Box(street.village, street.link, "one", KnownPeers(store))
    again.start()
    await street.village.clock.advance(5.0)
    assert again.known() == {two.node.node_id}
    assert again.registry.find(two.node.node_id).source == "known"
    await again.stop()
    await store.close()


async def test_forged_hints_cost_bounded_memory_and_members_go_first(street):
    one, two = street.add("one"), street.add("two")
    for number in range(2000):
        forged = KeyPair(number.to_bytes(32)).node_id
        one.registry.sight(Sighting(Hint(forged, COMMUNITY, 7080), (NOWHERE,), "udp"))
    one.registry.suggest([two.node.peer], "manual")
    assert len(one.registry._all()) <= TARGETS_MAX
    await street.village.clock.advance(3.0)
    assert one.known() == {two.node.node_id}


async def test_strangers_are_few(street):
    one = street.add("one")
    for number in range(STRANGERS_MAX + 8):
        stranger = street.village.add(f"s{number}")
        del street.village.members.levels[stranger.node_id]
        one.registry.suggest([stranger.peer], "udp")
    await street.village.clock.advance(30.0)
    assert len(one.registry.strangers()) == STRANGERS_MAX


async def test_two_hundred_neighbours_are_asked_a_few_times_a_second(street):
    one = street.add("one")
    others = [street.village.add(f"n{number}", serves=False) for number in range(200)]
    for other in others:
        other.bus.entries()
    one.registry.suggest([other.peer for other in others], "udp")
    await street.village.clock.advance(60.0)
    assert len(one.known()) == 200
    before = street.village.network.traffic[one.node.node_id].requests
    await street.village.clock.advance(100.0)
    assert (street.village.network.traffic[one.node.node_id].requests - before) / 100.0 <= 5.0
    assert len(one.known()) == 200


async def test_a_neighbour_without_an_answer_is_asked_ever_more_rarely(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(10.0)
    street.village.network.connect(one.node.node_id, two.node.node_id, Link(loss=1.0))
    await street.village.clock.advance(25.0)
    record = one.registry.find(two.node.node_id)
    record.last_seen += 10_000.0
    asked = street.village.network.traffic[one.node.node_id].requests
    await street.village.clock.advance(600.0)
    assert street.village.network.traffic[one.node.node_id].requests - asked <= 22


async def test_a_neighbour_that_calls_us_is_alive(street):
    one, two = street.add("one"), street.add("two")
    await street.village.clock.advance(10.0)
    record = one.registry.find(two.node.node_id)
    street.village.network.split([one.node.node_id], [two.node.node_id])
    for _ in range(20):
        await street.village.clock.advance(10.0)
        one.registry.heard(two.node.node_id)
    assert one.registry.find(two.node.node_id) is record


async def test_whoever_knows_enough_neighbours_stops_asking_the_network(street):
    one = street.add("one")
    await street.village.clock.advance(6.0)
    assert one.announcer.looking
    street.add("two")
    street.add("three")
    await street.village.clock.advance(20.0)
    assert not one.announcer.looking


def test_peers_compare_by_what_they_say():
    assert Peer(COMMUNITY, (NOWHERE,)) == Peer(COMMUNITY, (NOWHERE,))
