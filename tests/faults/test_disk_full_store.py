"""A really full disk under a real database."""

from __future__ import annotations

import asyncio

import pytest

from hearthnet.adapters.store_recovery import make_backup
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.base.errors import DiskFull
from hearthnet.ports import Migration

STEPS = [Migration("notes", 1, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")]


async def write_until_full(store):
    """Rows acknowledged before the disk was full."""

    def insert(number):
        return lambda tx: tx.execute("INSERT INTO notes VALUES (?, ?)", (number, "x" * 3000))

    for number in range(10_000):
        try:
            await store.transact(insert(number))
        except DiskFull:
            return number
    raise AssertionError("the disk never filled")


async def test_everything_acknowledged_stays_and_work_goes_on_when_space_returns(small_disk):
    disk = small_disk(2048)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    store = SqliteStore.open(disk / "node.sqlite", STEPS)
    kept = await write_until_full(store)
    assert kept > 100
    assert await store.query("SELECT count(*), max(id) FROM notes") == [(kept, kept - 1)]
    for _ in range(3):  # it keeps refusing clearly, a whole group at a time
        jobs = [
            store.transact(lambda tx: tx.execute("INSERT INTO notes (text) VALUES (?)", ("y" * 9000,))) for _ in "ab"
        ]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(item) for item in outcomes] == [DiskFull, DiskFull]
    ballast.unlink()
    await store.transact(lambda tx: tx.execute("INSERT INTO notes VALUES (99999, 'after')"))
    await store.close()
    again = SqliteStore.open(disk / "node.sqlite", STEPS)
    assert await again.query("SELECT count(*), max(id) FROM notes") == [(kept + 1, 99999)]
    await again.close()


async def test_a_crash_on_a_full_disk_opens_again_with_all_that_was_acknowledged(small_disk, tmp_path):
    disk = small_disk(1536)
    store = SqliteStore.open(disk / "node.sqlite", STEPS)
    kept = await write_until_full(store)
    for suffix in ("", "-wal"):  # what a power cut leaves: the files as they are now, without a close
        (tmp_path / f"node.sqlite{suffix}").write_bytes((disk / f"node.sqlite{suffix}").read_bytes())
    await store.close()
    again = SqliteStore.open(tmp_path / "node.sqlite", STEPS)
    assert await again.query("SELECT count(*) FROM notes") == [(kept,)]
    await again.close()


async def test_a_backup_that_does_not_fit_leaves_nothing_half(small_disk, tmp_path):
    disk = small_disk(512)
    store = SqliteStore.open(tmp_path / "node.sqlite", STEPS)
    rows = [("x" * 1000,) for _ in range(1000)]
    await store.transact(lambda tx: tx.executemany("INSERT INTO notes (text) VALUES (?)", rows))
    with pytest.raises(DiskFull):
        await store.backup(str(disk / "copy.sqlite"))
    assert list(disk.iterdir()) == []
    (tmp_path / "backups").symlink_to(disk)
    with pytest.raises(DiskFull):
        await make_backup(store, tmp_path / "node.sqlite")
    assert list(disk.iterdir()) == []
    await store.close()


async def test_a_new_database_on_a_full_disk_says_so(small_disk):
    disk = small_disk(64)
    (disk / "ballast").write_bytes(bytes(65_536))
    with pytest.raises(DiskFull):
        SqliteStore.open(disk / "node.sqlite", STEPS)
