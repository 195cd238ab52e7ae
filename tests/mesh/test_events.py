"""The event log: what it acknowledges it keeps, what it accepts is proven, and every order gives the same state."""

from __future__ import annotations

import asyncio
import itertools
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearthnet.adapters.verify_fake import FakeVerifier
from hearthnet.base.constants import EVENT_MAX_BYTES, LAMPORT_MAX_JUMP
from hearthnet.base.errors import DiskFull, EventRejected, NotFound, SchemaMismatch, StoreCorrupt
from hearthnet.mesh.event_history import Position
from hearthnet.mesh.events import create_community
from hearthnet.mesh.views import DocumentsView
from hearthnet.wire.cid import cid_of
from hearthnet.wire.community import CommunityCreated, CommunityPolicy, PolicyUpdated
from hearthnet.wire.event import Sealed, open_event, verify_event
from hearthnet.wire.event_types import CidUnpinned, ManifestUpdated
from hearthnet.wire.identity import KeyPair
from mesh.log_world import ANNA, BERT, COMMUNITY, FOUNDER, Author, LogNode, Village, document

DECADES_S = 20 * 365 * 86_400


@pytest.fixture
async def node():
    return await LogNode().found()


# ---- own events -----------------------------------------------------------------------------------------------


async def test_the_first_start_founds_a_community_of_one_with_this_node_as_anchor(node):
    assert node.log.members.community_name == "Our street"
    assert [(member.node_id, member.level.label) for member in node.log.members.members()] == [
        (FOUNDER.node_id, "anchor")
    ]
    with pytest.raises(EventRejected, match="founded already"):
        await create_community(node.log, "Again")


async def test_an_appended_event_is_signed_chained_and_in_the_views_at_once(node):
    first = await node.log.append(document(1))
    second = await node.log.append(document(2))
    assert [item.title for item in node.documents.documents("personal")] == ["Document 1", "Document 2"]
    for sealed in (first, second):
        verify_event(open_event(sealed.wire))
    assert second.event.prev == first.hash
    assert (second.event.author_seq, second.event.lamport) == (first.event.author_seq + 1, first.event.lamport + 1)
    assert await node.log.history.get(second.event.lamport, second.hash) == second
    assert await node.log.history.at(FOUNDER.node_id, 2) == [first]
    with pytest.raises(NotFound):
        await node.log.history.get(1, second.hash)


async def test_concurrent_appends_share_a_transaction_and_make_one_chain(node):
    node.store.history.clear()
    events = await asyncio.gather(*[node.log.append(document(number)) for number in range(100)])
    assert node.store.history.count("transact") < 5
    for before, after in itertools.pairwise(events):
        assert after.event.prev == before.hash
    assert node.log.lamport == events[-1].event.lamport
    assert await node.log.history.verify_all(FOUNDER.node_id) == 101


async def test_one_refused_event_does_not_harm_those_beside_it(node):
    huge = ManifestUpdated({"text": "x" * EVENT_MAX_BYTES})
    misfit = document(7, corpus="Not A Corpus")
    jobs = [node.log.append(data) for data in (document(1), huge, misfit, document(2))]
    first, *refused, second = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(error) for error in refused] == [EventRejected, SchemaMismatch]
    assert second.event.prev == first.hash


async def test_events_appended_together_are_stored_in_order_all_or_none(node):
    many = await node.log.append_all([document(number) for number in range(200)])
    assert [sealed.data for sealed in many] == [document(number) for number in range(200)]
    for before, after in itertools.pairwise(many):
        assert after.event.prev == before.hash
    with pytest.raises(SchemaMismatch):
        await node.log.append_all([document(300), document(301, corpus="Not A Corpus"), document(302)])
    assert len(node.documents.documents("personal")) == 200
    assert (await node.log.append(document(400))).event.prev == many[-1].hash
    assert await node.log.append_all([]) == []
    assert await node.log.history.verify_all(FOUNDER.node_id) == 202


