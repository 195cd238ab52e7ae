"""Which entry gets a call: here, at which neighbour, or nobody and why."""

import pytest

from hearthnet.base import errors
from hearthnet.base.config import BusSection
from hearthnet.base.types import NodeID
from hearthnet.mesh.capability import Capability, Offer, offered_by
from hearthnet.mesh.router import score_of
from mesh.samples import HERE, ME, THERE, AskOutput, Library, World, turns

ELSEWHERE = NodeID("ed25519:" + "C" * 43)


def neighbour(world, node_id, *, offer=None):
    """A neighbour's `rag.query`; its handler stands for the call over the network."""

    async def send(call, params, request):
        return AskOutput(node_id[-1] + ":" + request.query)

    descriptor = offered_by(Library())[0].descriptor
    return world.bus.attach(Capability(descriptor, send, offer), node_id)


async def test_this_node_answers_while_it_is_not_loaded(world):
    neighbour(world, THERE)
    assert await world.ask() == "water"


async def test_a_neighbour_answers_when_this_node_is_loaded(world):
    neighbour(world, THERE)
    world.entry("rag.query@1.0").in_flight = 2
    assert await world.ask() == "B:water"
    event = world.traces.recent(1)[0]
    assert (event.to_node, event.is_local) == (THERE, False)


async def test_without_preference_the_lowest_score_wins():
    world = World(BusSection(prefer_local=False))
    fast, slow = neighbour(world, THERE), neighbour(world, ELSEWHERE)
    fast.health.succeed(20.0, probe=False)
    slow.health.succeed(900.0, probe=False)
    assert await world.ask() == "B:water"  # 20 against 900 and against 500 - 50 of this node, unknown
    fast.in_flight = 1
    assert score_of(fast) == 20.0 * 1.5
    for _ in range(2):
        fast.health.fail(errors.EngineDied(), 20.0, 0.0, probe=False)
    assert score_of(fast) == pytest.approx(20.0 * 1.5 + 500.0)
    assert await world.ask() == "water"  # half of its calls fail: 530 against 450


async def test_a_neighbour_not_heard_of_for_a_minute_is_no_candidate(world):
    other = neighbour(world, THERE)
    world.entry("rag.query@1.0").in_flight = 2
    await world.clock.advance(61)
    with pytest.raises(errors.CapacityExceeded):
        await world.ask()
    other.last_seen = world.clock.monotonic()
    assert await world.ask() == "B:water"


async def test_an_entry_that_left_is_not_found_again():
    world = World()
    world.bus.detach(world.entry("rag.query@1.0"))
    with pytest.raises(errors.NotFound):
        await world.ask()


async def test_a_session_stays_where_it_began_until_that_node_leaves_or_ten_minutes_pass(world):
    other = neighbour(world, THERE)
    here = world.bus.entries()[0] if world.bus.entries()[0].node_id == HERE else world.entry("rag.query@1.0")
    here.in_flight = 2
    assert await world.ask(session="s") == "B:water"
    here.in_flight = 0
    assert await world.ask(session="s") == "B:water"
    assert await world.ask(session="another") == "water"
    await world.clock.advance(601)
    other.last_seen = world.clock.monotonic()
    assert await world.ask(session="s") == "water"
    here.in_flight = 2
    assert await world.ask(session="t") == "B:water"
    here.in_flight = 0
    world.bus.detach(other)
    assert await world.ask(session="t") == "water"


async def test_a_session_moves_when_its_node_is_full(world):
    other = neighbour(world, THERE)
    here = next(entry for entry in world.bus.entries() if entry.is_local and entry.capability == "rag.query")
    here.in_flight = 2
    assert await world.ask(session="s") == "B:water"
    here.in_flight, other.in_flight = 0, 2
    assert await world.ask(session="s") == "water"


async def test_params_decide_who_can_serve(world):
    def has_model(offered, requested):
        return requested.get("model", "") in offered["models"]

    here = next(entry for entry in world.bus.entries() if entry.capability == "rag.query")
    here.offer = Offer(lambda: {"models": ["", "small"]}, has_model)
    neighbour(world, THERE, offer=Offer(lambda: {"models": ["large"]}, has_model))

    async def ask(model):
        body = b'{"params":{"model":"%b"},"input":{"query":"w"}}' % model
        return (await world.bus.handle_call("rag.query@1.0", body, caller=ME)).output.text

    assert await ask(b"small") == "w"
    assert await ask(b"large") == "B:w"
    with pytest.raises(errors.NotFound):
        await ask(b"huge")
    with pytest.raises(errors.BadRequest):
        await world.bus.handle_call("rag.query@1.0", b"{", caller=ME)


async def test_a_higher_minor_version_serves_and_is_preferred():
    world = World()
    library = Library()
    capability = offered_by(library)[0]
    name = type(capability.descriptor.name)("rag.query", (1, 3))
    descriptor = type(capability.descriptor)(
        name, *[getattr(capability.descriptor, field) for field in capability.descriptor.__struct_fields__[1:]]
    )
    world.bus.attach(Capability(descriptor, capability.handler), HERE)
    await world.ask(name="rag.query@1.2")
    await world.ask(name="rag.query@1.0")
    assert len(library.calls) == 2
    await turns()
    assert [event.version for event in world.traces.recent(2)] == ["1.3", "1.3"]
