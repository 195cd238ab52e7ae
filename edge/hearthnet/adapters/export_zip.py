"""A signed export of the node without its private key, and the same data as CSV or JSON tables (M12).

The zip holds consistent copies of the databases (sessions, tokens and pairing codes removed), the configuration and
`manifest.json` with the BLAKE3 of every member, signed with the node key under `hearthnet/export/1`.
"""

from __future__ import annotations

import csv
import errno
import io
import sqlite3
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec
from blake3 import blake3
from msgspec import Struct

from hearthnet.base.errors import DiskFull, HashMismatch, InvalidSignature, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_SECRET_TABLES: Final = ("session", "pairing", "token")
_HIDDEN_PREFIXES: Final = ("sqlite_", "schema_steps", *_SECRET_TABLES)


class ExportManifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What the zip holds and whose it is."""

    node_id: str
    created_at: int
    version: str
    files: dict[str, str]  # name -> "blake3:<hex>"


def databases(data: Path) -> list[Path]:
    """The databases of a data folder: the node's own and its community's event log."""
    return [path for path in (data / "node.sqlite", *sorted(data.glob("communities/*/events.sqlite"))) if path.exists()]


def write_export(
    target: Path, data: Path, config_file: Path, node: tuple[str, int, str], sign: Callable[[bytes], bytes]
) -> ExportManifest:
    """Write the zip to `target` (whole or not at all); `node` is (node id, unix seconds, version).

    Raises DiskFull when there is no room, OSError when the folder cannot be written; then nothing is left behind.
    """
    partial = target.with_name(f".{target.name}.part")
    members: dict[str, str] = {}
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in databases(data):
                _add(archive, members, path.name, _clean_copy(path))
            if config_file.exists():
                _add(archive, members, "config.toml", config_file.read_bytes())
            manifest = ExportManifest(*node, members)
            encoded = msgspec.json.encode(manifest, order="sorted")
            archive.writestr("manifest.json", encoded)
            archive.writestr("manifest.sig", sign(encoded))
        partial.replace(target)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(f"cannot write {target}: {error.strerror}", fix="choose another folder with --out") from error
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def check_export(source: Path, verify: Callable[[str, bytes, bytes], None]) -> ExportManifest:
    """Read and verify a zip; `verify(node_id, message, signature)` raises InvalidSignature.

    Raises NotFound, HashMismatch, InvalidSignature.
    """
    if not source.is_file():
        raise NotFound(f"no file {source}")
    try:
        with zipfile.ZipFile(source) as archive:
            encoded = archive.read("manifest.json")
            manifest = msgspec.json.decode(encoded, type=ExportManifest)
            verify(manifest.node_id, encoded, archive.read("manifest.sig"))
            for name, expected in manifest.files.items():
                if f"blake3:{blake3(archive.read(name)).hexdigest()}" != expected:
                    raise HashMismatch(f"{name} in {source.name} was changed")
    except (zipfile.BadZipFile, KeyError, msgspec.MsgspecError) as error:
        raise InvalidSignature(f"{source.name} is not an export: {error}") from error
    return manifest


def write_tables(folder: Path, data: Path, form: str) -> list[Path]:
    """Every table as `<database>-<table>.csv` or `.json` in `folder`; tables with secrets are left out."""
    import sqlite_utils  # noqa: PLC0415  27 MB that only this command needs

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in databases(data):
        database = sqlite_utils.Database(sqlite3.connect(f"file:{path}?mode=ro", uri=True))
        with closing(database.conn):
            for table in _open_tables(database.table_names()):
                target = folder / f"{path.stem}-{table}.{form}"
                rows = [_readable(row) for row in database[table].rows]
                target.write_text(_as_csv(rows) if form == "csv" else _as_json(rows), encoding="utf-8")
                written.append(target)
    return written


def _open_tables(names: list[str]) -> Iterator[str]:
    for name in names:
        if not name.startswith(_HIDDEN_PREFIXES) and "_fts" not in name and "_trigram" not in name:
            yield name


def _readable(row: dict[str, object]) -> dict[str, object]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in row.items()}


def _as_csv(rows: list[dict[str, object]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _as_json(rows: list[dict[str, object]]) -> str:
    return msgspec.json.format(msgspec.json.encode(rows), indent=1).decode()


def _add(archive: zipfile.ZipFile, members: dict[str, str], name: str, body: bytes) -> None:
    archive.writestr(name, body)
    members[name] = f"blake3:{blake3(body).hexdigest()}"


def _clean_copy(path: Path) -> bytes:
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(":memory:")) as copy,
    ):
        source.backup(copy)
        tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in _SECRET_TABLES:
            if table in tables:
                copy.execute(f"DELETE FROM {table}")  # noqa: S608  names are the constants above
        copy.commit()
        copy.execute("VACUUM")
        return copy.serialize()
