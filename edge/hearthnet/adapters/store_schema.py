"""Opening a SQLite file: pragmas, integrity check, migrations, and the meaning of its errors (X02)."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from hearthnet.adapters.disk import FIX_ROOM, measure_space, translate_os
from hearthnet.base.errors import DiskFull, HearthNetError, InternalError, StartupError, StoreCorrupt, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hearthnet.ports import Migration

TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 ORDER BY name"
_CORRUPT: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_IO: Final = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_NO_ROOM_BYTES: Final = 1_048_576  # an I/O error with less than this free is a full disk
_CHECK_ALWAYS_BYTES: Final = 256 * 1_048_576
_JOURNAL_BYTES: Final = 16 * 1_048_576


def connect(path: Path, *, durable: bool, read_only: bool = False) -> sqlite3.Connection:
    """Open the file in WAL mode; `durable` commits reach the disk before they return.

    Raises StoreCorrupt, DiskFull or InternalError.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit={_JOURNAL_BYTES}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # what people delete, or what expires, is overwritten
        connection.execute("PRAGMA trusted_schema=OFF")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    return connection


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Walk every page (`quick_check`); raises StoreCorrupt naming the first finding."""
    try:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise translate(error, path) from error
    judge(str(finding), path)


def judge(finding: str, path: Path) -> None:
    """What `quick_check` found; raises StoreCorrupt unless all is well."""
    if finding != "ok":
        raise _corrupt(path, finding)


def needs_check(path: Path) -> bool:
    """Whether to walk every page before use: always, but for a large file that was closed properly.

    Large files are walked while the node runs, and with each backup; what is found is remembered in `suspect_file`.
    """
    if not path.exists():
        return False
    journal = path.with_name(path.name + "-wal")
    unclean = journal.exists() and journal.stat().st_size > 0
    return unclean or suspect_file(path).exists() or path.stat().st_size <= _CHECK_ALWAYS_BYTES


def suspect_file(path: Path) -> Path:
    """Lies beside a database in which damage was found while it was in use."""
    return path.with_name(path.name + ".suspect")


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Bring the schema up to date, each step whole; raises StartupError when the file is from a newer program.

    Steps are kept per owner in `schema_steps`; `user_version` counts them.
    """
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_steps (owner TEXT, number INTEGER, PRIMARY KEY (owner, number))"
            " WITHOUT ROWID"
        )
        done = set(connection.execute("SELECT owner, number FROM schema_steps"))
        known = {(step.owner, step.number) for step in migrations}
        owners = {step.owner for step in migrations}
        newer = sorted(step for step in done - known if step[0] in owners)
        if newer:
            raise StartupError(
                f"{path.name} was written by a newer version: step {newer[-1][1]} of {newer[-1][0]!r} is unknown here",
                fix="run the newer version, or set HEARTHNET_HOME to another folder",
            )
        for step in sorted(migrations, key=lambda step: step.number):
            if (step.owner, step.number) not in done:
                _apply(connection, step)
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(step.sql):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_steps VALUES (?, ?)", (step.owner, step.number))
        (count,) = connection.execute("SELECT count(*) FROM schema_steps").fetchone()
        connection.execute(f"PRAGMA user_version={int(count)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _statements(sql: str) -> Iterator[str]:
    pending = ""
    for piece in sql.split(";"):
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n\t;"):
                yield pending
            pending = ""


def translate(error: sqlite3.Error | OSError, path: Path) -> HearthNetError:
    """What a fault of SQLite or of the file system means for a caller."""
    if isinstance(error, OSError):
        return translate_os(error, path)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _CORRUPT:
        return _corrupt(path, str(error))
    if code == sqlite3.SQLITE_FULL or (code in _IO and measure_space(path.parent).free_bytes < _NO_ROOM_BYTES):
        return DiskFull(f"no room on the disk of {path.name}", fix=FIX_ROOM)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Unavailable(f"{path.name} is locked by another program")
    return InternalError(f"{path.name}: {error}")


def _corrupt(path: Path, finding: str) -> StoreCorrupt:
    return StoreCorrupt(f"{path.name} is damaged: {finding[:200]}", fix="start the node: it restores the newest backup")
