"""Partners that break the rules: nothing false is stored, the cost is bounded, and in the end they are banned (X02)."""

from __future__ import annotations

import asyncio
import copy
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearthnet.base.constants import LAMPORT_MAX_JUMP
from hearthnet.base.errors import BadRequest, CallTimeout, RateLimited
from hearthnet.mesh import sync_session
from hearthnet.mesh.standing import ALLOWANCE_BYTES, BAN_MAX_S, BAN_S, PARTNERS_MAX, Standing
from hearthnet.mesh.sync_server import EVENTS_PATH, FETCH_PATH, RECONCILE_PATH
from hearthnet.mesh.sync_session import SESSION_MAX_S
from hearthnet.wire.community import CommunityPolicy, PolicyUpdated
from hearthnet.wire.negentropy import FINGERPRINT, ID_LIST, INFINITY, Range, decode_message, encode_message
from hearthnet.wire.reconcile import Wanted
from hearthnet.wire.sync_message import (
    EventsReceipt,
    decode_events,
    decode_receipt,
    encode_events,
    encode_receipt,
    encode_wanted,
    key_of_wire,
)
from mesh.log_world import COMMUNITY, Author, document
from mesh.sync_world import SyncNode, Town, key_named


@pytest.fixture
async def town():
    made = await Town().settle("founder", "anna", "mallory")
    yield made
    await made.close()


async def push(town, wires, **changes):
    mallory, anna = town.nodes["mallory"], town.nodes["anna"]
    body = encode_events(changes.get("community", COMMUNITY), wires)
    return decode_receipt(await mallory.transport.request(anna.peer, EVENTS_PATH, body))


async def store_unchecked(node, sealed):
    """Put an event on the node's disk that its own log would refuse."""
    event = sealed.event

    def run(tx):
        for text in (event.author, event.event_type):
            tx.execute("INSERT OR IGNORE INTO names (text) VALUES (?)", (text,))
        tx.execute(
            "INSERT INTO events (hash, lamport, event_id, author, author_epoch, author_seq, event_type, received_at, wire)"
            " VALUES (?, ?, ?, (SELECT id FROM names WHERE text = ?), 0, ?, (SELECT id FROM names WHERE text = ?), 0, ?)",
            (
                bytes.fromhex(sealed.hash[7:]), event.lamport, event.event_id, event.author, event.author_seq,
                event.event_type, sealed.wire,
            ),
        )  # fmt: skip

    await node.store.transact(run)


# ---- false events -------------------------------------------------------------------------------------------------


def forged(town):
    wire = town.authors["anna"].seal(document(1)).wire
    at = wire.index(b'"signature":"ed25519:') + 30
    return wire[:at] + (b"A" if wire[at : at + 1] != b"A" else b"B") + wire[at + 1 :]


def changed(town):
    return town.authors["anna"].seal(document(1)).wire.replace(b"Document 1", b"Document 2")


def unsigned(town):
    wire = town.authors["anna"].seal(document(1)).wire
    start = wire.index(b',"signature":"')
    return wire[:start] + wire[wire.index(b'"', start + 14) + 1 :]


def with_an_empty_signature(town):
    wire = town.authors["anna"].seal(document(1)).wire
    start = wire.index(b'"signature":"') + 13
    return wire[:start] + wire[wire.index(b'"', start) :]


def mallory_in(town):
    """A copy, so that one false event does not follow another."""
    return copy.copy(town.authors["mallory"])


def of_another_community(town):
    return mallory_in(town).seal(document(1), community_id=key_named("elsewhere").node_id).wire


def of_a_stranger(town):
    return Author(key_named("stranger"), lamport=50).seal(document(1)).wire


def written_before_joining(town):
    return Author(key_named("mallory")).seal(document(1)).wire


def back_dated_in_the_chain(town):
    author = mallory_in(town)
    return author.seal(document(1), lamport=author.last.lamport).wire


def with_a_huge_time(town):
    return mallory_in(town).seal(document(1), lamport=2 * LAMPORT_MAX_JUMP).wire


def no_event(town):
    return b'{"community_id":"%s","lamport":3,"signature":""}' % COMMUNITY.encode()


def not_canonical(town):
    return mallory_in(town).seal(document(1)).wire.replace(b'":', b'": ', 1)


HISTORIES = int(os.environ.get("HEARTHNET_HISTORIES", "25"))
FALSE = [
    forged, changed, unsigned, with_an_empty_signature, of_another_community, of_a_stranger, written_before_joining,
    back_dated_in_the_chain, with_a_huge_time, no_event, not_canonical,
]  # fmt: skip


