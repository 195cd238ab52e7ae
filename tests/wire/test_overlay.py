"""Active views: symmetric, of the right size, connected, mended (HyParView; X02)."""

from __future__ import annotations

import pytest

from hearthnet.base.types import NodeID
from hearthnet.wire.gossip_message import Contact, Disconnect, Neighbor, NeighborReply, Send, Shuffle, ShuffleReply
from hearthnet.wire.overlay import ACTIVE, PASSIVE, SHUFFLE_EVERY_S, Down, Overlay, Up
from wire.gossip_world import World


def contact(number):
    return Contact(NodeID(f"ed25519:{number:043d}"), "10.0.0.1", 7080)


OWN, A, B = contact(0), contact(1), contact(2)


def overlay():
    return Overlay(OWN, lambda: 0.5, 0.0)


def full():
    """A view with all places taken, among many known nodes."""
    made = overlay()
    made.suggest(contact(number) for number in range(1, 30))
    for effect in made.tick(0.0):
        made.receive(made.contact(effect.node_id), NeighborReply(accepted=True), 0.1)
    return made


@pytest.mark.parametrize(("nodes", "loss"), [(100, 0.0), (400, 0.1)])
def test_views_are_symmetric_and_the_graph_is_connected(nodes, loss):
    world = World(nodes, seed=9, loss=loss)
    world.run(60.0)
    active = {node.node_id: set(node.overlay.active) for node in world.nodes}
    if not loss:
        assert all(one in active[other] for one, others in active.items() for other in others)
    assert all(1 <= len(others) <= ACTIVE for others in active.values())
    reached, todo = set(), [world.nodes[0].node_id]
    while todo:
        node_id = todo.pop()
        if node_id not in reached:
            reached.add(node_id)
            todo += active[node_id]
    assert len(reached) == nodes


def test_a_dead_neighbour_is_replaced():
    made = full()
    victim = made.active[0]
    assert made.fail(victim) == [Down(victim)]
    [asked] = made.tick(1.0)
    assert asked.node_id != victim
    assert made.receive(made.contact(asked.node_id), NeighborReply(accepted=True), 1.1) == [Up(asked.node_id)]


def test_whoever_does_not_answer_is_forgotten():
    made = overlay()
    made.suggest([A])
    assert made.tick(0.0) == [Send(A.node_id, Neighbor(urgent=True))]
    made.tick(3.0)
    assert made.contact(A.node_id) is None


def test_a_full_view_refuses_unless_it_is_urgent():
    made = full()
    newcomer = contact(99)
    assert made.receive(newcomer, Neighbor(urgent=False), 1.0) == [
        Send(newcomer.node_id, NeighborReply(accepted=False))
    ]
    effects = made.receive(newcomer, Neighbor(urgent=True), 1.0)
    assert Up(newcomer.node_id) in effects
    assert effects[-1] == Send(newcomer.node_id, NeighborReply(accepted=True))
    assert [type(effect.message) for effect in effects if isinstance(effect, Send)] == [Disconnect, NeighborReply]
    assert len(made.active) == ACTIVE


def test_a_refusal_is_respected_for_a_while():
    made = overlay()
    made.suggest([A])
    made.tick(0.0)
    made.receive(A, NeighborReply(accepted=False), 0.1)
    assert made.tick(10.0) == []
    assert made.tick(40.0) == [Send(A.node_id, Neighbor(urgent=True))]


def test_an_answer_that_comes_too_late_is_taken_back():
    made = overlay()
    assert made.receive(A, NeighborReply(accepted=True), 0.0) == [Send(A.node_id, Disconnect())]
    assert made.receive(A, NeighborReply(accepted=False), 0.0) == []


def test_both_asking_at_once_is_one_link():
    made = overlay()
    made.suggest([A])
    made.tick(0.0)
    assert made.receive(A, Neighbor(urgent=True), 0.1) == [
        Up(A.node_id), Send(A.node_id, NeighborReply(accepted=True)),
    ]  # fmt: skip
    assert made.receive(A, NeighborReply(accepted=True), 0.2) == []
    assert made.active == (A.node_id,)


def test_a_silent_neighbour_is_found_out_although_nothing_is_sent_to_it():
    made = overlay()
    made.receive(A, Neighbor(urgent=True), 0.0)
    assert Send(A.node_id, Neighbor(urgent=False)) in made.tick(5.0)
    assert Down(A.node_id) in made.tick(8.0)


def test_a_neighbour_that_no_longer_thinks_so_is_released():
    made = overlay()
    made.receive(A, Neighbor(urgent=True), 0.0)
    made.tick(5.0)
    assert made.receive(A, NeighborReply(accepted=True), 5.1) == []
    made.tick(10.0)
    assert made.receive(A, NeighborReply(accepted=False), 10.1) == [Down(A.node_id)]


def test_a_disconnected_node_stays_in_reserve():
    made = overlay()
    made.receive(A, Neighbor(urgent=True), 0.0)
    assert made.receive(A, Disconnect(), 1.0) == [Down(A.node_id)]
    assert made.contact(A.node_id) == A
    assert made.receive(A, Disconnect(), 1.0) == []


def test_shuffles_walk_and_are_answered_at_their_end():
    made = overlay()
    made.receive(A, Neighbor(urgent=True), 0.0)
    made.receive(B, Neighbor(urgent=True), 0.0)
    far = contact(50)
    walk = Shuffle(far, 3, (contact(51),))
    [onward] = made.receive(A, walk, 1.0)
    assert onward == Send(B.node_id, Shuffle(far, 2, (contact(51),)))
    [answer] = made.receive(A, Shuffle(far, 0, (contact(51),)), 1.0)
    assert answer.node_id == far.node_id
    assert set(answer.message.contacts) == {A, B}
    assert made.contact(contact(51).node_id) == contact(51)
    assert made.contact(far.node_id) == far


def test_a_shuffle_is_begun_every_minute_or_so():
    made = overlay()
    made.receive(A, Neighbor(urgent=True), 0.0)
    walks = []
    for at in range(600):
        effects = made.tick(float(at))
        walks += [effect for effect in effects if isinstance(effect.message, Shuffle)]
        made.receive(A, NeighborReply(accepted=True), float(at))
    assert 600 / SHUFFLE_EVERY_S / 1.5 <= len(walks) <= 600 / SHUFFLE_EVERY_S * 2 + 1


def test_a_view_never_holds_itself_nor_more_than_its_reserve():
    made = overlay()
    made.suggest([OWN, *(contact(number) for number in range(1, 200))])
    made.receive(A, ShuffleReply(tuple(contact(number) for number in range(300, 310))), 0.0)
    assert made.contact(OWN.node_id) is None
    assert sum(made.contact(contact(number).node_id) is not None for number in range(400)) == PASSIVE


def test_a_neighbour_that_moved_is_known_at_its_new_place():
    made = overlay()
    made.receive(A, Neighbor(urgent=True), 0.0)
    moved = Contact(A.node_id, "10.0.0.77", 7080)
    made.suggest([moved])
    assert made.contact(A.node_id) == moved