async def test_a_founding_that_fails_lets_nobody_in():
    fresh = LogNode()
    await fresh.log.open()
    created = CommunityCreated("Our street", COMMUNITY, CommunityPolicy())
    jobs = [fresh.log.append_all([created, document(1, corpus="Not A Corpus")]), fresh.log.append(document(2))]
    broken, early = await asyncio.gather(*jobs, return_exceptions=True)
    assert isinstance(broken, SchemaMismatch)
    assert isinstance(early, EventRejected)
    assert len(await fresh.log.append_all([created, document(1)])) == 2


async def test_what_is_no_event_type_is_refused(node):
    with pytest.raises(EventRejected):
        await node.log.append(Position())


async def test_a_stranger_cannot_write_into_the_community():
    stranger = await LogNode(ANNA).found()
    with pytest.raises(EventRejected, match="not a member"):
        await stranger.log.append(document())
    assert await stranger.log.history.size() == 0


@pytest.mark.parametrize("jump", [-DECADES_S, DECADES_S, -1_900_000_000 - DECADES_S])
async def test_a_clock_decades_off_stops_nothing(node, jump):
    before = await node.log.append(document(1))
    node.clock.jump(jump)
    after = await node.log.append(document(2))
    assert (after.event.lamport, after.event.prev) == (before.event.lamport + 1, before.hash)
    other = await LogNode(ANNA).found()
    assert (await other.log.receive(await node.wires())).accepted == 3
    await node.restart()
    assert await node.log.append(document(3))


async def test_a_cancelled_append_neither_blocks_nor_breaks_the_chain(node):
    task = asyncio.ensure_future(node.log.append(document(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(*[node.log.append(document(number)) for number in range(2, 5)])
    assert await node.log.history.verify_all(FOUNDER.node_id) in {4, 5}


async def test_an_expiry_travels_with_the_event(node):
    sealed = await node.log.append(document(), expires_at=1_800_000_600)
    assert sealed.event.expires_at == "2027-01-15T08:10:00Z"


# ---- restart, crash, disk -------------------------------------------------------------------------------------


async def test_a_restart_goes_on_with_chain_clock_and_views(node):
    last = await node.log.append(document(1))
    await node.restart()
    assert (node.opened.events, node.opened.lamport) == (2, 2)
    assert node.documents.documents("personal")[0].title == "Document 1"
    assert (await node.log.append(document(2))).event.prev == last.hash


async def test_a_crash_loses_nothing_that_was_acknowledged(node):
    acknowledged = [await node.log.append(document(number)) for number in range(5)]
    await node.crash()
    assert [item.hash for item in await node.events()][1:] == [item.hash for item in acknowledged]


async def test_a_full_disk_refuses_clearly_loses_nothing_and_recovers(node):
    kept = [await node.log.append(document(1))]
    node.store.fill_disk()
    for _ in range(3):
        jobs = [node.log.append(document(number)) for number in range(2, 40)]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        refused = [item for item in outcomes if not isinstance(item, Sealed)]
        assert {type(item) for item in refused} == {DiskFull}
        kept += [item for item in outcomes if isinstance(item, Sealed)]  # what fits into a page that is half full
    assert {item.doc_cid for item in node.documents.documents("personal")} == {item.data.doc_cid for item in kept}
    assert node.log.lamport == kept[-1].event.lamport
    node.store.free_disk()
    assert (await node.log.append(document(2))).event.prev == kept[-1].hash
    assert await node.log.history.verify_all(FOUNDER.node_id) == len(kept) + 2


async def test_receiving_on_a_full_disk_keeps_nothing_half():
    village = Village()
    node = await LogNode(ANNA).found()
    node.store.fill_disk()
    many = [village.anna.seal(document(number), lamport=10 + number) for number in range(100)]
    with pytest.raises(DiskFull):
        await node.log.receive(village.wires + [sealed.wire for sealed in many])
    assert node.log.members.members() == []
    assert await node.log.history.size() == 0
    node.store.free_disk()
    assert (await node.log.receive(village.wires)).accepted == 5


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET wire = CAST(replace(wire, 'Document 1', 'Document 9') AS BLOB) WHERE seq = 2",
        "DELETE FROM events WHERE seq = 2",
        "UPDATE clock SET lamport = 1",
    ],
)
async def test_a_head_that_is_not_what_was_signed_is_found_at_open(node, damage):
    await node.log.append(document(1))
    assert await node.store.transact(lambda tx: tx.execute(damage)) == 1
    with pytest.raises(StoreCorrupt):
        await node.restart()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET wire = CAST(replace(wire, 'Document 2', 'Document 9') AS BLOB) WHERE seq = 4",
        "UPDATE events SET hash = (SELECT zeroblob(32)) WHERE seq = 4",
        "DELETE FROM events WHERE seq = 4",
    ],
)
async def test_damage_in_the_middle_is_found_by_the_full_check(node, damage):
    for number in range(6):
        await node.log.append(document(number))
    await node.restart()
    await node.store.transact(lambda tx: tx.execute(damage))
    await node.restart()
    with pytest.raises(StoreCorrupt):
        await node.log.history.verify_all(FOUNDER.node_id)


