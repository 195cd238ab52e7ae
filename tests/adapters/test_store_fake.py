"""The fake's faults behave as the disk's do."""

from __future__ import annotations

import pytest

from hearthnet.adapters.store_fake import FakeStore
from hearthnet.base.errors import DiskFull, StoreCorrupt
from hearthnet.ports import Migration

STEPS = [Migration("notes", 1, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")]


def insert(size):
    return lambda tx: tx.execute("INSERT INTO notes (text) VALUES (?)", ("x" * size,))


async def count(store):
    return (await store.query("SELECT count(*) FROM notes"))[0][0]


async def test_a_full_disk_refuses_keeps_nothing_half_and_recovers():
    store = FakeStore(STEPS)
    await store.transact(insert(10))
    store.fill_disk(after_bytes=8192)
    with pytest.raises(DiskFull) as caught:
        await store.transact(lambda tx: [insert(100)(tx), insert(50_000)(tx)])
    assert caught.value.fix
    assert await count(store) == 1
    store.free_disk()
    await store.transact(insert(50_000))
    assert await count(store) == 2


async def test_a_crash_keeps_what_a_durable_store_acknowledged():
    store = FakeStore(STEPS)
    await store.transact(insert(10))
    assert await count(store.crash()) == 1


async def test_a_crash_loses_what_was_not_synced_when_not_durable():
    store = FakeStore(STEPS, durable=False)
    await store.transact(insert(10))
    store.sync()
    await store.transact(insert(10))
    assert await count(store.crash()) == 1


async def test_a_torn_page_is_found_at_the_next_open():
    store = FakeStore(STEPS)
    for _ in range(50):
        await store.transact(insert(2000))
    with pytest.raises(StoreCorrupt):
        store.crash(torn_page=2)
