"""A store in memory that fails on demand: full disk, lost writes at a crash, torn page (X02).

It keeps the image that a real disk would hold: with `durable` every commit is in it at once, without it only what
`sync` wrote. `crash` returns the store that a restart would find there.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from hearthnet.adapters.store_schema import check_integrity, migrate, translate
from hearthnet.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hearthnet.ports import Migration, Row, SqlValue, Transaction

T = TypeVar("T")

_NAME: Final = Path("memory.sqlite")
_PAGE_BYTES: Final = 4096
_NO_LIMIT_PAGES: Final = 1_073_741_823


class FakeStore:
    """The `Store` port over a database in memory; `history` lists what was asked of it."""

    def __init__(self, migrations: Sequence[Migration], *, durable: bool = True, image: bytes = b"") -> None:
        self._migrations = migrations
        self._durable = durable
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._closed = False
        self.history: list[str] = []
        if image:
            self._connection.deserialize(image)
        try:
            check_integrity(self._connection, _NAME)
            migrate(self._connection, _NAME, migrations)
        except BaseException:
            self._connection.close()
            raise
        self._synced = self._connection.serialize()

    async def query(self, sql: str, params: Sequence[SqlValue] = ()) -> list[Row]:
        """Rows of one read statement."""
        self._refuse_closed()
        await asyncio.sleep(0)
        self._connection.execute("PRAGMA query_only=ON")
        try:
            return self._connection.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise translate(error, _NAME) from error
        finally:
            self._connection.execute("PRAGMA query_only=OFF")

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` at once, all or nothing."""
        self._refuse_closed()
        await asyncio.sleep(0)
        return self._run(work)

    def enqueue(self, work: Callable[[Transaction], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run `work` soon, all or nothing, and tell `done`."""

        def run() -> None:
            try:
                value = self._run(work)
            except Exception as error:  # noqa: BLE001  it belongs to the caller and is told there
                done(None, error)
            else:
                done(value, None)

        self._refuse_closed()
        asyncio.get_running_loop().call_soon(run)

    def _run(self, work: Callable[[Transaction], T]) -> T:
        self._refuse_closed()
        connection = self._connection
        self.history.append("transact")
        try:
            connection.execute("BEGIN")
            value = work(_FakeTransaction(connection))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise translate(error, _NAME) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return value

    async def walk(self, pause: Callable[[], Awaitable[None]]) -> int:
        """Nothing is left to check: opening always walks everything."""
        self._refuse_closed()
        return 0

    async def backup(self, target: str) -> None:
        """Write the image to a file."""
        self._refuse_closed()
        await asyncio.to_thread(Path(target).write_bytes, self._connection.serialize())

    async def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self.sync()
            self._closed = True
            self._connection.close()

    def sync(self) -> None:
        """What the operating system does some time after a commit that is not durable."""
        self.history.append("sync")
        self._synced = self._connection.serialize()

    def fill_disk(self, after_bytes: int = 0) -> None:
        """Refuse to grow by more than `after_bytes`, as a full disk does."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._connection.execute(f"PRAGMA max_page_count={pages + after_bytes // _PAGE_BYTES}")

    def free_disk(self) -> None:
        """Space has returned."""
        self._connection.execute(f"PRAGMA max_page_count={_NO_LIMIT_PAGES}")

    def crash(self, torn_page: int | None = None) -> FakeStore:
        """Lose power; returns the store opened again, raising StoreCorrupt when a page that matters was torn."""
        if self._durable and not self._closed:
            self._synced = self._connection.serialize()
        self._closed = True
        self._connection.close()
        image = self._synced
        if torn_page is not None:
            start = torn_page * _PAGE_BYTES
            image = image[:start] + b"\xff" * (_PAGE_BYTES // 2) + image[start + _PAGE_BYTES // 2 :]
        return FakeStore(self._migrations, durable=self._durable, image=image)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("the database is closed")


class _FakeTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Sequence[SqlValue] = ()) -> int:
        try:
            return max(0, self._connection.execute(sql, params).rowcount)
        except sqlite3.Error as error:
            raise translate(error, _NAME) from error

    def executemany(self, sql: str, rows: Sequence[Sequence[SqlValue]]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise translate(error, _NAME) from error

    def query(self, sql: str, params: Sequence[SqlValue] = ()) -> list[Row]:
        try:
            return self._connection.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise translate(error, _NAME) from error