@pytest.mark.parametrize("make", FALSE)
async def test_no_false_event_is_stored_and_the_sender_loses_standing(town, make):
    anna, mallory = town.nodes["anna"], town.nodes["mallory"]
    before = await anna.hashes()
    try:
        receipt = await push(town, [make(town)])
        assert (receipt.accepted, receipt.rejected) == (0, 1)
    except BadRequest:
        assert make in (unsigned, of_another_community)
    assert await anna.hashes() == before
    assert len(anna.index.keys) == len(before)
    assert anna.standing.points(mallory.key.node_id) > 0 or anna.bans
    assert bool(anna.bans) == (make in (forged, changed))


async def test_replayed_events_change_nothing_and_are_not_even_checked(town):
    anna, mallory = town.nodes["anna"], town.nodes["mallory"]
    own = (await mallory.write(1)).wire
    assert (await push(town, [own, own])).accepted == 1
    before = await anna.hashes()
    for _ in range(5):
        assert (await push(town, [own] * 50)).rejected == 0
    assert await anna.hashes() == before
    assert anna.standing.points(mallory.key.node_id) == 0


@given(data=st.data())
@settings(max_examples=HISTORIES)
def test_among_true_events_no_false_one_is_stored(data):
    async def run():
        town = await Town().settle("founder", "anna", "mallory")
        anna, mallory = town.nodes["anna"], town.nodes["mallory"]
        true = {(await mallory.write(number)).hash for number in range(3)}
        batch = [sealed.wire for sealed in await mallory.log.history.at(mallory.key.node_id, 2)]
        batch += [make(town) for make in data.draw(st.lists(st.sampled_from(FALSE), max_size=6))]
        batch = data.draw(st.permutations(batch))
        before = await anna.hashes()
        try:
            await push(town, batch)
        except (BadRequest, RateLimited):
            assert await anna.hashes() == before
        assert await anna.hashes() - before <= true
        await town.close()

    asyncio.run(run())


async def test_what_we_refuse_is_sent_once_and_again_when_members_change(town):
    """A partner may hold by right what we refuse, because it knows other members."""
    anna, mallory = town.nodes["anna"], town.nodes["mallory"]
    strange = Author(key_named("newcomer"), lamport=2).seal(document(1))
    await store_unchecked(mallory, strange)
    await mallory.crash()
    first = await anna.sync(mallory)
    assert (first.complete, first.pulled) == (True, 0)
    points = anna.standing.points(mallory.key.node_id)
    assert 0 < points <= 1
    for one, two in ((anna, mallory), (mallory, anna)):
        result = await one.sync(two)
        assert (result.complete, result.rounds, result.pulled + result.pushed) == (True, 1, 0)
    assert anna.standing.points(mallory.key.node_id) == points
    await town.nodes["founder"].log.append(PolicyUpdated(CommunityPolicy(default_member_can_invite=False)))
    await anna.sync(town.nodes["founder"])
    assert (await anna.sync(mallory)).received_bytes > len(strange.wire)


# ---- partners that ask ----------------------------------------------------------------------------------------------


async def test_garbage_is_refused_and_then_nothing_is_answered(town):
    anna, mallory = town.nodes["anna"], town.nodes["mallory"]
    for path, content in ((RECONCILE_PATH, b"\x61\xff"), (FETCH_PATH, b"junk")):
        with pytest.raises(BadRequest):
            await mallory.transport.request(anna.peer, path, content)
    assert [ban[0] for ban in anna.bans] == [mallory.key.node_id]
    with pytest.raises(RateLimited):
        await mallory.sync(anna)
    await town.clock.advance(BAN_S)
    assert (await mallory.sync(anna)).complete


async def test_pushed_garbage_costs_standing(town):
    anna, mallory = town.nodes["anna"], town.nodes["mallory"]
    with pytest.raises(BadRequest):
        await mallory.transport.request(anna.peer, EVENTS_PATH, b"{}")
    assert anna.standing.points(mallory.key.node_id) > 0


async def test_a_message_that_is_too_long_is_not_read(town):
    with pytest.raises(BadRequest, match="at most"):
        await town.nodes["mallory"].transport.request(town.nodes["anna"].peer, RECONCILE_PATH, b"\x61" * 500_000)


FLOOD_BYTES = 1_000_000


