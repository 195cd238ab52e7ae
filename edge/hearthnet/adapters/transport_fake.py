"""Calls, streams and requests over the network in memory (X01): the fake beside `transport_tls`.

It serves the same `PeerServer` as the TLS site and raises the same errors; who sends is proven by construction. A
request may run more than once there, and one without an answer may have run too: see `network_fake`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from hearthnet.base.constants import REQUEST_MAX_BYTES, RPC_DEFAULT_TIMEOUT_S, STREAM_WINDOW_FRAMES
from hearthnet.base.errors import BadRequest, CallTimeout, HearthNetError, InvalidSignature, Unavailable
from hearthnet.base.types import TraceID
from hearthnet.ports import Sender
from hearthnet.wire import canonical
from hearthnet.wire.frame import StreamFrame
from hearthnet.wire.manifest import NodeManifest, open_node_manifest
from hearthnet.wire.reply import ErrorBody

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from hearthnet.adapters.network_fake import FakeNetwork, Station
    from hearthnet.base.types import CommunityID, NodeID
    from hearthnet.ports import Address, Peer, PeerServer
    from hearthnet.wire.canonical import JsonObject

CONNECT_WITHIN_S: Final = 10.0  # as `transport_tls`
_ERROR_BYTES: Final = 100  # of an error body, about


class FakeTransport:
    """One node's way to the others; making it joins the network, `close` leaves it."""

    def __init__(
        self, network: FakeNetwork, node_id: NodeID, community: CommunityID, new_id: Callable[[], str],
        server: PeerServer | None = None,
    ) -> None:  # fmt: skip
        self.network = network
        self.node_id = node_id
        self._community = community
        self._new_id = new_id
        self._station = network.join(node_id, server)

    @property
    def address(self) -> Address:
        """Where this node is now."""
        return self._station.address

    async def call(
        self, peer: Peer, capability: str, version: str, body: JsonObject, timeout_s: float = RPC_DEFAULT_TIMEOUT_S
    ) -> JsonObject:
        """The reply `{output, meta}`."""
        content, name, trace_id = canonical.encode(body), f"{capability}@{version}", TraceID(self._new_id())

        def run(station: Station, sender: Sender) -> Awaitable[bytes]:
            return station.listening.answer(sender, name, content, trace_id)

        reply = canonical.decode(await self._send(peer, name, content, run, timeout_s))
        if not isinstance(reply, dict):
            raise BadRequest("the reply is not an object")
        return reply

    async def request(self, peer: Peer, path: str, content: bytes, timeout_s: float = RPC_DEFAULT_TIMEOUT_S) -> bytes:
        """What the partner's endpoint answers."""

        def run(station: Station, sender: Sender) -> Awaitable[bytes]:
            return station.listening.exchange(sender, path, content)

        return await self._send(peer, path, content, run, timeout_s)

    async def manifest(self, peer: Peer) -> NodeManifest:
        """What the node says about itself now."""
        challenge = self._new_id()

        async def run(station: Station, _: Sender) -> bytes:
            return station.listening.manifest(challenge, station.address)

        content = await self._send(peer, "manifest", b"", run, RPC_DEFAULT_TIMEOUT_S)
        found = open_node_manifest(content, now=None, challenge=challenge)
        if found.node_id != peer.node_id:
            raise InvalidSignature("the manifest is another node's")
        return found

    async def stream(
        self, peer: Peer, capability: str, version: str, body: JsonObject
    ) -> AsyncGenerator[StreamFrame, None]:
        """The frames of a streamed reply up to its terminal one."""
        content, name = canonical.encode(body), f"{capability}@{version}"
        _refuse_oversize(content)
        station = await self._reach(peer, CONNECT_WITHIN_S)
        frames = _Frames()
        flight = self.network.fly(
            self._pump(station, name, content, frames), frames.broken, station, self._station
        )  # fmt: skip
        clock = self.network.clock
        try:
            while True:
                arrives, frame = await frames.get()
                if arrives > clock.monotonic():
                    await clock.sleep(arrives - clock.monotonic())
                if isinstance(frame, HearthNetError):
                    raise frame
                yield frame
                if frame.is_terminal:
                    return
        finally:
            flight.cancel()
            frames.broken.cancel()

    async def close(self) -> None:
        """Leave the network."""
        self.network.leave(self.node_id)

    async def _send(
        self, peer: Peer, what: str, content: bytes, run: Callable[[Station, Sender], Awaitable[bytes]],
        timeout_s: float,
    ) -> bytes:  # fmt: skip
        _refuse_oversize(content)
        station = await self._reach(peer, timeout_s)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        work = self._travel(station, what, len(content), run, reply)
        flight = self.network.fly(work, reply, station, self._station, within_s=timeout_s)
        try:
            return await reply
        finally:
            flight.cancel()

    async def _reach(self, peer: Peer, timeout_s: float) -> Station:
        station = self.network.find(self.node_id, peer)
        if station is None:
            await self.network.clock.sleep(min(timeout_s, CONNECT_WITHIN_S))
            raise CallTimeout("no way there")
        if station.server is None:
            raise Unavailable("nobody listens there")
        return station

    async def _travel(
        self, station: Station, what: str, size: int, run: Callable[[Station, Sender], Awaitable[bytes]],
        reply: asyncio.Future[bytes],
    ) -> None:  # fmt: skip
        """There, through the handler, and back."""
        network, sender = self.network, self._sender()
        fate = network.send(self.node_id, station.node_id, what, size)
        if fate.lost:
            return
        await network.clock.sleep(fate.delay_s)
        if not network.are_joined(self.node_id, station.node_id):
            return
        if fate.twice_after_s is not None:
            nobody: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            network.fly(self._repeat(station, sender, fate.twice_after_s, run), nobody, station)
        outcome: bytes | HearthNetError
        try:
            outcome = await run(station, sender)
        except HearthNetError as error:
            outcome = _as_answered(error)
        size = len(outcome) if isinstance(outcome, bytes) else _ERROR_BYTES
        fate = network.send(station.node_id, self.node_id, "reply", size)
        if fate.lost:
            return
        await network.clock.sleep(fate.delay_s)
        if reply.done() or not network.are_joined(self.node_id, station.node_id):
            return
        if isinstance(outcome, bytes):
            reply.set_result(outcome)
        else:
            reply.set_exception(outcome)

    async def _repeat(
        self, station: Station, sender: Sender, after_s: float, run: Callable[[Station, Sender], Awaitable[bytes]]
    ) -> None:
        await self.network.clock.sleep(after_s)
        await run(station, sender)

    async def _pump(self, station: Station, name: str, content: bytes, frames: _Frames) -> None:
        """Frames from the handler to the reader, each with the time of its arrival."""
        network, sender, trace_id = self.network, self._sender(), TraceID(self._new_id())
        fate = network.send(self.node_id, station.node_id, name, len(content))
        await network.clock.sleep(fate.delay_s)
        arrives = network.clock.monotonic()
        try:
            if fate.lost:
                raise Unavailable("the connection broke")
            if not station.listening.streams(name):
                await station.listening.answer(sender, name, content, trace_id)
                raise BadRequest(f"{name} does not stream its reply")
            async with aclosing(station.listening.answer_stream(sender, name, content, trace_id)) as produced:
                seq = 0
                async for event, data in produced:
                    seq += 1
                    fate = network.send(station.node_id, self.node_id, "reply", len(data))
                    if fate.lost:  # bytes of one connection are lost with all that follow
                        raise Unavailable("the connection broke")
                    arrives = max(arrives, network.clock.monotonic() + fate.delay_s)  # one connection keeps the order
                    await frames.put(arrives, StreamFrame(event, canonical.decode(data), seq))
        except HearthNetError as error:
            await frames.put(arrives, _as_answered(error))

    def _sender(self) -> Sender:
        return Sender(self.node_id, self._community, self.address.host)


class _Frames:
    """What is on its way to a reader; the writer waits while the window is full. `broken` ends it with its error."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[float, StreamFrame | HearthNetError]] = asyncio.Queue()
        self._room = asyncio.Semaphore(STREAM_WINDOW_FRAMES)
        self.broken: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.broken.add_done_callback(self._break)

    async def put(self, arrives: float, frame: StreamFrame | HearthNetError) -> None:
        await self._room.acquire()
        self._queue.put_nowait((arrives, frame))

    async def get(self) -> tuple[float, StreamFrame | HearthNetError]:
        self._room.release()
        return await self._queue.get()

    def _break(self, broken: asyncio.Future[Any]) -> None:
        if not broken.cancelled() and isinstance(error := broken.exception(), HearthNetError):
            self._queue.put_nowait((0.0, error))


def _refuse_oversize(content: bytes) -> None:
    if len(content) > REQUEST_MAX_BYTES:
        raise BadRequest(f"{len(content)} bytes, at most {REQUEST_MAX_BYTES} are read")


def _as_answered(error: HearthNetError) -> HearthNetError:
    """The error as the other side reads it from the wire."""
    return ErrorBody.of(error).to_error()
