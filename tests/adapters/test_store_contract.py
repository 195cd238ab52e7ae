"""What every store promises, asked of the real one and of its fake."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.base.errors import InternalError, StartupError, Unavailable
from hearthnet.ports import Migration

STEPS = [Migration("notes", 1, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)")]


def open_store(kind, tmp_path, migrations=STEPS):
    if kind == "fake":
        return FakeStore(migrations)
    return SqliteStore.open(tmp_path / "node.sqlite", migrations, durable=kind == "durable")


@pytest.fixture(params=["durable", "relaxed", "fake"])
async def store(request, tmp_path):
    store = open_store(request.param, tmp_path)
    yield store
    await store.close()


def insert(text):
    return lambda tx: tx.execute("INSERT INTO notes (text) VALUES (?)", (text,))


async def texts(store):
    return [row[0] for row in await store.query("SELECT text FROM notes ORDER BY id")]


async def test_a_read_after_a_write_sees_it(store):
    assert await store.transact(insert("a")) == 1
    assert await texts(store) == ["a"]


async def test_the_result_of_the_work_comes_back(store):
    await store.transact(lambda tx: tx.executemany("INSERT INTO notes (text) VALUES (?)", [("a",), ("b",)]))
    assert await store.transact(lambda tx: tx.query("SELECT count(*) FROM notes")) == [(2,)]


async def test_work_that_raises_is_rolled_back_and_raises_here(store):
    def work(tx):
        tx.execute("INSERT INTO notes (text) VALUES ('half')")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await store.transact(work)
    assert await texts(store) == []


async def test_one_failing_job_does_not_harm_the_others_of_its_group(store):
    jobs = [store.transact(insert(text)) for text in ("a", "b", "a", "c")]
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(item) for item in outcomes] == [int, int, InternalError, int]
    assert sorted(await texts(store)) == ["a", "b", "c"]


async def test_a_wrong_statement_is_an_internal_error_and_the_store_goes_on(store):
    with pytest.raises(InternalError):
        await store.query("SELECT nothing FROM nowhere")
    with pytest.raises(InternalError):
        await store.transact(lambda tx: tx.query("SELECT nothing FROM nowhere"))
    await store.transact(insert("after"))
    assert await texts(store) == ["after"]


async def test_a_query_cannot_write(store):
    with pytest.raises(InternalError):
        await store.query("INSERT INTO notes (text) VALUES ('sneaked')")
    assert await texts(store) == []


async def test_work_cancelled_before_it_began_changes_nothing_and_later_work_runs(store):
    task = asyncio.ensure_future(store.transact(insert("never")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.transact(insert("later"))
    assert await texts(store) == ["later"]


async def test_enqueued_work_is_run_and_told_in_order_and_errors_are_told_too(store):
    told, last = [], asyncio.get_running_loop().create_future()

    def done(value, error):
        told.append(value if error is None else type(error))
        if len(told) == 4:
            last.set_result(None)

    for text in ("a", "b", "a", "c"):
        store.enqueue(insert(text), done)
    assert told == []  # never while it is handed over
    async with asyncio.timeout(15):
        await last
    assert told == [1, 1, InternalError, 1]
    assert await texts(store) == ["a", "b", "c"]


async def test_a_listener_that_fails_harms_no_other(store):
    errors, heard = [], asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def fail(value, error):
        raise ValueError("a listener's own fault")

    store.enqueue(insert("a"), fail)
    store.enqueue(insert("b"), lambda value, error: heard.set_result(value))
    async with asyncio.timeout(15):
        assert await heard == 1
    assert [str(error) for error in errors] == ["a listener's own fault"]
    assert await texts(store) == ["a", "b"]


async def test_a_closed_store_takes_no_work(store):
    await store.close()
    with pytest.raises(Unavailable):
        store.enqueue(insert("late"), lambda value, error: None)


async def test_what_opening_checked_is_not_walked_again(store):
    pauses = []

    async def pause():
        pauses.append(1)

    assert await store.walk(pause) == 0
    assert pauses == []


async def test_a_backup_is_a_complete_database_of_its_own(store, tmp_path):
    await store.transact(insert("kept"))
    target = tmp_path / "copy.sqlite"
    await store.backup(str(target))
    await store.transact(insert("too late"))
    copy = sqlite3.connect(target)
    assert copy.execute("SELECT text FROM notes").fetchall() == [("kept",)]
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()


async def test_a_closed_store_refuses_and_closes_twice(store):
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        await store.transact(insert("a"))
    with pytest.raises(Unavailable):
        await store.query("SELECT 1")


@pytest.mark.parametrize("kind", ["durable", "fake"])
async def test_a_step_that_fails_leaves_nothing_of_itself(kind, tmp_path):
    broken = [*STEPS, Migration("notes", 2, "CREATE TABLE more (id INTEGER); INSERT INTO nowhere VALUES (1);")]
    with pytest.raises(InternalError):
        open_store(kind, tmp_path, broken)
    store = open_store(kind, tmp_path)
    assert await store.query("SELECT name FROM sqlite_master WHERE name='more'") == []
    await store.close()


async def test_owners_add_steps_independently_and_each_step_runs_once(tmp_path):
    path = tmp_path / "node.sqlite"
    first = SqliteStore.open(path, STEPS)
    await first.transact(insert("old"))
    await first.close()
    trigger = """CREATE TABLE log (text TEXT); -- a comment; with a semicolon
        CREATE TRIGGER noted AFTER INSERT ON notes BEGIN INSERT INTO log VALUES (new.text); END;"""
    steps = [*STEPS, Migration("notes", 2, "ALTER TABLE notes ADD COLUMN lang TEXT"), Migration("log", 1, trigger)]
    for _ in range(2):
        second = SqliteStore.open(path, steps)
        assert await second.query("PRAGMA user_version") == [(3,)]
        await second.close()
    third = SqliteStore.open(path, steps)
    await third.transact(insert("new"))
    assert await third.query("SELECT text FROM log") == [("new",)]
    assert await texts(third) == ["old", "new"]
    await third.close()


async def test_a_file_of_a_newer_program_is_refused_but_not_called_corrupt(tmp_path):
    path = tmp_path / "node.sqlite"
    newer = SqliteStore.open(path, [*STEPS, Migration("notes", 2, "CREATE TABLE future (id INTEGER)")])
    await newer.close()
    with pytest.raises(StartupError, match="newer version") as caught:
        SqliteStore.open(path, STEPS)
    assert caught.value.code == "startup"
    assert caught.value.fix
    other_owner = SqliteStore.open(path, [Migration("log", 1, "CREATE TABLE log (text TEXT)")])
    await other_owner.close()


async def test_work_runs_in_one_thread_that_is_not_the_loop(tmp_path):
    store = SqliteStore.open(tmp_path / "node.sqlite", STEPS)
    threads = await asyncio.gather(*[store.transact(lambda tx: threading.get_ident()) for _ in range(20)])
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    await store.close()


async def test_many_concurrent_writes_share_few_commits(tmp_path):
    store = SqliteStore.open(tmp_path / "node.sqlite", STEPS)
    commits = []
    original = store._commit
    store._commit = lambda group: commits.append(len(group)) or original(group)
    await asyncio.gather(*[store.transact(insert(f"n{i}")) for i in range(300)])
    assert sum(commits) == 300
    assert len(commits) < 30
    assert len(await texts(store)) == 300
    await store.close()


async def test_a_cancelled_query_is_interrupted_and_frees_its_reader(tmp_path):
    store = SqliteStore.open(tmp_path / "node.sqlite", STEPS, readers=1)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.query(endless)
    async with asyncio.timeout(2):
        assert await store.query("SELECT 7") == [(7,)]
    await store.close()


async def test_readers_do_not_wait_for_the_writer(tmp_path):
    store = SqliteStore.open(tmp_path / "node.sqlite", STEPS)
    gate = threading.Event()

    def slow(tx):
        tx.execute("INSERT INTO notes (text) VALUES ('slow')")
        return gate.wait(5)

    writing = asyncio.ensure_future(store.transact(slow))
    assert await texts(store) == []
    gate.set()
    assert await writing is True
    assert await texts(store) == ["slow"]
    await store.close()


async def test_work_queued_before_close_is_kept(tmp_path):
    store = SqliteStore.open(tmp_path / "node.sqlite", STEPS)
    jobs = [asyncio.ensure_future(store.transact(insert(f"n{i}"))) for i in range(50)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*jobs)
    again = SqliteStore.open(tmp_path / "node.sqlite", STEPS)
    assert len(await texts(again)) == 50
    await again.close()
