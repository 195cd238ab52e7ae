"""A damaged database file never stops the start, and is never thrown away."""

from __future__ import annotations

import os
import zipfile

import pytest

from hearthnet.adapters import store_schema
from hearthnet.adapters.store_recovery import list_backups, make_backup, open_or_recover, read_damaged
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.base.errors import StoreCorrupt
from hearthnet.ports import Migration

STEPS = [Migration("notes", 1, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")]


async def fill(path, count, start=0):
    store = SqliteStore.open(path, STEPS)
    rows = [(f"note {i} " + "x" * 200,) for i in range(start, start + count)]
    await store.transact(lambda tx: tx.executemany("INSERT INTO notes (text) VALUES (?)", rows))
    return store


def spoil(path, part=0.5, length=8192):
    """Write garbage into the middle of the file, as a dying card does."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * part) // 4096 * 4096)
        file.write(os.urandom(length))


async def count(store):
    return (await store.query("SELECT count(*) FROM notes"))[0][0]


async def test_a_healthy_file_is_just_opened(tmp_path):
    path = tmp_path / "node.sqlite"
    await (await fill(path, 3)).close()
    store, opened = open_or_recover(path, STEPS, [])
    assert opened.outcome == "ready"
    assert await count(store) == 3
    await store.close()


async def test_a_garbage_page_is_found_at_open(tmp_path):
    path = tmp_path / "node.sqlite"
    await (await fill(path, 2000)).close()
    spoil(path)
    with pytest.raises(StoreCorrupt, match="sqlite is damaged") as caught:
        SqliteStore.open(path, STEPS)
    assert caught.value.fix
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("part", [0.0, 0.3, 0.95])
async def test_the_newest_good_backup_comes_back_and_the_damaged_file_stays(tmp_path, part):
    path = tmp_path / "node.sqlite"
    store = await fill(path, 1000)
    await make_backup(store, path)
    await store.close()
    store = await fill(path, 500, start=1000)
    await make_backup(store, path)
    await store.close()
    newest = list_backups(path)[0]
    spoil(path, part)
    damaged = path.read_bytes()

    store, opened = open_or_recover(path, STEPS, list_backups(path))
    assert (opened.outcome, opened.restored_from) == ("restored", newest)
    assert "damaged" in opened.damage
    assert await count(store) == 1500
    assert opened.set_aside.read_bytes() == damaged
    assert newest.exists()
    await store.close()


async def test_a_damaged_backup_is_passed_over_for_an_older_one(tmp_path):
    path = tmp_path / "node.sqlite"
    store = await fill(path, 1000)
    for _ in range(2):
        await make_backup(store, path)
    await store.close()
    newest, older = list_backups(path)
    spoil(newest)
    os.utime(older, (1, 1))
    spoil(path)
    store, opened = open_or_recover(path, STEPS, list_backups(path))
    assert opened.restored_from == older
    assert await count(store) == 1000
    await store.close()


async def test_an_export_restores_too(tmp_path):
    path = tmp_path / "node.sqlite"
    store = await fill(path, 10)
    await store.backup(str(tmp_path / "copy.sqlite"))
    await store.close()
    export = tmp_path / "export.zip"
    with zipfile.ZipFile(export, "w") as archive:
        archive.write(tmp_path / "copy.sqlite", "hearthnet/node.sqlite")
    not_an_export = tmp_path / "broken.zip"
    not_an_export.write_bytes(b"PK\x03\x04 torn")
    spoil(path, 0.0)
    store, opened = open_or_recover(path, STEPS, [not_an_export, export])
    assert (opened.outcome, opened.restored_from) == ("restored", export)
    assert await count(store) == 10
    await store.close()


async def test_without_any_copy_it_starts_empty_and_says_so(tmp_path):
    path = tmp_path / "node.sqlite"
    await (await fill(path, 1000)).close()
    spoil(path, 0.0)
    store, opened = open_or_recover(path, STEPS, [tmp_path / "missing.sqlite"])
    assert opened.outcome == "started_empty"
    assert opened.set_aside.exists()
    assert await count(store) == 0
    await store.close()
    spoil(path, 0.0)
    store, again = open_or_recover(path, STEPS, [])
    assert again.set_aside != opened.set_aside
    await store.close()


async def test_rows_on_sound_pages_of_a_damaged_file_can_be_read(tmp_path):
    path = tmp_path / "node.sqlite"
    await (await fill(path, 2000)).close()
    spoil(path)
    store, opened = open_or_recover(path, STEPS, [])
    await store.close()
    rows = read_damaged(opened.set_aside, "SELECT id, text FROM notes WHERE id BETWEEN ? AND ?")
    assert 1800 < len(rows) < 2000
    assert all(text.startswith(f"note {key - 1} ") for key, text in rows)
    assert read_damaged(tmp_path / "none.sqlite", "SELECT id FROM notes WHERE id BETWEEN ? AND ?") == []


async def test_only_the_newest_backups_are_kept(tmp_path):
    path = tmp_path / "node.sqlite"
    store = await fill(path, 1)
    made = [await make_backup(store, path, kept=2) for _ in range(4)]
    assert list_backups(path) == [made[3], made[2]]
    await store.close()


async def test_a_backup_of_a_damaged_database_replaces_no_good_one_and_is_remembered(tmp_path, monkeypatch):
    path = tmp_path / "node.sqlite"
    store = await fill(path, 2000)
    good = await make_backup(store, path, kept=1)
    await store.query("SELECT count(*) FROM notes")
    await store.close()
    monkeypatch.setattr(store_schema, "_CHECK_ALWAYS_BYTES", 0)  # as if it were a large file
    spoil(path)
    store = SqliteStore.open(path, STEPS)
    for _ in range(2):
        with pytest.raises(StoreCorrupt):
            await make_backup(store, path, kept=1)
    assert list_backups(path) == [good]
    await store.close()
    store, opened = open_or_recover(path, STEPS, list_backups(path))
    assert (opened.outcome, opened.restored_from) == ("restored", good)
    assert await count(store) == 2000
    await store.close()
    store, again = open_or_recover(path, STEPS, [])
    assert again.outcome == "ready"
    await store.close()


async def test_a_large_file_that_was_closed_properly_opens_without_a_walk_and_after_a_crash_with_one(
    tmp_path, monkeypatch
):
    path = tmp_path / "node.sqlite"
    await (await fill(path, 2000)).close()
    spoil(path)
    monkeypatch.setattr(store_schema, "_CHECK_ALWAYS_BYTES", 0)
    store = SqliteStore.open(path, STEPS)
    await store.close()
    path.with_name("node.sqlite-wal").write_bytes(b"left by a crash")
    with pytest.raises(StoreCorrupt):
        SqliteStore.open(path, STEPS)
