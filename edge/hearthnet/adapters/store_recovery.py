"""Starting with a damaged database: set it aside, restore the newest good copy, say so (X02).

Nothing is ever deleted: the damaged file stays beside the new one as `<name>.damaged-<n>`.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import zipfile
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from hearthnet.adapters.disk import sync
from hearthnet.adapters.store_schema import check_integrity, connect, suspect_file
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.base.errors import StoreCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hearthnet.ports import Migration, Probe, Row

BACKUPS_KEPT: Final = 3
_SIDE_FILES: Final = ("-wal", "-shm")
_WINDOW_KEYS: Final = 16  # rows given up for one bad page, at most about twice this
_WINDOWS_BARREN: Final = 1000  # so many windows without a row: the end


class Opened(Struct, frozen=True):
    """What opening a database found and did."""

    outcome: Literal["ready", "restored", "started_empty"]
    damage: str = ""  # what was wrong with the file that was set aside
    set_aside: Path | None = None
    restored_from: Path | None = None


def open_or_recover(
    path: Path,
    migrations: Sequence[Migration],
    copies: Sequence[Path],
    *,
    durable: bool = True,
    probe: Probe | None = None,
) -> tuple[SqliteStore, Opened]:
    """Open the database; when it is damaged, set it aside and take the newest good one of `copies`, else start empty.

    A copy is a database file or an export (zip that holds a file of the same name). `probe` may find damage that
    SQLite cannot see. Raises what `SqliteStore.open` raises, except StoreCorrupt.
    """
    open_store = partial(SqliteStore.open, path, migrations, durable=durable, probe=probe)
    try:
        return open_store(), Opened("ready")
    except StoreCorrupt as error:
        damage = error.detail
    aside = _set_aside(path)
    existing = [copy for copy in copies if copy.is_file()]
    for copy in sorted(existing, key=lambda copy: copy.stat().st_mtime_ns, reverse=True):
        if not _restore(copy, path):
            continue
        try:
            store = open_store()
        except StoreCorrupt:
            _set_aside(path)
            continue
        return store, Opened("restored", damage, aside, copy)
    return open_store(), Opened("started_empty", damage, aside)


def list_backups(path: Path) -> list[Path]:
    """The rotating backups of this database, newest first."""
    found = (path.parent / "backups").glob(f"{path.stem}-*{path.suffix}")
    return sorted(found, key=lambda copy: copy.name, reverse=True)


async def make_backup(store: SqliteStore, path: Path, *, kept: int = BACKUPS_KEPT) -> Path:
    """Write the next rotating backup of `path`, then drop those beyond `kept`.

    Raises DiskFull; StoreCorrupt when the database turns out to be damaged: the older backups stay, and the next
    start restores one of them.
    """
    folder = path.parent / "backups"
    folder.mkdir(exist_ok=True)
    old = list_backups(path)
    number = int(old[0].stem.rsplit("-", 1)[1]) + 1 if old else 1
    target = folder / f"{path.stem}-{number:08}{path.suffix}"
    await store.backup(str(target))
    try:
        await asyncio.to_thread(_check_copy, target)
    except StoreCorrupt:
        target.unlink()
        suspect_file(path).touch()
        raise
    for copy in list_backups(path)[kept:]:
        copy.unlink(missing_ok=True)
    return target


def read_damaged(path: Path, sql: str) -> list[Row]:
    """The rows of a damaged file that can still be read; never raises for damage.

    `sql` selects rows whose integer key lies `BETWEEN ? AND ?`: windows of keys that touch a bad page are skipped.
    """
    rows: list[Row] = []
    try:
        connection = connect(path, durable=False, read_only=True)
    except StoreCorrupt:
        return rows
    try:
        low, barren = 0, 0
        while barren < _WINDOWS_BARREN:
            try:
                found = connection.execute(sql, (low, low + _WINDOW_KEYS - 1)).fetchall()
            except sqlite3.DatabaseError:
                found = []
            rows += found
            barren = 0 if found else barren + 1
            low += _WINDOW_KEYS
    finally:
        connection.close()
    return rows


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", *_SIDE_FILES):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    sync(path.parent)
    return aside


def _restore(copy: Path, path: Path) -> bool:
    """Put a copy in place of the database when it is good."""
    part = path.with_name(f"{path.name}.restoring")
    try:
        if copy.suffix == ".zip":
            if not _extract(copy, path.name, part):
                return False
        else:
            shutil.copyfile(copy, part)
        _check_copy(part)
        sync(part)
        part.rename(path)
        sync(path.parent)
    except (StoreCorrupt, zipfile.BadZipFile):
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


def _check_copy(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        check_integrity(connection, copy)


def _extract(archive: Path, name: str, target: Path) -> bool:
    with zipfile.ZipFile(archive) as opened:
        for item in opened.infolist():
            if item.filename.rsplit("/", 1)[-1] == name:
                with opened.open(item) as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out, 1_048_576)
                return True
    return False
