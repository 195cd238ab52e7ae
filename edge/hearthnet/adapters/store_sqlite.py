"""SQLite in WAL mode: one writer thread with group commit, readers beside it (X02).

Work handed to `transact` while a commit is under way is collected and shares the next commit, and with it one
fsync; each caller is answered after its own commit. Work that raises is rolled back to its savepoint and leaves
its neighbours alone; a fault of the disk fails the whole group, and nothing of it is kept.
A caller cancelled before its work began changes nothing; cancelled later, its work still runs to the end.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hearthnet.adapters.disk import sync
from hearthnet.adapters.store_schema import (
    TABLES,
    check_integrity,
    connect,
    judge,
    migrate,
    needs_check,
    suspect_file,
    translate,
)
from hearthnet.base.errors import StoreCorrupt, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hearthnet.ports import Migration, Probe, Row, SqlValue, Transaction

T = TypeVar("T")

GROUP_MAX = 512
READERS = 2


class SqliteStore:
    """One database file; see `hearthnet.ports.Store`. Made by `open`, ended by `close`."""

    def __init__(self, path: Path, writer: sqlite3.Connection, readers: int, *, walked: bool = True) -> None:
        self._path = path
        self._writer = writer
        self._walked = walked  # every page was checked at open, or there were none
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._local = threading.local()
        self._open_readers: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(readers, f"read-{path.stem}", self._open_reader)
        self._thread = threading.Thread(target=self._write, name=f"write-{path.stem}", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        path: Path,
        migrations: Sequence[Migration],
        *,
        durable: bool = True,
        readers: int = READERS,
        probe: Probe | None = None,
    ) -> SqliteStore:
        """Open or create, check, migrate, probe; blocking. Raises StoreCorrupt, DiskFull, StartupError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new, thorough = not path.exists(), needs_check(path)
        writer = connect(path, durable=durable)
        try:
            if thorough:
                check_integrity(writer, path)
                suspect_file(path).unlink(missing_ok=True)
            migrate(writer, path, migrations)
            if probe is not None:
                probe(_Transaction(writer, path).query)
        except BaseException:
            writer.close()
            raise
        return cls(path, writer, readers, walked=thorough or new)

    async def query(self, sql: str, params: Sequence[SqlValue] = ()) -> list[Row]:
        """Rows of one read statement; a cancelled query is interrupted."""
        self._refuse_closed()
        read = _Read(sql, params, self._path)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, read.run, self._local)
        except asyncio.CancelledError:
            read.interrupt()
            raise

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in the writer thread; resolves after the commit."""
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(work, partial(_settle, future), loop, future))
        return await future

    def enqueue(self, work: Callable[[Transaction], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run `work` in the writer thread; `done` is called in this loop after the commit."""
        self._refuse_closed()
        self._jobs.put(_Job(work, done, asyncio.get_running_loop()))

    async def walk(self, pause: Callable[[], Awaitable[None]]) -> int:
        """Check what opening left unchecked, beside readers and writer; cancelling interrupts it."""
        self._refuse_closed()
        if self._walked:
            return 0
        try:
            tables = await self.query(TABLES)
            for (table,) in tables:
                await pause()
                ((finding, *_), *_) = await self.query(f'PRAGMA quick_check("{table}")')
                judge(finding, self._path)
        except StoreCorrupt:
            suspect_file(self._path).touch()
            raise
        self._walked = True
        return len(tables)

    async def backup(self, target: str) -> None:
        """Consistent copy; the target appears whole or not at all."""
        self._refuse_closed()
        await asyncio.to_thread(_copy, self._path, Path(target))

    async def close(self) -> None:
        """Finish what was queued, checkpoint, close; idempotent."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self._thread.join()
        self._readers.shutdown()
        while self._open_readers:
            self._open_readers.pop().close()
        self._writer.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable(f"the database {self._path.name} is closed")

    def _open_reader(self) -> None:
        self._local.connection = connect(self._path, durable=False, read_only=True)
        self._open_readers.append(self._local.connection)

    # ---- in the writer thread ---------------------------------------------------------------------------------

    def _write(self) -> None:
        while (first := self._jobs.get()) is not None:
            group, last = [first], False
            while len(group) < GROUP_MAX:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    last = True
                    break
                group.append(job)
            self._answer(self._commit(group))
            if last:
                break

    def _commit(self, group: list[_Job]) -> list[_Answer]:
        """Run the group in one transaction; every job gets an answer."""
        writer = self._writer
        transaction = _Transaction(writer, self._path)
        answers: list[_Answer] = []
        try:
            writer.execute("BEGIN IMMEDIATE")
            for job in group:
                if job.future is None or not job.future.cancelled():
                    answers.append(transaction.attempt(job, alone=len(group) == 1))
                if transaction.fault is not None:
                    raise transaction.fault
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            fault = translate(error, self._path)
            return [_Answer(job, None, fault) for job in group]
        return answers

    def _answer(self, answers: list[_Answer]) -> None:
        for loop in {answer.job.loop for answer in answers}:
            mine = [answer for answer in answers if answer.job.loop is loop]
            try:
                loop.call_soon_threadsafe(_tell, mine)
            except RuntimeError:  # the callers' loop is closed: nobody waits any more
                continue


class _Job:
    __slots__ = ("done", "future", "loop", "work")

    def __init__(
        self,
        work: Callable[[Transaction], Any],
        done: Callable[[Any, BaseException | None], None],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any] | None = None,  # who waits, when somebody can stop waiting
    ) -> None:
        self.work = work
        self.done = done
        self.loop = loop
        self.future = future


class _Answer:
    __slots__ = ("error", "job", "value")

    def __init__(self, job: _Job, value: object, error: BaseException | None) -> None:
        self.job = job
        self.value = value
        self.error = error


def _tell(answers: list[_Answer]) -> None:
    if len(answers) == 1:
        answers[0].job.done(answers[0].value, answers[0].error)
        return
    loop = asyncio.get_running_loop()
    for answer in answers:  # one that raises harms no other
        loop.call_soon(answer.job.done, answer.value, answer.error)


def _settle(future: asyncio.Future[T], value: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


class _Transaction:
    """The open write transaction; `fault` keeps the first error of the disk."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self.fault: sqlite3.Error | None = None

    def execute(self, sql: str, params: Sequence[SqlValue] = ()) -> int:
        try:
            return max(0, self._connection.execute(sql, params).rowcount)
        except sqlite3.Error as error:
            raise self._note(error) from error

    def executemany(self, sql: str, rows: Sequence[Sequence[SqlValue]]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._note(error) from error

    def query(self, sql: str, params: Sequence[SqlValue] = ()) -> list[Row]:
        try:
            return self._connection.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise self._note(error) from error

    def attempt(self, job: _Job, *, alone: bool) -> _Answer:
        """Run one job; undo it alone when it raises."""
        if not alone:
            self._connection.execute("SAVEPOINT job")
        try:
            value = job.work(self)
        except Exception as error:  # noqa: BLE001  it belongs to the caller and is raised there
            if self.fault is None:
                self._connection.execute("ROLLBACK" if alone else "ROLLBACK TO job")
                self._connection.execute("BEGIN" if alone else "RELEASE job")
            return _Answer(job, None, error)
        if not alone and self.fault is None:
            self._connection.execute("RELEASE job")
        return _Answer(job, value, None)

    def _note(self, error: sqlite3.Error) -> Exception:
        found = translate(error, self._path)
        if self.fault is None and (found.code != "internal_error" or not self._connection.in_transaction):
            self.fault = error  # the disk failed, not the statement: the whole group is void
        return found


class _Read:
    """One read in a reader thread; can be interrupted from the loop."""

    def __init__(self, sql: str, params: Sequence[SqlValue], path: Path) -> None:
        self._sql = sql
        self._params = params
        self._path = path
        self._lock = threading.Lock()
        self._running: sqlite3.Connection | None = None
        self._cancelled = False

    def run(self, local: threading.local) -> list[Row]:
        with self._lock:
            if self._cancelled:
                return []
            self._running = local.connection
        try:
            rows: list[Row] = local.connection.execute(self._sql, self._params).fetchall()
            return rows
        except sqlite3.Error as error:
            raise translate(error, self._path) from error
        finally:
            with self._lock:
                self._running = None

    def interrupt(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._running is not None:
                self._running.interrupt()


def _copy(path: Path, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        source = connect(path, durable=False, read_only=True)
        try:
            copy = sqlite3.connect(part)
            try:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # one file, complete in itself
            finally:
                copy.close()
        finally:
            source.close()
        sync(part)
        part.replace(target)
        sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        part.unlink(missing_ok=True)
        raise translate(error, path) from error
