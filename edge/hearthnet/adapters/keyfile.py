"""The device key on disk: raw 32 bytes, readable by the node's user only (M01)."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from hearthnet.base.errors import KeyFileError
from hearthnet.wire.identity import KeyPair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET_NAME = "device.ed25519"  # noqa: S105  a file name
PUBLIC_NAME = "device.pub"


def open_key(folder: Path, *, create: bool) -> KeyPair:
    """The key in `folder`; made first when there is none and `create` is set. Raises KeyFileError."""
    if not (folder / SECRET_NAME).exists() and create:
        return create_key(folder)
    return load_key(folder)


def load_key(folder: Path) -> KeyPair:
    """Read and check both files; a missing public file is written again. Raises KeyFileError with a fix."""
    path = folder / SECRET_NAME
    try:
        seed = _read_private(path)
    except FileNotFoundError as error:
        raise KeyFileError(f"no key at {path}", fix="run hearthnet init, or restore the file from a backup") from error
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}", fix="run the node as the user who owns the key") from error
    if len(seed) != KeyPair.SEED_BYTES:
        raise KeyFileError(
            f"{path} does not hold a key of {KeyPair.SEED_BYTES} bytes", fix="restore the file from a backup"
        )
    key = KeyPair(seed)
    _check_public(folder / PUBLIC_NAME, key)
    return key


def create_key(folder: Path, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> KeyPair:
    """Make a key and store it durably; never replaces one. Raises KeyFileError."""
    key = KeyPair(random_bytes(KeyPair.SEED_BYTES))
    path = folder / SECRET_NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, key.seed, 0o600)
        (folder / PUBLIC_NAME).unlink(missing_ok=True)  # left over from a key that was removed
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists and is kept", fix="move the old key away first") from error
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}", fix="make the folder writable for the node") from error
    _check_public(folder / PUBLIC_NAME, key)
    return key


def _read_private(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe in its place must not hang us
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is no regular file", fix="restore the file from a backup")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise KeyFileError(f"{path} is open to other users", fix=f"chmod 600 {path}")
        return file.read(KeyPair.SEED_BYTES + 1)


def _check_public(path: Path, key: KeyPair) -> None:
    try:
        if path.exists():
            if path.read_bytes() != key.public:
                raise KeyFileError(
                    f"{path} belongs to another key than {SECRET_NAME}",
                    fix=f"restore {SECRET_NAME}, or delete {PUBLIC_NAME} if the secret file is the right one",
                )
        else:
            _write_new(path, key.public, 0o644)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}", fix="make the folder writable for the node") from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that did not exist, whole or not at all, also across a power cut."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask says
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path)  # unlike rename, refuses to replace
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
