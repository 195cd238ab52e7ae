"""One node per home: a locked file that names the process holding it (M12)."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from hearthnet.base.errors import AlreadyRunning

if TYPE_CHECKING:
    from pathlib import Path


class HomeLock:
    """Held from `__init__` to `release`, or to the end of the process however it ends.

    Raises AlreadyRunning with the other process's number.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._handle, 16).decode("ascii", "replace").strip() or "unknown"
            os.close(self._handle)
            raise AlreadyRunning(
                f"process {pid} already runs a node in {path.parent}",
                fix=f"stop it (kill {pid}), or set HEARTHNET_HOME to another folder",
            ) from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another node start here; idempotent. The file stays, its lock is gone."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None
