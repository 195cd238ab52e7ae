"""What the log forgets after thirty days or on expiry, and what it never does; in virtual time."""

from __future__ import annotations

import msgspec
import pytest

from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.base.constants import EVENT_LOG_RETENTION_DAYS
from hearthnet.base.errors import NotFound
from hearthnet.mesh.event_history import Position
from hearthnet.mesh.event_retention import Forgotten
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.snapshots import Snapshots
from hearthnet.wire.event_types import CidUnpinned
from mesh.log_world import ANNA, COMMUNITY, FOUNDER, Author, LogNode, Village, document

DAY_S = 86_400
DECADES_S = 20 * 365 * DAY_S


@pytest.fixture
def snapshots(tmp_path):
    return Snapshots(tmp_path / "snapshots", FOUNDER, COMMUNITY)


@pytest.fixture
async def node(snapshots):
    return await LogNode(snapshots=snapshots).found()


async def live(node, days):
    """Days pass, with a sweep every six hours; returns how many events were forgotten."""
    expired = aged = 0
    for _ in range(days * 4):
        await node.clock.advance(DAY_S / 4)
        forgotten = await node.log.forget()
        expired, aged = expired + forgotten.expired, aged + forgotten.aged
    return expired, aged


def titles(node):
    return {item.title for item in node.documents.documents("personal")}


async def identities(node):
    found, _ = await node.log.history.identities(Position(), 10_000)
    return found


async def test_after_thirty_days_the_bytes_are_gone_and_name_and_place_stay(node):
    old = [await node.log.append(document(number)) for number in range(5)]
    assert await live(node, EVENT_LOG_RETENTION_DAYS - 1) == (0, 0)
    young = await node.log.append(document(9))
    assert await live(node, 3) == (0, 5)
    assert [sealed.hash for sealed in await node.events()][1:] == [young.hash]
    found = await identities(node)
    assert [item.hash for item in found[1:]] == [sealed.hash for sealed in (*old, young)]
    assert [item.has_bytes for item in found] == [True, *[False] * 5, True]
    assert [(item.author, item.author_epoch, item.author_seq) for item in found] == [
        (FOUNDER.node_id, 0, number) for number in range(1, 8)
    ]
    with pytest.raises(NotFound, match="forgotten"):
        await node.log.history.get(old[0].event.lamport, old[0].hash)
    assert await node.log.history.at(FOUNDER.node_id, 3) == []
    assert node.log.history.damaged == set()


async def test_what_forgotten_events_meant_stays_in_the_views_also_after_restart_and_rebuild(node):
    for number in range(5):
        await node.log.append(document(number))
    await live(node, EVENT_LOG_RETENTION_DAYS)
    young = await node.log.append(document(9))
    await live(node, 1)
    expected = {f"Document {number}" for number in (0, 1, 2, 3, 4, 9)}
    assert titles(node) == expected
    await node.restart()
    assert titles(node) == expected
    assert node.log.incomplete_views == frozenset()
    await node.log.rebuild()
    assert titles(node) == expected
    assert (await node.log.append(document(10))).event.prev == young.hash
    assert await node.log.history.verify_all(FOUNDER.node_id) == 8


async def test_membership_forks_and_each_authors_newest_event_are_never_forgotten(snapshots):
    village = Village()
    node = await LogNode(ANNA, snapshots=Snapshots(snapshots._folder, ANNA, COMMUNITY)).found()
    again = Author(village.bert.key)
    again.last, again.lamport = village.bert.last, village.bert.lamport
    branches = [village.bert.seal(document(1)), again.seal(document(2))]
    later = [village.bert.seal(document(number)) for number in (3, 4)]
    received = await node.log.receive(village.wires + [sealed.wire for sealed in (*branches, *later)])
    assert received.forks == 1
    await live(node, EVENT_LOG_RETENTION_DAYS + 1)
    kept = {sealed.hash for sealed in await node.events()}
    assert kept == {sealed.hash for sealed in (*village.events, *branches, later[-1])}
    assert len(node.log.members.members()) == 3


async def test_a_forgotten_event_that_comes_again_is_a_duplicate_and_stays_forgotten(node):
    old = await node.log.append(document(1))
    await node.log.append(document(2))
    assert await live(node, EVENT_LOG_RETENTION_DAYS + 1) == (0, 1)
    receipt = await node.log.receive([old.wire])
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (0, 1, ())
    assert old.hash not in {sealed.hash for sealed in await node.events()}


async def test_an_expired_event_goes_at_the_next_sweep_even_the_newest_and_the_node_starts_again(node, tmp_path):
    await node.log.snapshot()
    lasting = await node.log.append(document(1))
    passing = await node.log.append(document(2), expires_at=node.clock.now() + 7 * DAY_S)
    assert await live(node, 6) == (0, 0)
    assert await live(node, 2) == (1, 0)
    assert [sealed.hash for sealed in await node.events()][1:] == [lasting.hash]
    assert len(list((tmp_path / "snapshots").iterdir())) == 1  # older ones may hold what expired
    await node.restart()
    assert (await node.log.append(document(3))).event.prev == passing.hash
    assert await node.log.history.verify_all(FOUNDER.node_id) == 4


