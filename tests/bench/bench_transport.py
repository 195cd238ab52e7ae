"""A call to another node beside a bare JSON echo over the same kind of TLS, in the same run.

    python tests/bench/bench_transport.py [--json] [--calls 400] [--rounds 7]

Echo: aiohttp on both sides, one pinned TLS 1.3 connection kept open, `json.loads` and `json.dumps`. The node's call
crosses the same kind of connection and then the whole way: proof of the sender, membership, bus (route, limits, trust,
validation, deadline, trace, health), validated reply, and back through signature or seal. Client and server share one
process and one core in all rows. The limits of the bus are raised for this run, because no caller may make so many
calls; they are still applied.

Bars (issue 3, section 7): signed calls at most 2.3x of the echo, sealed ones at most 1.5x, and at least 1,000 sealed
calls a second, one after the other; a stream that is left ends its handler within 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import web
from msgspec import Struct

from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.tls_context import client_context, prepare_files, server_context
from hearthnet.adapters.transport_tls import PeerClient
from hearthnet.base.config import Config
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import CommunityID, NodeID, Signature, TrustLevel
from hearthnet.base.ulid import Ulids
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Call, NoParams, capability
from hearthnet.mesh.limits import Plan, Rate
from hearthnet.mesh.peer_server import MeshServer
from hearthnet.ports import Address, Peer
from hearthnet.web.bus_api import build_node_app
from hearthnet.web.door import Door, NodeFacts
from hearthnet.web.serving import Listener
from hearthnet.wire.identity import Domain, KeyPair, short_id, verify

BARS = {"signed": 2.3, "sealed": 1.5}
RATE_BAR = 1_000.0
CANCEL_BAR_MS = 200.0
BODY = {"params": {}, "input": {"query": "is it safe to run a generator in the cellar", "k": 5}}
WIDE = Plan(Rate(1e8, 1e9), Rate(1e8, 1e9))
COMMUNITY = CommunityID(KeyPair(b"c" * 32).node_id)


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    query: str
    k: int = 5


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    rank: int


class Library:
    @capability("rag.query@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=4)
    async def query(self, call: Call, params: NoParams, request: Question) -> Answer:
        return Answer(request.query, request.k)


class Word(Struct, frozen=True, tag="token", tag_field="event"):
    text: str


class Done(Struct, frozen=True, tag="done", tag_field="event"):
    count: int


class Talker:
    """Talks until it is cancelled, and notes when that was."""

    def __init__(self) -> None:
        self.cancelled_at: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    @capability("llm.chat@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=8)
    async def chat(self, call: Call, params: NoParams, request: Question) -> AsyncIterator[Word | Done]:
        try:
            while True:
                yield Word("water ")
                await asyncio.sleep(0.001)
        finally:
            self.cancelled_at.set_result(time.perf_counter())
        yield Done(0)


class Everyone:
    """All are members."""

    def trust(self, node_id: NodeID) -> TrustLevel:
        return TrustLevel.MEMBER


async def open_node(folder: Path, key: KeyPair) -> tuple[Listener, Peer, Talker]:
    """A node with two capabilities on a free port."""
    clock, metrics, traces, config = SystemClock(), Metrics(), TraceRing(), Config()
    bus = CapabilityBus(key.node_id, clock, config.bus, traces, metrics, limits=WIDE)
    bus.register(Library())
    talker = Talker()
    bus.register(talker)
    community = SimpleNamespace(community=COMMUNITY, members=Everyone())
    facts = NodeFacts(key.node_id, short_id(key.node_id), "bench", "ABCD", clock.monotonic(), "0")
    services: Any = SimpleNamespace(clock=clock, events=None)
    paths: Any = SimpleNamespace(data=folder)
    sessions: Any = None
    door = Door(facts, config, paths, services, bus, sessions, traces, {}, str, print, {})
    app = build_node_app(door, key, community, metrics, MeshServer(bus, community, clock))
    return *await listen(app, folder, key), talker


async def open_echo(folder: Path, key: KeyPair) -> tuple[Listener, Peer]:
    """The bare alternative."""

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(await request.json())

    async def signed_echo(request: web.Request) -> web.Response:
        body = await request.read()
        verify(key.node_id, Domain.CALL, COMMUNITY, body, Signature(request.headers["X-Signature"]))
        return web.Response(body=body, headers={"X-Signature": key.sign(Domain.REPLY, COMMUNITY, body)})

    app = web.Application()
    app.router.add_post("/echo", echo)
    app.router.add_post("/signed", signed_echo)
    return await listen(app, folder, key)


async def listen(app: web.Application, folder: Path, key: KeyPair) -> tuple[Listener, Peer]:
    listener = Listener(app)
    await listener.open()
    port = await listener.listen("127.0.0.1", 0, "transport.port", server_context(folder, key))
    return listener, Peer(key.node_id, (Address("127.0.0.1", port),))


async def timings(work: Callable[[], Awaitable[object]], count: int) -> list[float]:
    found = []
    for _ in range(count):
        started = time.perf_counter()
        await work()
        found.append(time.perf_counter() - started)
    return found


async def cancel_time(client: PeerClient, peer: Peer, talker: Talker) -> float:
    """Seconds from leaving a stream in the middle to the end of its handler there."""
    talker.cancelled_at = asyncio.get_running_loop().create_future()
    stream = client.stream(peer, "llm.chat", "1.0", BODY)
    for _ in range(20):
        await anext(stream)
    left = time.perf_counter()
    await stream.aclose()
    return await talker.cancelled_at - left


def make_client(folder: Path, key: KeyPair, *, sealed: bool) -> PeerClient:
    new_id = Ulids(time.time, secrets.token_bytes).new
    return PeerClient(key, COMMUNITY, SystemClock(), new_id, certificates=folder if sealed else None)


async def measure(calls: int, rounds: int, folder: Path) -> dict[str, float]:
    caller, server = KeyPair(b"a" * 32), KeyPair(b"b" * 32)
    prepare_files(folder / "a", caller)
    node, peer, talker = await open_node(folder / "b", server)
    echo_site, echo_peer = await open_echo(folder / "b", server)
    signing, sealing = (make_client(folder / "a", caller, sealed=sealed) for sealed in (False, True))
    assert await sealing.sessions.open(peer)
    tls, url = client_context(server.node_id), f"https://127.0.0.1:{echo_peer.addresses[0].port}/echo"
    async with aiohttp.ClientSession() as session:

        async def echo() -> None:
            async with session.post(url, json=BODY, ssl=tls) as response:
                await response.json()

        async def signed_echo() -> None:
            content = json.dumps(BODY).encode()
            headers = {"X-Signature": server.sign(Domain.CALL, COMMUNITY, content)}
            async with session.post(f"{url[:-5]}/signed", data=content, headers=headers, ssl=tls) as response:
                body = await response.read()
                verify(server.node_id, Domain.REPLY, COMMUNITY, body, Signature(response.headers["X-Signature"]))
                json.loads(body)

        works: dict[str, Callable[[], Awaitable[object]]] = {
            "echo": echo,
            "echo_signed": signed_echo,
            "signed": lambda: signing.call(peer, "rag.query", "1.0", BODY),
            "sealed": lambda: sealing.call(peer, "rag.query", "1.0", BODY),
        }
        medians: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):  # taken in turns, so that a busy moment hits all of them
            for name, work in works.items():
                medians[name].append(statistics.median(await timings(work, calls)))
    cancels = [await cancel_time(sealing, peer, talker) for _ in range(20)]
    await signing.close()
    await sealing.close()
    await node.close()
    await echo_site.close()
    figures = {f"{name}_ms": 1000 * statistics.median(values) for name, values in medians.items()}
    for name in BARS:
        ratios = [own / bare for own, bare in zip(medians[name], medians["echo"], strict=True)]
        figures[f"{name}_ratio"] = statistics.median(ratios)
    figures["cancel_ms"], figures["cancel_worst_ms"] = 1000 * statistics.median(cancels), 1000 * max(cancels)
    figures["sealed_per_s"] = 1000.0 / figures["sealed_ms"]
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(options.calls, options.rounds, Path(folder)))
    met = all(figures[f"{name}_ratio"] <= bar for name, bar in BARS.items()) and figures["sealed_per_s"] >= RATE_BAR
    met = met and figures["cancel_worst_ms"] <= CANCEL_BAR_MS
    if options.json:
        rounded = {key: round(value, 3) for key, value in figures.items()}
        print(json.dumps({"bench": "transport", **rounded, "bars": BARS, "rate_bar": RATE_BAR, "met": met}))
    else:
        print(f"aiohttp JSON echo, TLS 1.3, p50              {figures['echo_ms']:>8.3f} ms")
        floor = figures["echo_signed_ms"] / figures["echo_ms"]
        print(
            f"  with one signature each way, checked       {figures['echo_signed_ms']:>8.3f} ms  {floor:.2f}x, the floor"
        )
        for name, text in (("signed", "each call signed"), ("sealed", "in a session")):
            ratio = figures[f"{name}_ratio"]
            verdict = "met" if ratio <= BARS[name] else "MISSED"
            print(
                f"call over the bus, {text:<20} p50   {figures[f'{name}_ms']:>8.3f} ms  {ratio:.2f}x, bar {BARS[name]}x: {verdict}"
            )
        worst = figures["cancel_worst_ms"]
        verdict = "met" if worst <= CANCEL_BAR_MS else "MISSED"
        print(
            f"leaving a stream to the end of its handler   {figures['cancel_ms']:>8.3f} ms  worst {worst:.1f} ms, bar 200 ms: {verdict}"
        )
        verdict = "met" if figures["sealed_per_s"] >= RATE_BAR else "MISSED"
        print(
            f"one after the other, in a session            {figures['sealed_per_s']:>8,.0f} /s  bar {RATE_BAR:,.0f}: {verdict}"
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