async def test_an_event_changed_on_the_disk_is_left_out_and_counted_not_shown(node):
    for number in range(6):
        await node.log.append(document(number))
    damage = "UPDATE events SET wire = CAST(replace(wire, 'Document 2', ?) AS BLOB) WHERE seq = 4"
    for wrong in ("Document 9", 'Docum"nt', "\u0000"):
        await node.store.transact(lambda tx, wrong=wrong: tx.execute(damage, (wrong,)))
        await node.restart()
        assert node.opened.damaged == 1
        assert [item.chunks for item in node.documents.documents("personal")] == [0, 1, 3, 4, 5]
        assert len(await node.events()) == 6
    (hash_,) = node.log.history.damaged
    with pytest.raises(StoreCorrupt):
        await node.log.history.get(4, hash_)
    assert await node.log.append(document(7))


# ---- others' events -------------------------------------------------------------------------------------------


async def test_received_events_are_stored_once_and_move_the_clock(node):
    village = Village()
    other = await LogNode(BERT).found()
    receipt = await other.log.receive(village.wires)
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (5, 0, ())
    assert other.log.lamport > village.events[-1].event.lamport
    again = await other.log.receive(village.wires + village.wires[:2])
    assert (again.accepted, again.duplicates) == (0, 7)
    assert [member.node_id for member in other.log.members.members()] == [COMMUNITY, ANNA.node_id, BERT.node_id]


async def test_a_batch_may_name_an_event_twice():
    village = Village()
    other = await LogNode(BERT).found()
    receipt = await other.log.receive(village.wires * 3)
    assert (receipt.accepted, receipt.duplicates) == (5, 10)


async def test_after_receiving_own_events_follow_in_lamport_time():
    village = Village()
    other = await LogNode(BERT).found()
    far = village.anna.seal(document(), lamport=5000)
    await other.log.receive([*village.wires, far.wire])
    sealed = await other.log.append(document(1))
    assert sealed.event.lamport > 5000
    assert sealed.event.prev == village.events[-1].hash  # Bert's own joining, received from outside


async def test_many_batches_arrive_whole():
    village = Village()
    more = [village.anna.seal(document(number), lamport=100 + number) for number in range(1500)]
    other = await LogNode(BERT).found()
    receipt = await other.log.receive(village.wires + [sealed.wire for sealed in more])
    assert (receipt.accepted, receipt.rejected) == (1505, ())
    assert len(other.documents.documents("personal")) == 1500
    assert await other.log.history.verify_all(BERT.node_id) == 1505