async def test_membership_ignores_an_expiry():
    village = Village()
    node = await LogNode().found()
    joined = Village().join(Author(ANNA))[0]  # an invitation, for its data
    sealed = village.founder.seal(msgspec.structs.replace(joined.data, after=()), expires_at=node.clock.now() + 60)
    other = await LogNode(ANNA).found()
    await other.log.receive([*village.wires, sealed.wire])
    await live(other, 2)
    assert sealed.hash in {item.hash for item in await other.events()}


@pytest.mark.parametrize("years_off_s", [DECADES_S, -DECADES_S])
async def test_an_author_whose_clock_is_decades_off_is_kept_as_long_as_it_asked(node, years_off_s):
    then = node.clock.now() + years_off_s
    village = Village()
    await node.log.receive(village.wires)
    passing = village.anna.seal(document(1), now=then, expires_at=then + 7 * DAY_S)
    await node.log.receive([passing.wire, village.anna.seal(document(2), now=then).wire])
    assert await live(node, 6) == (0, 0)
    assert await live(node, 3) == (1, 0)
    assert passing.hash not in {sealed.hash for sealed in await node.events()}


@pytest.mark.parametrize("jump", [DECADES_S, -DECADES_S])
async def test_a_clock_that_jumps_ages_nothing(node, jump):
    await node.log.append(document(1), expires_at=node.clock.now() + DAY_S)
    await node.log.append(document(2))
    await node.log.forget()
    for _ in range(EVENT_LOG_RETENTION_DAYS + 5):
        node.clock.jump(jump)
        assert await node.log.forget() == Forgotten()
        node.clock.jump(-jump)
        assert await node.log.forget() == Forgotten()
    assert len(await node.events()) == 3
    assert await live(node, 2) == (1, 0)  # when time passes as it should, what expired goes


async def test_without_a_snapshot_nothing_is_forgotten_for_its_age():
    node = await LogNode().found()
    for number in range(3):
        await node.log.append(document(number))
    assert await live(node, EVENT_LOG_RETENTION_DAYS + 5) == (0, 0)


async def test_when_the_snapshot_is_lost_the_log_says_which_views_are_incomplete(node, snapshots):
    for number in range(5):
        await node.log.append(document(number))
    await live(node, EVENT_LOG_RETENTION_DAYS + 1)
    await snapshots.keep(1)
    for file in snapshots._files():
        file.write_bytes(b"torn")
    await node.restart()
    assert node.log.incomplete_views == {"documents"}
    assert node.log.members.community_name == "Our street"


async def test_a_kill_during_a_sweep_leaves_a_log_that_opens_and_goes_on(node):
    for number in range(700):
        await node.log.append(CidUnpinned(document(number).doc_cid))
    await live(node, EVENT_LOG_RETENTION_DAYS)
    slices = []

    def die(work, real=node.store.transact):
        slices.append(work)
        if len(slices) == 3:  # the day, one slice, then the end
            raise KeyboardInterrupt
        return real(work)

    node.store.transact = die
    with pytest.raises(KeyboardInterrupt):
        await live(node, 1)
    await node.crash()
    assert [item.has_bytes for item in await identities(node)].count(False) == 500
    assert await live(node, 1) == (0, 199)
    assert await node.log.history.verify_all(FOUNDER.node_id) == 701


async def test_forgotten_bytes_are_overwritten_on_the_disk(tmp_path, snapshots):
    store = SqliteStore.open(tmp_path / "events.sqlite", EVENTS_SCHEMA)
    node = await LogNode(store=store, snapshots=snapshots).found()
    await node.log.append(document(1, title="Needs insulin every four hours"), expires_at=node.clock.now() + 60)
    await node.log.append(document(2))
    await node.clock.advance(120)
    assert (await node.log.forget()).expired == 1
    await node.log.close()
    await store.close()
    assert b"insulin" not in (tmp_path / "events.sqlite").read_bytes()


async def test_a_log_of_the_first_schema_is_carried_over(node):
    old = FakeStore(EVENTS_SCHEMA[:1])
    passing = await node.log.append(document(1), expires_at=node.clock.now() + 60)
    for number, sealed in enumerate(await node.events(), 1):
        event = sealed.event
        row = (
            number, bytes.fromhex(sealed.hash[7:]), event.lamport, event.event_id, 1, 0, event.author_seq, number + 1, 0,
            sealed.wire,
        )  # fmt: skip
        await old.transact(lambda tx, row=row: tx.execute(f"INSERT INTO events VALUES ({','.join('?' * 10)})", row))
    for text in (FOUNDER.node_id, "community.created", "rag.document.ingested"):
        await old.transact(lambda tx, text=text: tx.execute("INSERT INTO names (text) VALUES (?)", (text,)))
    old.sync()
    new = FakeStore(EVENTS_SCHEMA, image=old._synced)
    rows = await new.query("SELECT kept, expires_at FROM events ORDER BY seq")
    assert rows == [(1, None), (None, 1_800_000_060)]
    assert passing.event.expires_at == "2027-01-15T08:01:00Z"
