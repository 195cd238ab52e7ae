"""Where the node keeps its files: XDG folders, or everything below `HEARTHNET_HOME` (X04)."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Paths(msgspec.Struct, frozen=True):
    """Folders of one node; nothing is created before `create`."""

    config: Path
    data: Path
    cache: Path
    log: Path
    run: Path

    @property
    def keys(self) -> Path:
        """Folder of the device key, mode 0700."""
        return self.data / "keys"

    @property
    def blobs(self) -> Path:
        """Content-addressed store, `<aa>/<rest>.bin`."""
        return self.data / "blobs"

    @property
    def models(self) -> Path:
        """Model files and their manifests."""
        return self.data / "models"

    @property
    def control_socket(self) -> Path:
        """Unix socket of the running node, mode 0600."""
        return self.run / "control.sock"

    @property
    def lock_file(self) -> Path:
        """Held by the running node; a second one is refused."""
        return self.data / "node.lock"

    def create(self) -> None:
        """Make the folders; the data and run folders are private to the user."""
        for folder in (self.config, self.cache, self.log, self.models, self.blobs):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.data, self.keys, self.run):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)


def resolve_paths(environ: Mapping[str, str]) -> Paths:
    """Folders for this environment: `HEARTHNET_HOME` wins, then the XDG variables, then their defaults."""
    if home := environ.get("HEARTHNET_HOME"):
        root = Path(home).expanduser().absolute()
        return Paths(root / "config", root / "data", root / "cache", root / "log", root / "run")
    user = Path(environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir)  # an empty HOME is none
    data = Path(environ.get("XDG_DATA_HOME") or user / ".local/share") / "hearthnet"
    state = Path(environ.get("XDG_STATE_HOME") or user / ".local/state") / "hearthnet"
    runtime = environ.get("XDG_RUNTIME_DIR")
    return Paths(
        config=Path(environ.get("XDG_CONFIG_HOME") or user / ".config") / "hearthnet",
        data=data,
        cache=Path(environ.get("XDG_CACHE_HOME") or user / ".cache") / "hearthnet",
        log=state / "log",
        run=Path(runtime) / "hearthnet" if runtime else state / "run",
    )
