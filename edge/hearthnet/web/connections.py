"""Connections of other nodes, within bounds (X01): so many in all and from one address, each with its time.

A connection has 10 s for the TLS handshake and 10 s for the head of a request; between requests it may rest for 75 s,
longer than a caller keeps it. What a request itself may take is its handler's business. Whoever comes above the bounds
is closed before a byte of TLS is spoken.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_BACKLOG: Final = 128
_ACCEPTS_AT_ONCE: Final = 64
_REST_WHEN_FULL_S: Final = 1.0  # no file descriptor was left


class Bounds(Struct, frozen=True):
    """How many connections, and how long each step may take."""

    total: int = 512
    per_address: int = 64
    handshake_s: float = 10.0
    head_s: float = 10.0
    idle_s: float = 75.0
    sweep_s: float = 1.0


class Connections:
    """Listens with TLS and hands what comes to an aiohttp server."""

    def __init__(self, server: Callable[[], asyncio.Protocol], tls: ssl.SSLContext, bounds: Bounds = Bounds()) -> None:  # noqa: B008
        self._server = server
        self._tls = tls
        self._bounds = bounds
        self._listening: list[socket.socket] = []
        self._count: Counter[str] = Counter()
        self._total = 0
        self._handshakes: set[asyncio.Task[None]] = set()
        self._guests: dict[Any, _Guest] = {}  # by aiohttp's protocol
        self._sweeper: asyncio.TimerHandle | None = None
        self.refused = 0

    def __len__(self) -> int:
        return self._total

    async def open(self, host: str, port: int) -> int:
        """Listen; the real port. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            listening = socket.socket(family, socket.SOCK_STREAM)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.setblocking(False)
                listening.bind((address[0], port, *address[2:]))
                listening.listen(_BACKLOG)
            except OSError:
                listening.close()
                raise
            port = listening.getsockname()[1]
            self._listening.append(listening)
            loop.add_reader(listening, self._accept, listening)
        self._sweeper = loop.call_later(self._bounds.sweep_s, self._sweep)
        return port

    async def close(self) -> None:
        """Stop listening and end handshakes; requests that run are the server's to end. Idempotent."""
        loop = asyncio.get_running_loop()
        while self._listening:
            listening = self._listening.pop()
            loop.remove_reader(listening)
            listening.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in list(self._handshakes):
            task.cancel()
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def begin(self, protocol: Any) -> None:
        """A request has come whole; until `end` its connection has time."""
        guest = self._guests.get(protocol)
        if guest is not None:
            guest.busy = True

    def end(self, protocol: Any) -> None:
        """The answer is on its way; the next request may come, or nothing for a while."""
        guest = self._guests.get(protocol)
        if guest is not None:
            guest.busy, guest.speaks = False, False
            guest.since = asyncio.get_running_loop().time()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._rest(listening)
                log.warning("no connection was taken: %s", error.strerror)
                return
            host = str(address[0])
            if self._total >= self._bounds.total or self._count[host] >= self._bounds.per_address:
                self.refused += 1
                connection.close()
                continue
            connection.setblocking(False)
            self._total += 1
            self._count[host] += 1
            task = asyncio.get_running_loop().create_task(self._welcome(connection, host), name="handshake")
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _rest(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(_REST_WHEN_FULL_S, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    async def _welcome(self, connection: socket.socket, host: str) -> None:
        """TLS, then aiohttp; a connection that fails to shake hands is forgotten."""
        guest = _Guest(self, self._server(), host)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guest, connection, ssl=self._tls, ssl_handshake_timeout=self._bounds.handshake_s
            )
        except (OSError, TimeoutError) as error:  # ssl errors are OSErrors
            log.debug("no handshake with %s: %s", host, error)
        finally:
            if not guest.met:
                connection.close()
                self.leave(guest)

    def meet(self, guest: _Guest) -> None:
        """The handshake is done."""
        guest.met, guest.since = True, asyncio.get_running_loop().time()
        self._guests[guest.protocol] = guest

    def leave(self, guest: _Guest) -> None:
        """The connection is gone."""
        self._guests.pop(guest.protocol, None)
        self._total -= 1
        self._count[guest.host] -= 1
        if not self._count[guest.host]:
            del self._count[guest.host]

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for guest in list(self._guests.values()):
            if not guest.busy and now - guest.since > (self._bounds.head_s if guest.speaks else self._bounds.idle_s):
                guest.abort()
        self._sweeper = loop.call_later(self._bounds.sweep_s, self._sweep)


class _Guest(asyncio.Protocol):
    """One connection on its way to aiohttp's protocol."""

    def __init__(self, connections: Connections, protocol: asyncio.Protocol, host: str) -> None:
        self.protocol = protocol
        self.host = host
        self.met = False
        self.busy = False
        self.speaks = True  # the first head is due at once
        self.since = 0.0
        self._connections = connections
        self._transport: asyncio.BaseTransport | None = None
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]  # handed through
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]  # the protocol takes over
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]  # the protocol takes over

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.meet(self)
        self.protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self.speaks:
            self.speaks = True
            if not self.busy:
                self.since = asyncio.get_running_loop().time()
        self.protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        self.protocol.connection_lost(exc)

    def abort(self) -> None:
        """Close without a word."""
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()


CONNECTIONS: web.AppKey[list[Connections]] = web.AppKey("connections")