@pytest.mark.parametrize("checks_left", [1_000_000, 5, 0])
async def test_a_large_delivery_is_checked_by_helpers_and_without_them_when_they_die(checks_left):
    village = Village()
    more = [village.anna.seal(document(number), lamport=100 + number).wire for number in range(4200)]
    more[700] = more[700].replace(b"Document", b"Dokument")
    more[3000] = b"torn"
    other = Author(ANNA).seal(document(1), community_id=BERT.node_id).wire
    bulk = FakeVerifier(checks_left)
    node = await LogNode(BERT, bulk=bulk).found()
    receipt = await node.log.receive([*village.wires, *more, other, more[5]])
    assert (receipt.accepted, receipt.duplicates) == (4203, 1)
    assert sorted(item.code for item in receipt.rejected) == ["bad_request", "bad_request", "invalid_signature"]
    assert bulk.history[-1] == "rested"
    assert ("died" in bulk.history) == (checks_left < 100)
    small = await node.log.receive(more[:50])
    assert small.duplicates == 50
    assert bulk.history[-1] == "rested"


async def test_a_fork_is_kept_as_evidence_and_shown(node):
    village = Village()
    branch = village.anna.last
    one = village.anna.seal(document(1), after=branch, lamport=20)
    two = village.anna.seal(document(2), after=branch, lamport=21)
    later = village.anna.seal(document(3), lamport=22)
    other = await LogNode(BERT).found()
    receipt = await other.log.receive(village.wires + [sealed.wire for sealed in (one, two, later)])
    assert (receipt.accepted, receipt.forks) == (8, 1)
    (proof,) = await other.log.history.forks()
    assert (proof.author, proof.author_seq, {proof.known, proof.other}) == (ANNA.node_id, 2, {one.hash, two.hash})
    assert {sealed.hash for sealed in await other.log.history.at(ANNA.node_id, 2)} == {one.hash, two.hash}
    assert (await other.log.receive([two.wire])).duplicates == 1
    assert await other.log.history.verify_all(BERT.node_id) == 8


async def test_a_gap_is_accepted_and_filled_later():
    village = Village()
    one = village.anna.seal(document(1), lamport=20)
    two = village.anna.seal(document(2), lamport=21)
    other = await LogNode(BERT).found()
    assert (await other.log.receive([*village.wires, two.wire])).accepted == 6
    receipt = await other.log.receive([one.wire])
    assert (receipt.accepted, receipt.forks) == (1, 0)


async def test_a_wrong_predecessor_is_a_fork_even_when_the_other_branch_is_not_here():
    village = Village()
    hidden = village.anna.seal(document(1), lamport=20)
    shown = village.anna.seal(document(2), after=msgspec.structs.replace(village.events[2].entry), lamport=21)
    village.anna.last = hidden.entry
    third = village.anna.seal(document(3), lamport=22)  # follows the hidden one
    other = await LogNode(BERT).found()
    receipt = await other.log.receive([*village.wires, shown.wire, third.wire])
    assert receipt.forks == 1
    (proof,) = await other.log.history.forks()
    assert {proof.known, proof.other} == {shown.hash, hidden.hash}


# ---- what is refused ------------------------------------------------------------------------------------------


def _other_signature(village):
    mine, other = village.anna.seal(document(1)), village.bert.seal(document(2))
    return mine.wire.replace(mine.event.signature.encode(), other.event.signature.encode())


def _changed_data(village):
    return village.anna.seal(document(1)).wire.replace(b"Document 1", b"Document 2")


def _other_community(village):
    return village.anna.seal(document(1), community_id=BERT.node_id).wire


def _stranger(village):
    return Author(KeyPair(bytes([9]) * 32), lamport=50).seal(document(1)).wire


def _too_far_ahead(village):
    return village.anna.seal(document(1), lamport=LAMPORT_MAX_JUMP + 100).wire


def _before_joining(village):
    return Author(BERT).seal(document(1), lamport=1).wire


