"""First stage of a node's start: its lock, key and listeners; `/health` answers from here on (M12).

Everything else (services, pages, stores) is composed by `node.py` behind these listeners. A module imported here
delays `/health`; tests/architecture/test_startup.py holds the list short.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from hearthnet import __version__
from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.home_lock import HomeLock
from hearthnet.adapters.keyfile import open_key
from hearthnet.web.hosts import is_own_host
from hearthnet.web.serving import Listener
from hearthnet.web.threshold import HealthReply, Threshold
from hearthnet.wire.identity import short_id

if TYPE_CHECKING:
    from aiohttp import web

    from hearthnet.base.config import Config
    from hearthnet.base.paths import Paths
    from hearthnet.wire.identity import KeyPair


class Startup:
    """Holds the home and its addresses; `open`, then `admit`, then `close`, once each, inside the event loop."""

    def __init__(self, paths: Paths, config: Config) -> None:
        self.paths = paths
        self.config = config
        self.clock = SystemClock()
        self.started_at = self.clock.monotonic()
        self.ui_port = 0
        self.stopping = asyncio.Event()  # set by signals and by the pages
        self._lock: HomeLock | None = None
        self._key: KeyPair | None = None
        self._threshold = Threshold(self._health, self._is_own)
        self._pages = Listener(self._threshold.app)

    @property
    def key(self) -> KeyPair:
        """Who this node is; after `open`."""
        assert self._key is not None, "open first"  # noqa: S101  the order of start
        return self._key

    @property
    def letters(self) -> str:
        """The four letters on the case."""
        short = short_id(self.key.node_id)
        return short.partition(":")[2].replace("-", "")[:4] or short[:4]

    @property
    def name(self) -> str:
        """What people call this node."""
        return self.config.node.name or f"HearthNet {self.letters}"

    async def open(self, *, with_ui: bool = True) -> None:
        """Take the home, read or make the key, listen; raises StartupError and its kinds, with nothing left open."""
        up = False
        try:
            self.paths.create()
            self._lock = HomeLock(self.paths.lock_file)
            identity = self.config.identity
            keys = Path(identity.keys_dir).expanduser() if identity.keys_dir else self.paths.keys
            self._key = open_key(keys, create=identity.auto_generate)
            await self._pages.open()
            if with_ui:
                self.ui_port = await self._pages.listen(self.config.ui.host, self.config.ui.port, "ui.port")
            await self._pages.listen_unix(self.paths.control_socket)
            up = True
        finally:
            if not up:
                await self.close()

    def admit(self, whole: web.Application) -> None:
        """Hand all requests to `whole`, the waiting ones first."""
        self._threshold.admit(whole)

    async def stop_listening(self) -> None:
        """End the listeners and the requests that run or wait; idempotent."""
        await self._pages.close()

    async def close(self) -> None:
        """Stop listening and let another node start here; idempotent."""
        await self._pages.close()
        if self._lock is not None:
            self._lock.release()

    def _is_own(self, host: str) -> bool:
        return is_own_host(host, self.letters, self.config.ui.hosts)

    def _health(self) -> HealthReply:
        uptime = int(self.clock.monotonic() - self.started_at)
        return HealthReply("starting", self.key.node_id, self.name, __version__, uptime)
