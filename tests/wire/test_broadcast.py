"""Broadcast over the overlay: everyone, soon, about once; mended when nodes die or lie (X02, mesh.md section 8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import FrameMalformed
from hearthnet.wire.broadcast import EVENTS_KEPT_S, HASHES_KEPT_S, MISSING_MAX, Broadcast, Verify
from hearthnet.wire.gossip_message import (
    Disconnect,
    Gossip,
    Graft,
    IHave,
    Prune,
    Send,
    decode_messages,
    encode_messages,
)
from wire.gossip_world import World

FIRST, SECOND = b"1" * 32, b"2" * 32


def warmed(nodes, **options):
    """A world whose overlay has settled and whose trees carried some events."""
    world = World(nodes, **options)
    world.run(20.0)
    for number in range(5):
        world.nodes[0].publish(bytes([number]) * 32, world.now)
        world.run(2.0)
    return world


def test_a_thousand_nodes_get_an_event_about_once_over_few_hops():
    world = warmed(1000)
    before = sum(node.gossips for node in world.nodes)
    world.nodes[0].publish(FIRST, world.now)
    world.run(5.0)
    assert world.share(FIRST) == 1.0
    assert world.redundancy(before) < 0.2
    assert max(world.hops[FIRST]) < 15


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_loss_nearly_all_have_it_in_five_seconds_and_all_in_sixty(seed):
    world = warmed(1000, seed=seed, loss=0.10)
    world.nodes[7].publish(FIRST, world.now)
    world.run(5.0)
    assert world.share(FIRST) >= 0.95
    world.run(55.0)
    assert world.share(FIRST) >= 0.999


def test_when_a_third_dies_the_living_mend_the_tree():
    world = warmed(1000, seed=5)
    world.kill(0.3)
    author = world.living[0]
    author.publish(FIRST, world.now)
    world.run(3.0)
    assert world.share(FIRST) >= 0.95
    world.run(40.0)
    author.publish(SECOND, world.now)
    world.run(10.0)
    assert world.share(SECOND) == 1.0


def test_a_new_neighbour_is_told_of_the_last_events():
    tree = Broadcast()
    tree.publish(FIRST, b"event", 0.0)
    tree.up("a")
    assert tree.tick(0.2) == [Send("a", IHave((FIRST,)))]


@pytest.mark.parametrize("nodes", [1, 2, 3, 8, 14, 16])
def test_small_groups_are_complete(nodes):
    world = World(nodes)
    world.run(5.0)
    world.nodes[0].publish(FIRST, world.now)
    world.run(2.0)
    assert world.share(FIRST) == 1.0


def test_bytes_that_are_not_the_event_do_not_keep_the_event_away():
    tree = Broadcast()
    tree.up("liar")
    tree.up("friend")
    [verify] = tree.receive("liar", Gossip(FIRST, 1, b"forged"), 0.0)
    assert verify == Verify("liar", FIRST, b"forged")
    assert tree.receive("friend", Gossip(FIRST, 1, b"event"), 0.1) == [Send("friend", Prune())]
    assert tree.refuse(FIRST, 0.2) == "liar"
    assert tree.tick(0.2) == [Send("friend", Graft((FIRST,)))]
    assert tree.receive("friend", Gossip(FIRST, 1, b"event"), 0.3) == [Verify("friend", FIRST, b"event")]


def test_nothing_goes_on_before_it_is_verified():
    tree = Broadcast()
    tree.up("a")
    tree.up("b")
    tree.receive("a", Gossip(FIRST, 1, b"event"), 0.0)
    assert tree.receive("b", Graft((FIRST,)), 0.1) == []
    assert tree.accept(FIRST, 0.2) == [Send("b", Gossip(FIRST, 2, b"event"))]


def test_what_the_log_knows_already_goes_no_further():
    tree = Broadcast()
    tree.up("a")
    tree.up("b")
    tree.receive("a", Gossip(FIRST, 1, b"event"), 0.0)
    tree.know(FIRST)
    assert tree.accept(FIRST, 0.1) == []
    assert tree.receive("b", Gossip(FIRST, 1, b"event"), 0.2) == [Send("b", Prune())]


def test_an_announced_event_that_does_not_come_is_fetched_from_one_after_the_other():
    tree = Broadcast()
    tree.up("a")
    tree.up("b")
    tree.receive("a", IHave((FIRST,)), 0.0)
    tree.receive("b", IHave((FIRST,)), 0.1)
    assert tree.tick(0.3) == []
    assert tree.tick(0.4) == [Send("a", Graft((FIRST,)))]
    assert tree.tick(0.61) == [Send("b", Graft((FIRST,)))]
    assert tree.tick(0.9) == []
    assert tree.tick(1.8) == [Send("a", Graft((FIRST,)))]
    for at in range(2, 60):
        tree.tick(float(at))
    assert tree.due_at() is None


def test_a_node_that_wrongly_takes_us_for_a_neighbour_is_told_so_and_its_event_taken():
    tree = Broadcast()
    told = Send("other", Disconnect())
    assert tree.receive("other", Gossip(FIRST, 1, b"event"), 0.0) == [told, Verify("other", FIRST, b"event")]
    assert tree.receive("other", Gossip(FIRST, 1, b"event"), 0.0) == [told]
    assert tree.receive("other", IHave((SECOND,)), 0.0) == [told]
    assert tree.due_at() is None


def test_a_neighbour_that_left_is_not_asked():
    tree = Broadcast()
    tree.up("a")
    tree.receive("a", IHave((FIRST,)), 0.0)
    tree.down("a")
    assert tree.tick(1.0) == []


def test_announcements_of_what_does_not_exist_are_bounded():
    tree = Broadcast()
    tree.up("a")
    for number in range(MISSING_MAX + 500):
        tree.receive("a", IHave((number.to_bytes(32),)), 0.0)
    asked = sum(len(effect.message.hashes) for effect in tree.tick(1.0))
    assert asked == MISSING_MAX


def test_events_and_hashes_are_forgotten_in_time():
    tree = Broadcast()
    tree.up("a")
    tree.publish(FIRST, b"event", 0.0)
    tree.tick(EVENTS_KEPT_S + 1)
    assert tree.receive("a", Graft((FIRST,)), EVENTS_KEPT_S + 1) == []
    assert tree.publish(FIRST, b"event", EVENTS_KEPT_S + 2) == []
    tree.tick(HASHES_KEPT_S + 1)
    assert tree.publish(FIRST, b"event", HASHES_KEPT_S + 2) == [Send("a", Gossip(FIRST, 1, b"event"))]


@given(st.binary(max_size=200))
def test_garbage_is_refused(data):
    try:
        messages = decode_messages(data)
    except FrameMalformed:
        return
    assert decode_messages(encode_messages(messages)) == messages
