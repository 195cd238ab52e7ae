"""What happens to the data of a node that runs: walked when it is large, held against its hashes, forgotten in time."""

from __future__ import annotations

import asyncio

import pytest

from hearthnet.adapters import store_schema
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.base.errors import StoreCorrupt
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.snapshots import Snapshots
from hearthnet.mesh.upkeep import Upkeep
from mesh.log_world import COMMUNITY, FOUNDER, LogNode, document

DAY_S = 86_400


@pytest.fixture
def large_at_once(monkeypatch):
    monkeypatch.setattr(store_schema, "_CHECK_ALWAYS_BYTES", 0)


async def fill(path, count):
    store = SqliteStore.open(path, EVENTS_SCHEMA)
    node = await LogNode(store=store).found()
    await node.log.append_all([document(number) for number in range(count)])
    await node.log.close()
    await store.close()


def spoil_page_of(path, needle):
    data = bytearray(path.read_bytes())
    start = data.rindex(needle) // 4096 * 4096
    data[start : start + 100] = b"\xff" * 100
    path.write_bytes(data)


async def let_pass(clock, task):
    """Virtual time moves on until the task is done."""
    async with asyncio.timeout(15):
        while not task.done():
            await clock.advance(1.0)
            await asyncio.sleep(0.001)  # the store works in threads of its own
    return task.result()


async def check(store, node):
    notices = []
    upkeep = Upkeep(node.clock, notices)
    await let_pass(node.clock, asyncio.ensure_future(upkeep.check([store], node.log)))
    return notices


@pytest.mark.usefixtures("large_at_once")
async def test_a_large_sound_database_is_walked_once_after_the_start(tmp_path):
    path = tmp_path / "events.sqlite"
    await fill(path, 300)
    store = SqliteStore.open(path, EVENTS_SCHEMA)
    node = await LogNode(store=store).found()
    assert await check(store, node) == []

    async def no_pause():
        raise AssertionError("it was walked before")

    assert await store.walk(no_pause) == 0
    assert not path.with_name("events.sqlite.suspect").exists()
    await node.log.close()
    await store.close()


@pytest.mark.usefixtures("large_at_once")
async def test_damage_in_a_large_database_is_found_after_the_start_said_and_found_again_at_the_next(tmp_path):
    path = tmp_path / "events.sqlite"
    await fill(path, 300)
    spoil_page_of(path, b"Document 150")
    store = SqliteStore.open(path, EVENTS_SCHEMA)  # closed properly: not walked
    assert await check(store, LogNode(store=store)) == ["notice.store.suspect"]
    await store.close()
    with pytest.raises(StoreCorrupt):
        SqliteStore.open(path, EVENTS_SCHEMA)


async def test_a_small_database_was_walked_at_the_start_and_is_not_again(tmp_path):
    path = tmp_path / "events.sqlite"
    await fill(path, 3)
    store = SqliteStore.open(path, EVENTS_SCHEMA)

    async def no_pause():
        raise AssertionError("it was walked before")

    assert await store.walk(no_pause) == 0
    await store.close()


async def test_a_damaged_event_that_no_view_reads_is_found_and_said_once():
    node = await LogNode().found()
    await node.log.append_all([document(number) for number in range(5)])
    await node.store.transact(
        lambda tx: tx.execute("UPDATE events SET wire = CAST(replace(wire, 'ument 3', 'ument 8') AS BLOB)")
    )
    notices = []
    upkeep = Upkeep(node.clock, notices)
    for _ in range(2):
        await let_pass(node.clock, asyncio.ensure_future(upkeep.check([node.store], node.log)))
    assert notices == ["notice.events.damaged"]
    assert len(node.log.history.damaged) == 1


async def test_a_lost_snapshot_is_said(tmp_path):
    snapshots = Snapshots(tmp_path / "snapshots", FOUNDER, COMMUNITY)
    node = await LogNode(snapshots=snapshots).found()
    await node.log.append(document(1))
    await node.log.append(document(2))
    for _ in range(32):
        await node.clock.advance(DAY_S)
        await node.log.forget()
    for file in (tmp_path / "snapshots").iterdir():
        file.unlink()
    await node.restart()
    notices = []
    Upkeep(node.clock, notices).look(node.log)
    assert notices == ["notice.events.incomplete"]


async def test_the_log_forgets_by_itself_and_a_full_disk_only_delays_it(tmp_path):
    snapshots = Snapshots(tmp_path / "snapshots", FOUNDER, COMMUNITY)
    node = await LogNode(snapshots=snapshots).found()
    await node.log.append(document(1), expires_at=node.clock.now() + DAY_S)
    await node.log.append(document(2))
    task = asyncio.ensure_future(Upkeep(node.clock, []).forget(node.log))
    await node.clock.advance(901)
    assert len(await node.events()) == 3
    node.store.fill_disk()
    await node.clock.advance(2 * DAY_S)
    node.store.free_disk()
    async with asyncio.timeout(15):
        while len(await node.events()) == 3:
            await node.clock.advance(6 * 3600)
            await asyncio.sleep(0.001)  # the snapshot is written in a thread
    assert not task.done()
    task.cancel()