def _second_founding(village):
    return village.founder.seal(village.created.data).wire


def _founding_by_another(village):
    return village.anna.seal(village.created.data).wire


def _policy_by_another(village):
    return village.anna.seal(PolicyUpdated(CommunityPolicy())).wire


def _invited_above_the_inviter(village):
    newcomer = Author(KeyPair(bytes([9]) * 32))
    return village.anna.seal(msgspec.structs.replace(village.events[1].data, initial_level="anchor", after=(),
                                                     invitee_node_id=newcomer.key.node_id)).wire  # fmt: skip


def _joined_with_anothers_invitation(village):
    thief = Author(KeyPair(bytes([9]) * 32), lamport=50)
    return thief.seal(village.events[2].data).wire


REFUSED = {
    "invalid_signature": [_other_signature, _changed_data],
    "bad_request": [
        _other_community, _stranger, _too_far_ahead, _before_joining, _second_founding,
        _founding_by_another, _policy_by_another, _invited_above_the_inviter, _joined_with_anothers_invitation,
        lambda _: b"", lambda _: b"{", lambda _: b"\xff\xfe", lambda _: b"[" * 10_000, lambda v: v.created.wire + b" ",
        lambda _: b"x" * (EVENT_MAX_BYTES + 1),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("code", "make"), [(code, make) for code, makers in REFUSED.items() for make in makers])
async def test_what_breaks_a_rule_is_refused_with_its_reason_and_the_rest_is_kept(code, make):
    village = Village()
    bad = make(village)
    good = village.bert.seal(document(5), lamport=60)
    node = await LogNode(BERT).found()
    await node.log.receive(village.wires)
    size = await node.log.history.size()
    receipt = await node.log.receive([bad, good.wire])
    assert receipt.accepted == 1
    (rejection,) = receipt.rejected
    assert rejection.code == code
    assert rejection.reason
    assert await node.log.history.size() == size + 1


async def test_lamport_time_must_rise_along_a_chain():
    village = Village()
    first = village.anna.seal(document(1), lamport=40)
    second = village.anna.seal(document(2), lamport=40)
    node = await LogNode(BERT).found()
    await node.log.receive([*village.wires, first.wire])
    (rejection,) = (await node.log.receive([second.wire])).rejected
    assert "does not rise" in rejection.reason


async def test_members_only_invite_when_the_policy_lets_them():
    village = Village()
    closed = village.founder.seal(PolicyUpdated(CommunityPolicy(default_member_can_invite=False)), lamport=30)
    node = await LogNode(BERT).found()
    await node.log.receive([*village.wires, closed.wire])
    invitation = village.anna.seal(
        msgspec.structs.replace(village.events[1].data, after=tuple(sorted([closed.hash, village.anna.last_act]))),
        lamport=40,
    )
    assert (await node.log.receive([invitation.wire])).rejected[0].reason.startswith("1 of level trusted")


# ---- order does not matter ------------------------------------------------------------------------------------


def _history():
    village = Village()
    events = list(village.events)
    for number in range(12):
        author = (village.anna, village.bert, village.founder)[number % 3]
        events.append(author.seal(document(number % 5, title=f"Title {number}"), lamport=10 + number // 2))
    return events


HISTORY = _history()


@settings(max_examples=25, deadline=None)
@given(st.permutations(HISTORY[5:]), st.lists(st.integers(0, 11), max_size=3), st.booleans())
def test_any_order_of_arrival_gives_the_same_log_and_the_same_views(shuffled, cuts, restart):
    async def check():
        straight, mixed = await LogNode(BERT).found(), await LogNode(BERT).found()
        await straight.log.receive([sealed.wire for sealed in HISTORY])
        await mixed.log.receive([sealed.wire for sealed in HISTORY[:5]])
        for start, end in itertools.pairwise([0, *sorted(cuts), len(shuffled)]):
            await mixed.log.receive([sealed.wire for sealed in shuffled[start:end]])
            if restart:
                await mixed.restart()
        assert await mixed.wires() == await straight.wires()
        assert mixed.documents.documents("personal") == straight.documents.documents("personal")
        assert mixed.log.members.members() == straight.log.members.members()
        assert await mixed.log.history.forks() == []
        await mixed.log.rebuild()
        assert mixed.documents.documents("personal") == straight.documents.documents("personal")

    asyncio.run(check())


async def test_pages_follow_each_other_without_gaps_or_repeats(node):
    await asyncio.gather(*[node.log.append(document(number)) for number in range(50)])
    got, position = [], Position()
    while True:
        page, position = await node.log.history.page(position, 7)
        if not page:
            break
        got += page
    assert [item.hash for item in got] == [item.hash for item in await node.events()]
    assert [item.event.lamport for item in got] == sorted(item.event.lamport for item in got)


# ---- restore is not a fork (decision 29) ----------------------------------------------------------------------


async def test_a_restored_node_that_finds_its_own_chain_goes_on_behind_it(node):
    events = [await node.log.append(document(number)) for number in range(4)]
    wires = await node.wires()
    older = LogNode()
    await older.log.open()
    assert (await older.log.receive(wires[:3])).accepted == 3
    assert (await older.log.receive(wires[3:])).accepted == 2
    assert (await older.log.append(document(9))).event.prev == events[-1].hash


async def test_a_restored_node_without_neighbours_goes_on_in_a_new_epoch_and_forks_nothing(node):
    lost = [await node.log.append(document(number)) for number in range(4)]
    wires = await node.wires()
    restored = LogNode()
    await restored.log.open()
    await restored.log.receive(wires[:3])  # the backup holds two of the four documents
    assert await restored.log.begin_epoch() == 1
    new = [await restored.log.append(document(10 + number)) for number in range(3)]
    assert {sealed.event.author_epoch for sealed in new} == {1}
    await restored.restart()
    assert (await restored.log.append(document(20))).event.author_epoch == 1
    receipt = await restored.log.receive([sealed.wire for sealed in lost[2:]])  # a neighbour had them after all
    assert (receipt.accepted, receipt.forks) == (2, 0)
    neighbour = await LogNode(ANNA).found()
    everything = await restored.wires()
    random.Random(4).shuffle(everything)
    got = await neighbour.log.receive(everything)
    assert (got.accepted, got.forks, got.rejected) == (9, 0, ())


async def test_recovering_takes_back_what_was_saved_and_goes_on_without_a_fork(node):
    events = [await node.log.append(document(number)) for number in range(6)]
    wires = await node.wires()
    older = LogNode()
    await older.log.open()
    await older.log.receive(wires[:2])  # the backup
    receipt = await older.log.recover([*wires[3:5], b"torn", wires[5]])  # rows that could still be read
    assert (receipt.accepted, len(receipt.rejected)) == (3, 1)
    sealed = await older.log.append(document(9))
    assert (sealed.event.author_epoch, sealed.event.author_seq) == (1, 7)
    late = await older.log.receive([wires[2], wires[6]])  # a neighbour has them
    assert (late.accepted, late.forks) == (2, 0)
    assert len(older.documents.documents("personal")) == 7
    assert events[-1].event.author_seq == 7


async def test_a_view_can_join_a_log_that_is_open(node):
    await node.log.append(document(1))
    late = DocumentsView()
    assert await node.log.attach(late) == 1
    await node.log.append(document(2))
    assert late.documents("personal") == node.documents.documents("personal")


async def test_listeners_hear_of_every_new_event_after_the_views(node):
    heard = []
    node.log.subscribe(lambda sealed: heard.append((sealed.hash, len(node.documents.documents("personal")))))
    sealed = await node.log.append(document(1))
    await node.log.append(CidUnpinned(cid_of(b"x")))
    assert heard[0] == (sealed.hash, 1)
    assert len(heard) == 2