async def test_a_flood_of_questions_is_cut_off(town):
    anna, mallory = town.nodes["anna"], town.nodes["mallory"]
    anna.standing.charge(mallory.key.node_id, ALLOWANCE_BYTES - FLOOD_BYTES)
    many = encode_message([Range(time.to_bytes(8), FINGERPRINT, bytes(16)) for time in range(5000)])
    await mallory.transport.request(anna.peer, RECONCILE_PATH, many)
    outcomes = await asyncio.gather(
        *(mallory.transport.request(anna.peer, RECONCILE_PATH, many) for _ in range(FLOOD_BYTES // len(many))),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimited)]
    assert refused[0].retry_after_ms > 0
    assert (await anna.sync(town.nodes["founder"])).complete


async def test_what_nobody_knows_is_not_found_wherever_it_is_sought(town):
    mallory, anna = town.nodes["mallory"], town.nodes["anna"]
    wish = encode_wanted([Wanted(b"", (2).to_bytes(8), b"x" * 32), Wanted((5).to_bytes(8), INFINITY, b"y" * 320)])
    assert decode_events(await mallory.transport.request(anna.peer, FETCH_PATH, wish)).wires == []


async def test_one_push_at_a_time_is_taken(town):
    anna, mallory = town.nodes["anna"], town.nodes["mallory"]
    anna.sync_server._pushing.add(mallory.key.node_id)
    with pytest.raises(RateLimited, match="earlier push"):
        await push(town, [(await mallory.write(1)).wire])


# ---- partners that are asked ----------------------------------------------------------------------------------------


class Liar:
    """Answers as told; what it is not told it answers honestly."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def attach(self, node):
        self.honest = node.sync_server

    def __getattr__(self, name):
        async def answer(caller, content):
            self.asked.append(name)
            if name in self.answers:
                return self.answers[name](content)
            return await getattr(self.honest, name)(caller, content)

        return answer


async def enter(town, **answers):
    liar = Liar(**answers)
    await town.nodes["mallory"].transport.close()
    await town.nodes["mallory"].close()
    node = town.nodes["mallory"] = await SyncNode(town, "mallory").start(liar)
    await node.log.receive([sealed.wire for sealed in town.events])
    liar.attach(node)
    return liar


def different_everywhere(content):
    """Split what was asked, with fingerprints that never match."""
    ranges = [item for item in decode_message(content) if item.mode]
    return encode_message([Range(item.upper, FINGERPRINT, b"never the same..") for item in ranges])


def named(count):
    return encode_message([Range(INFINITY, ID_LIST, b"".join(at.to_bytes(32) for at in range(count)))])


def unwanted(town):
    return encode_events(COMMUNITY, [town.authors["mallory"].seal(document(1)).wire])


LIES = {
    "garbage": {"reconcile": lambda _: b"\x61\xff\xff"},
    "empty": {"reconcile": lambda _: b""},
    "endless": {"reconcile": different_everywhere},
    "huge": {"reconcile": lambda _: bytes([0x61]) + b"\x01\x00\x00" * 200_000},
    "withheld": {"reconcile": lambda _: named(1000), "fetch": lambda _: encode_events(COMMUNITY, [])},
    "unreadable events": {"reconcile": lambda _: named(10), "fetch": lambda _: b"[]"},
    "not events": {"reconcile": lambda _: named(10), "fetch": lambda _: encode_events(COMMUNITY, [b"{}"])},
    "unwanted events": {"reconcile": lambda _: named(10)},
    "no receipt": {"reconcile": lambda _: named(0), "receive": lambda _: b"thanks"},
    "choosy": {
        "reconcile": lambda _: named(0),
        "receive": lambda body: encode_receipt(EventsReceipt(1, 3, (), 9)),
    },
    "forgetful": {
        "reconcile": lambda _: named(0),
        "receive": lambda body: encode_receipt(EventsReceipt(len(decode_events(body).events), 0, (), 9)),
    },
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lying_partner_is_banned_after_a_bounded_effort(town, lie):
    answers = LIES[lie]
    if lie == "unwanted events":
        answers = {**answers, "fetch": lambda _: unwanted(town)}
    anna = town.nodes["anna"]
    await anna.log.append_all([document(number) for number in range(60)])
    liar = await enter(town, **answers)
    mallory = town.nodes["mallory"]
    before = await anna.hashes()
    sessions = 0
    while not anna.bans:
        sessions += 1
        assert sessions <= 8
        try:
            await anna.sync(mallory)
        except BadRequest:
            continue
    assert len(liar.asked) <= 60
    assert await anna.hashes() == before
    asked = len(liar.asked)
    town.nodes.pop("founder").transport.network.leave(key_named("founder").node_id)
    assert await anna.gossip.tick() is None
    assert len(liar.asked) == asked


async def test_events_named_under_a_false_place_are_found_out(town):
    """The partner names what we have as something new; we ask, see that we have it, and stop."""
    anna = town.nodes["anna"]
    own = [sealed.wire for sealed in await anna.log.append_all([document(number) for number in range(30)])]
    ids = b"".join(key_of_wire(wire, COMMUNITY)[8:] for wire in own)
    lists = [Range((1).to_bytes(8), ID_LIST, ids)]
    await enter(town, reconcile=lambda _: encode_message(lists), fetch=lambda _: encode_events(COMMUNITY, own))
    result = await anna.sync(town.nodes["mallory"])
    assert (result.complete, result.legs, result.pulled) == (False, 1, 0)


async def test_a_partner_that_is_busy_gets_the_time_it_asks_for(town):
    anna = town.nodes["anna"]
    await anna.write(1)
    refusals = iter([1, 2])

    def busy(content):
        if next(refusals, None):
            raise RateLimited("busy", retry_after_ms=1500)
        return encode_message([])

    await enter(town, reconcile=busy)
    result = await town.patiently(anna.sync(town.nodes["mallory"]))
    assert result.complete
    assert not anna.bans


async def test_a_partner_that_is_busy_for_long_is_asked_another_time(town):
    def busy(content):
        raise RateLimited("busy", retry_after_ms=60_000)

    await enter(town, reconcile=busy)
    with pytest.raises(RateLimited):
        await town.nodes["anna"].sync(town.nodes["mallory"])


async def test_a_slow_partner_cannot_hold_a_session_for_ever(town):
    def slow(content):
        town.clock._step(town.clock.monotonic() + 2 * SESSION_MAX_S)
        return named(1)

    await enter(town, reconcile=slow)
    with pytest.raises(CallTimeout, match="too long"):
        await town.nodes["anna"].sync(town.nodes["mallory"])


async def test_many_false_things_in_one_session_end_it(town, monkeypatch):
    """Each part of a long list is withheld; the ban comes before the list ends."""
    monkeypatch.setattr(sync_session, "_FETCH_IDS", 100)
    anna = town.nodes["anna"]
    liar = await enter(town, reconcile=lambda _: named(2_000), fetch=lambda _: encode_events(COMMUNITY, []))
    with pytest.raises(BadRequest):
        await anna.sync(town.nodes["mallory"])
    assert anna.bans
    assert liar.asked.count("fetch") <= 5


async def test_our_events_that_a_partner_refuses_are_not_held_against_it(town):
    anna, founder = town.nodes["anna"], town.nodes["founder"]
    strange = Author(key_named("newcomer"), lamport=2).seal(document(1))
    await store_unchecked(anna, strange)
    await anna.crash()
    assert not (await anna.sync(founder)).complete
    for _ in range(3):
        assert (await anna.sync(founder)).complete
    assert anna.standing.points(founder.key.node_id) == 0
    assert 0 < founder.standing.points(anna.key.node_id) <= 1


async def test_what_is_remembered_of_partners_is_bounded_in_the_client(town):
    client = town.nodes["anna"].client
    client.given_to("first").add(b"key")
    for number in range(300):
        client.given_to(f"partner {number}")
    assert client.given_to("first") == set()


# ---- standing -------------------------------------------------------------------------------------------------------


async def test_penalties_fade_and_bans_grow(town):
    bans = []
    standing = Standing(town.clock, on_ban=lambda *ban: bans.append(ban))
    standing.penalise("m", 60.0, "one")
    await town.clock.advance(3600.0)
    assert standing.points("m") < 1
    standing.penalise("m", 60.0, "two")
    assert not standing.is_banned("m")
    lengths = []
    for number in range(10):
        standing.penalise("m", 200.0, f"ban {number}")
        began = town.clock.monotonic()
        with pytest.raises(RateLimited):
            standing.charge("m", 0)
        while standing.is_banned("m"):
            await town.clock.advance(BAN_S / 2)
        lengths.append(town.clock.monotonic() - began)
    assert lengths[:3] == [BAN_S, 2 * BAN_S, 4 * BAN_S]
    assert lengths[-1] == BAN_MAX_S
    assert bans[0] == ("m", "ban 0")


def test_what_is_remembered_of_partners_is_bounded(town):
    standing = Standing(town.clock)
    for number in range(PARTNERS_MAX + 10):
        standing.penalise(f"partner {number}", 1.0, "x")
    assert len(standing._records) == PARTNERS_MAX
    assert standing.points("partner 0") == 0
    assert not standing.is_banned("partner 0")
    assert not standing.is_resting("nobody")
