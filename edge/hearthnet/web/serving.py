"""Listening: TCP sites and the control socket of a node (X01, M12)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from aiohttp import web

from hearthnet.base.errors import PortTaken, StartupError
from hearthnet.web.connections import CONNECTIONS, Bounds, Connections

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

_CLOSE_WITHIN_S = 2.0


class Listener:
    """One application on its addresses; `close` ends open requests within two seconds."""

    def __init__(self, app: web.Application, bounds: Bounds = Bounds()) -> None:  # noqa: B008  frozen
        self.bounds = bounds
        self._connections: list[Connections] = []
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_WITHIN_S, handler_cancellation=True)
        self._socket_file: Path | None = None

    async def open(self) -> None:
        """Prepare the application; call once, first."""
        await self._runner.setup()

    async def listen(self, host: str, port: int, key: str, tls: ssl.SSLContext | None = None) -> int:
        """Listen on TCP; returns the real port. `key` names the setting for the advice in PortTaken.

        With TLS, connections are bounded in number and time (see `connections`).
        """
        variable = f"HEARTHNET_{key.replace('.', '_').upper()}"
        try:
            if tls is not None:
                return await self._listen_tls(host, port, tls)
            site = web.TCPSite(self._runner, host, port, reuse_address=True)
            await site.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(
                    f"port {port} on {host} is used by another program", fix=f"{variable}=0 takes a free one"
                ) from None
            section = key.partition(".")[0]
            raise StartupError(
                f"cannot listen on {host}:{port}: {error.strerror}", fix=f"check {section}.host and {key}"
            ) from None
        server = site._server  # noqa: SLF001  aiohttp tells the chosen port nowhere else
        sockets = getattr(server, "sockets", None) or ()
        return int(sockets[0].getsockname()[1]) if sockets else port

    async def _listen_tls(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        server = self._runner.server
        if server is None:
            raise StartupError("listening before the application was opened")
        connections = Connections(server, tls, self.bounds)
        self._connections.append(connections)
        if (known := self._runner.app.get(CONNECTIONS)) is not None:
            known.append(connections)
        return await connections.open(host, port)

    async def listen_unix(self, path: Path) -> None:
        """Listen on a socket that only this user may open; a stale one is replaced."""
        path.unlink(missing_ok=True)
        site = web.UnixSite(self._runner, str(path))
        try:
            await site.start()
        except OSError as error:
            raise StartupError(
                f"cannot open the control socket {path}: {error.strerror}", fix="set XDG_RUNTIME_DIR or HEARTHNET_HOME"
            ) from None
        path.chmod(0o600)
        self._socket_file = path

    async def close(self) -> None:
        """Stop listening and end what runs; idempotent."""
        for connections in self._connections:
            await connections.close()
        await self._runner.cleanup()
        if self._socket_file is not None:
            self._socket_file.unlink(missing_ok=True)
