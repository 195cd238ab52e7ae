"""The file system under stores and blobs: syncing, free space, and what its faults mean (M07)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import DiskFull, HearthNetError, InternalError, NotFound

if TYPE_CHECKING:
    from pathlib import Path

FIX_ROOM: Final = "free some space, then repeat; nothing that was confirmed is lost"
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskSpace(Struct, frozen=True):
    """Size of a file system and what a user process may still write."""

    total_bytes: int
    free_bytes: int

    @property
    def used(self) -> float:
        """Share in use, 0 to 1."""
        return 1.0 - self.free_bytes / self.total_bytes if self.total_bytes else 1.0


def measure_space(folder: Path) -> DiskSpace:
    """Space of the file system that holds the folder."""
    found = os.statvfs(folder)
    return DiskSpace(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def translate_os(error: OSError, path: Path) -> HearthNetError:
    """What a fault of the file system means for a caller."""
    if error.errno in _NO_ROOM:
        return DiskFull(f"no room on the disk of {path.name}", fix=FIX_ROOM)
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path.name} is not here")
    return InternalError(f"cannot reach {path.name}: {error.strerror}")
