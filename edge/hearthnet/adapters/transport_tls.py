"""Calls to other nodes over TLS 1.3, pinned to the NodeID that is called (X01, decision 3).

Calls are signed, and fresh without clocks (decision 26); in a session they are sealed instead (decision 28). What the
handshake does stands in `tls_context`, connections in `peer_lines`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from msgspec import Struct

from hearthnet.adapters import socket_stream
from hearthnet.adapters.peer_lines import PeerLines, read_reply, refusal_in, translated
from hearthnet.adapters.peer_sessions import PeerSessions, Seal
from hearthnet.base.constants import REQUEST_MAX_BYTES, RPC_DEFAULT_TIMEOUT_S
from hearthnet.base.errors import (
    BadRequest,
    Expired,
    InvalidSignature,
)
from hearthnet.wire import canonical
from hearthnet.wire.exchange import EXCHANGE_NAME, EXCHANGE_VERSION, sign_exchange
from hearthnet.wire.frame import SseDecoder
from hearthnet.wire.manifest import NodeManifest, open_node_manifest
from hearthnet.wire.reply import needs_verified_reply, open_reply, verify_reply
from hearthnet.wire.rpc import HEADER_PREFIX, CallHead, SignedCall, sign_call
from hearthnet.wire.session import Sealed
from hearthnet.wire.session_key import SESSION_HEADER, SESSION_LOST
from hearthnet.wire.stream import StreamReceiver
from hearthnet.wire.timestamp import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from hearthnet.base.types import CommunityID
    from hearthnet.ports import Clock, Peer
    from hearthnet.wire.canonical import JsonObject
    from hearthnet.wire.frame import StreamFrame
    from hearthnet.wire.identity import KeyPair

CALL_PATH: Final = "/bus/v1/call"
_MEDIA: Final = {"call": "application/json", "post": "application/octet-stream"}


class PeerClient:
    """Implements `ports.Transport`; close it at the end.

    What the other side finds stale is signed once more with the epoch that came with the refusal, so that two nodes
    whose clocks are years apart understand each other.
    """

    def __init__(
        self, key: KeyPair, community: CommunityID, clock: Clock, new_id: Callable[[], str],
        *, certificates: Path | None = None,
    ) -> None:  # fmt: skip
        """`certificates`: the folder that `tls_context.prepare_files` filled; without it there are no sessions."""
        self._key = key
        self._community = community
        self._clock = clock
        self._new_id = new_id
        self._lines = PeerLines(key, clock, certificates)
        self.sessions = PeerSessions(key, community, clock, self._post_bare, self._lines.certificates_of)

    async def call(
        self, peer: Peer, capability: str, version: str, body: JsonObject, timeout_s: float = RPC_DEFAULT_TIMEOUT_S
    ) -> JsonObject:
        """The reply `{output, meta}`."""
        with translated(peer):
            async with asyncio.timeout(timeout_s):
                asked, response = await self._send_call(peer, capability, version, body)
                content = await read_reply(response)
        return self._believe(peer, asked, response, content)

    async def stream(
        self, peer: Peer, capability: str, version: str, body: JsonObject
    ) -> AsyncGenerator[StreamFrame, None]:
        """The frames of a streamed reply up to its terminal one; closing it cancels the call there."""
        with translated(peer):
            socket = await self._lines.socket(peer, CALL_PATH)
            if socket is not None:
                call = sign_call(self._key, self._head(peer, capability, version, self._new_id()), body)
                async with aclosing(socket_stream.read_frames(socket, call)) as frames:
                    async for frame in frames:
                        yield frame
                return
            async with aclosing(self._stream_events(peer, capability, version, body)) as events:
                async for frame in events:
                    yield frame

    async def _stream_events(
        self, peer: Peer, capability: str, version: str, body: JsonObject
    ) -> AsyncGenerator[StreamFrame, None]:
        """The same over server-sent events."""
        async with asyncio.timeout(socket_stream.IDLE_S):
            asked, response = await self._send_call(peer, capability, version, body)
        if response.content_type != "text/event-stream":
            self._believe(peer, asked, response, await read_reply(response))
            raise BadRequest(f"{capability} does not stream its reply")
        decoder, receiver = SseDecoder(), StreamReceiver()
        try:
            while True:
                async with asyncio.timeout(socket_stream.IDLE_S):
                    data = await response.content.readany()
                if not data:
                    break
                for frame in decoder.feed(data):
                    receiver.receive(frame)
                    yield frame
                    if receiver.closed:
                        return
            receiver.finish()
        finally:
            response.close()

    async def request(self, peer: Peer, path: str, content: bytes, timeout_s: float = RPC_DEFAULT_TIMEOUT_S) -> bytes:
        """What the partner's endpoint answers."""

        def sign(request_id: str) -> SignedCall:
            head = self._head(peer, EXCHANGE_NAME, EXCHANGE_VERSION, request_id)
            return sign_exchange(self._key, head, path, content)

        with translated(peer):
            async with asyncio.timeout(timeout_s):
                asked, response = await self._send(peer, path, ("post", path), content, sign)
                answer = await read_reply(response)
        if asked.seal is not None:
            asked.seal.verify(response.status, answer, _mac_in(response))
        if response.status != 200:
            raise refusal_in(response.status, answer)
        return answer

    async def manifest(self, peer: Peer) -> NodeManifest:
        """What the node says about itself now; the challenge proves the now."""
        challenge = self._new_id()
        with translated(peer):
            async with asyncio.timeout(RPC_DEFAULT_TIMEOUT_S):
                response = await self._lines.reach(peer, "GET", f"/manifest?challenge={challenge}", patient=False)
                content = await read_reply(response)
        if response.status != 200:
            raise refusal_in(response.status, content)
        found = open_node_manifest(content, now=None, challenge=challenge)
        if found.node_id != peer.node_id:
            raise InvalidSignature("the manifest is another node's")
        return found

    async def close(self) -> None:
        """Close all connections."""
        await self.sessions.close()
        await self._lines.close()

    async def _send_call(
        self, peer: Peer, capability: str, version: str, body: JsonObject
    ) -> tuple[_Asked, aiohttp.ClientResponse]:
        content = canonical.encode(body)

        def sign(request_id: str) -> SignedCall:
            return sign_call(self._key, self._head(peer, capability, version, request_id), body, content)

        return await self._send(peer, CALL_PATH, ("call", capability, version), content, sign)

    async def _send(
        self, peer: Peer, path: str, words: tuple[str, ...], content: bytes, sign: Callable[[str], SignedCall]
    ) -> tuple[_Asked, aiohttp.ClientResponse]:
        """One request, sealed if a session is open, else signed; signed anew when it was refused as stale."""
        if len(content) > REQUEST_MAX_BYTES:
            raise BadRequest(f"{len(content)} bytes, at most {REQUEST_MAX_BYTES} are read")
        request_id = self._new_id()
        media = _MEDIA[words[0]]
        if (seal := self.sessions.seal(peer, (*words, request_id), content)) is not None:
            headers = {**_sealed_headers(words, request_id), SESSION_HEADER: seal.sealed.text(), "Content-Type": media}
            response = await self._lines.reach(peer, "POST", path, content, headers)
            if response.headers.get(SESSION_HEADER) != SESSION_LOST:
                return _Asked(words[1], request_id, seal), response
            await read_reply(response)
            self.sessions.lost(peer.node_id, seal.sealed)
            request_id = self._new_id()
        call = sign(request_id)
        response = await self._lines.reach(peer, "POST", path, content, {**call.headers(), "Content-Type": media})
        if response.status == Expired.status and call.head.epoch != self._lines.epoch_of(peer.node_id):
            await read_reply(response)
            request_id = self._new_id()
            call = sign(request_id)
            response = await self._lines.reach(peer, "POST", path, content, {**call.headers(), "Content-Type": media})
        return _Asked(words[1], request_id), response

    async def _post_bare(self, peer: Peer, path: str, content: bytes) -> bytes:
        """A message that carries its own proof."""
        with translated(peer):
            async with asyncio.timeout(RPC_DEFAULT_TIMEOUT_S):
                response = await self._lines.reach(peer, "POST", path, content, {"Content-Type": "application/json"})
                answer = await read_reply(response)
        if response.status != 200:
            raise refusal_in(response.status, answer)
        return answer

    def _head(self, peer: Peer, capability: str, version: str, request_id: str) -> CallHead:
        return CallHead(
            capability=capability, version=version, request_id=request_id, sender=self._key.node_id,
            community=self._community, timestamp=format_time(self._clock.now()),
            epoch=self._lines.epoch_of(peer.node_id), to=peer.node_id,
        )  # fmt: skip

    def _believe(self, peer: Peer, asked: _Asked, response: aiohttp.ClientResponse, content: bytes) -> JsonObject:
        """The reply's body after its seal or signature was checked; raises the error it carries."""
        body: Any = None
        if asked.seal is not None:
            asked.seal.verify(response.status, content, _mac_in(response))
        elif response.headers.get(f"{HEADER_PREFIX}Signature"):
            reply = open_reply(response.headers.items(), response.status, content)
            verify_reply(reply, self._community, sender=peer.node_id, request_id=asked.request_id)
            body = reply.body
        elif response.status == 200 and needs_verified_reply(asked.capability):
            raise InvalidSignature("the reply is not signed")
        if response.status != 200:
            raise refusal_in(response.status, content)
        if body is None:
            body = canonical.decode(content)
        if not isinstance(body, dict):
            raise BadRequest("the reply is not an object")
        return body


class _Asked(Struct, frozen=True):
    """What the reply has to fit."""

    capability: str
    request_id: str
    seal: Seal | None = None


def _sealed_headers(words: tuple[str, ...], request_id: str) -> dict[str, str]:
    named = {f"{HEADER_PREFIX}Request-Id": request_id}
    if words[0] == "call":
        named[f"{HEADER_PREFIX}Capability"], named[f"{HEADER_PREFIX}Capability-Version"] = words[1:]
    return named


def _mac_in(response: aiohttp.ClientResponse) -> str:
    """The MAC of a sealed reply; raises InvalidSignature."""
    try:
        return Sealed.parse(response.headers.get(SESSION_HEADER, "")).mac
    except BadRequest as error:
        raise InvalidSignature("the reply is not sealed") from error
