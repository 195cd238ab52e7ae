"""Checks of keys, folders, databases and disk (X03).

The specification's keys_present, keys_loadable, community_present, event_log_writable, disk_space.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import KeyFileError
from hearthnet.mesh.doctor_finding import Check, Look, Scene
from hearthnet.wire.identity import KeyPair, short_id

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATABASE_WITHIN_S: Final = 3.0
_GIGABYTE: Final = 1_000_000_000


def _secret(scene: Scene) -> Path:
    folder = scene.config.identity.keys_dir
    return (Path(folder).expanduser() if folder else scene.paths.keys) / "device.ed25519"


def _existing(path: Path) -> Path:
    """The path itself or the nearest folder above that exists."""
    while not path.exists():
        path = path.parent
    return path


def _look_keys_present(scene: Scene) -> Look:
    path = _secret(scene)
    if not path.exists():
        return Look("warn", "missing", {"path": str(path)}, "hearthnet init")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Look("fail", "open", {"path": str(path), "mode": f"{mode:04o}"}, f"chmod 600 {path}", mendable=True)
    return Look("ok", "private", {"path": str(path)})


def _close_keys(scene: Scene) -> None:
    _secret(scene).chmod(0o600)


def _look_keys_loadable(scene: Scene) -> Look:
    path = _secret(scene)
    if not path.is_file():
        return Look("warn", "missing", {"path": str(path)}, "hearthnet init")
    try:
        with path.open("rb") as stream:
            key = KeyPair(stream.read(KeyPair.SEED_BYTES + 1))
    except KeyFileError:
        return Look("fail", "broken", {"path": str(path)}, f"mv {path} {path}.broken")
    public = path.with_name("device.pub")
    if public.exists() and public.read_bytes() != key.public:
        return Look("fail", "foreign", {"path": str(public)}, f"mv {public} {public}.old")
    return Look("ok", "loaded", {"id": short_id(key.node_id)})


def _folders(scene: Scene) -> Iterator[Path]:
    yield from (path for path in (scene.paths.data, scene.paths.keys, scene.paths.run) if path.exists())


def _look_folders(scene: Scene) -> Look:
    for path in _folders(scene):
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            return Look("fail", "locked", {"path": str(path)}, f"sudo chown -R $(id -un) {path}")
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            return Look("warn", "open", {"path": str(path), "mode": f"{mode:04o}"}, f"chmod 700 {path}", mendable=True)
    start = _existing(scene.paths.data)
    if not os.access(start, os.W_OK):
        return Look("fail", "locked", {"path": str(start)}, f"sudo chown -R $(id -un) {start}")
    return Look("ok", "private", {"path": str(scene.paths.data)})


def _close_folders(scene: Scene) -> None:
    for path in _folders(scene):
        path.chmod(0o700)


def _databases(scene: Scene) -> list[Path]:
    found = (scene.paths.data / "node.sqlite", *sorted(scene.paths.data.glob("communities/*/events.sqlite")))
    return [path for path in found if path.exists()]


def _look_community(scene: Scene) -> Look:
    logs = [path for path in _databases(scene) if path.name == "events.sqlite"]
    return Look("ok", "member" if logs else "none", {"count": str(len(logs))})


def _look_databases(scene: Scene) -> Look:
    databases = _databases(scene)
    deadline = time.monotonic() + _DATABASE_WITHIN_S
    for path in databases:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            try:
                verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.DatabaseError as fault:
                if time.monotonic() > deadline:
                    return Look("ok", "large", {"count": str(len(databases))})
                verdict = str(fault)
        if verdict != "ok":
            return Look("fail", "broken", {"path": str(path), "why": verdict}, "hearthnet run")
    return Look("ok", "sound" if databases else "none", {"count": str(len(databases))})


def _look_event_log(scene: Scene) -> Look:
    for path in _databases(scene):
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=1)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            except sqlite3.DatabaseError as fault:
                if "locked" in str(fault):  # a node that writes right now can write
                    continue
                return Look("fail", "refused", {"path": str(path), "why": str(fault)}, f"ls -l {path.parent}")
    return Look("ok", "writable" if _databases(scene) else "none")


def _look_disk(scene: Scene) -> Look:
    folder = _existing(scene.paths.data)
    free = shutil.disk_usage(folder).free
    values = {"free": f"{free / _GIGABYTE:.1f}", "path": str(folder)}
    if free < scene.config.file.min_free_bytes:
        return Look("fail", "full", values, f"df -h {folder}")
    if free < 2 * scene.config.file.min_free_bytes:
        return Look("warn", "low", values, f"df -h {folder}")
    return Look("ok", "room", values)


def _look_control_socket(scene: Scene) -> Look:
    path = scene.paths.control_socket
    if not path.exists():
        return Look("ok", "none")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 and stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
        return Look("fail", "open", {"path": str(path), "mode": f"{mode:04o}"}, f"chmod 600 {path}", mendable=True)
    if _answers(path):
        return Look("ok", "private", {"path": str(path)})
    return Look("warn", "stale", {"path": str(path)}, f"rm {path}", mendable=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _tidy_control_socket(scene: Scene) -> None:
    path = scene.paths.control_socket
    if _answers(path):
        path.chmod(0o600)
    else:
        path.unlink(missing_ok=True)


CHECKS: Final = (
    Check("keys_present", "identity", _look_keys_present, ("private", "missing", "open"), _close_keys),
    Check("keys_loadable", "identity", _look_keys_loadable, ("loaded", "missing", "broken", "foreign")),
    Check("folders_private", "security", _look_folders, ("private", "open", "locked"), _close_folders),
    Check(
        "control_socket", "security", _look_control_socket, ("private", "none", "stale", "open"), _tidy_control_socket
    ),
    Check("community_present", "identity", _look_community, ("member", "none")),
    Check("databases_sound", "storage", _look_databases, ("sound", "large", "none", "broken")),
    Check("event_log_writable", "storage", _look_event_log, ("writable", "none", "refused")),
    Check("disk_space", "storage", _look_disk, ("room", "low", "full")),
)
