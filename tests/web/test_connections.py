"""Connections of other nodes: half-open, slow and silent ones are bounded, honest ones get through."""

import asyncio
import resource
import socket
import ssl

import pytest
from aiohttp import web

from hearthnet.adapters.tls_context import client_context, server_context
from hearthnet.web.connections import CONNECTIONS, Bounds
from hearthnet.web.serving import Listener
from hearthnet.wire.identity import KeyPair

KEY = KeyPair(b"b" * 32)


class Site:
    """A TLS site with one page, and one that takes its time."""

    def __init__(self, folder, **bounds):
        self.release = asyncio.Event()
        self.app = web.Application(middlewares=[self.mark])
        self.app[CONNECTIONS] = []
        self.app.router.add_get("/", self.greet)
        self.app.router.add_get("/slow", self.wait)
        self.listener = Listener(self.app, Bounds(**{"sweep_s": 0.02} | bounds))
        self.tls = server_context(folder, KEY)

    @web.middleware
    async def mark(self, request, handler):
        self.connections.begin(request.protocol)
        try:
            return await handler(request)
        finally:
            self.connections.end(request.protocol)

    async def greet(self, request):
        return web.Response(text="welcome")

    async def wait(self, request):
        await self.release.wait()
        return web.Response(text="at last")

    async def __aenter__(self):
        await self.listener.open()
        self.port = await self.listener.listen("127.0.0.1", 0, "transport.port", self.tls)
        return self

    async def __aexit__(self, *_):
        await self.listener.close()

    @property
    def connections(self):
        return self.app[CONNECTIONS][0]

    async def open(self, source="127.0.0.1"):
        """A TLS connection from one of this machine's addresses."""
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=client_context(KEY.node_id), local_addr=(source, 0)
        )

    async def ask(self, source="127.0.0.1", path="/"):
        reader, writer = await self.open(source)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def gone(self):
        """Wait until nobody is connected."""
        async with asyncio.timeout(15):
            while len(self.connections):  # noqa: ASYNC110  the site tells nobody
                await asyncio.sleep(0.01)
        return True


async def half_open(port, count, source):
    """TCP connections that say nothing."""
    loop, found = asyncio.get_running_loop(), []
    for _ in range(count):
        raw = socket.socket()
        raw.setblocking(False)
        raw.bind((source, 0))
        await loop.sock_connect(raw, ("127.0.0.1", port))
        found.append(raw)
    return found


async def test_a_thousand_half_open_connections_do_not_keep_others_out(tmp_path):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1500:
        pytest.skip("this shell allows fewer than 1,500 open files: ulimit -n 4096")
    async with Site(tmp_path, per_address=64) as site:
        silent = await half_open(site.port, 1000, "127.0.0.2")
        assert b"welcome" in await site.ask()
        assert len(site.connections) <= 65
        assert site.connections.refused >= 900
        for raw in silent:
            raw.close()
        assert await site.gone()


async def test_a_bound_for_all_holds_whatever_address_they_come_from(tmp_path):
    async with Site(tmp_path, total=10, per_address=4) as site:
        lines = []
        for number in range(2, 8):
            lines += await half_open(site.port, 4, f"127.0.0.{number}")
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await site.ask()
        assert len(site.connections) == 10
        for raw in lines:
            raw.close()
        assert await site.gone()
        assert b"welcome" in await site.ask()


async def test_who_never_shakes_hands_is_let_go(tmp_path):
    async with Site(tmp_path, handshake_s=1.0) as site:
        (raw,) = await half_open(site.port, 1, "127.0.0.2")
        assert b"welcome" in await site.ask()
        assert await site.gone()
        raw.close()


async def test_garbage_instead_of_tls_is_let_go(tmp_path):
    async with Site(tmp_path) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
        await reader.read()
        writer.close()
        assert await site.gone()
        assert b"welcome" in await site.ask()


async def test_a_head_that_trickles_in_is_cut_off(tmp_path):
    async with Site(tmp_path, head_s=0.2) as site:
        reader, writer = await site.open()
        cut = False
        for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 2000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
            if reader.at_eof() or reader.exception() is not None or writer.is_closing():
                cut = True
                break
        writer.close()
        assert cut
        assert await site.gone()


async def test_a_connection_that_says_nothing_after_the_handshake_is_cut_off(tmp_path):
    async with Site(tmp_path, head_s=0.1) as site:
        _, writer = await site.open()
        assert await site.gone()
        writer.close()


async def test_a_kept_connection_rests_longer_but_not_for_ever(tmp_path):
    async with Site(tmp_path, head_s=1.0, idle_s=1.5) as site:
        reader, writer = await site.open()
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")
            assert b"200" in await reader.readuntil(b"welcome")
            await asyncio.sleep(0.05)
        assert len(site.connections) == 1
        assert await site.gone()
        writer.close()


async def test_a_request_that_takes_long_is_not_cut(tmp_path):
    async with Site(tmp_path, head_s=0.5, idle_s=0.1) as site:
        asked = asyncio.create_task(site.ask(path="/slow"))
        for _ in range(40):
            await asyncio.sleep(0.02)
        assert not asked.done()
        site.release.set()
        assert b"at last" in await asked
