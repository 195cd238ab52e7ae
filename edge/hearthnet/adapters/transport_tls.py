"""TLS 1.3 between nodes: a certificate made from the node key, pinned to the NodeID that is called (X01, decision 3).

No authority and no date is asked. The handshake proves that the other side holds the key of its certificate; `pin`
compares that key with the NodeID before a byte of the call leaves. Calls are signed, and fresh without clocks
(decision 26).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from msgspec import Struct

from hearthnet.adapters.certificate import make_certificate, node_id_in
from hearthnet.base.constants import REQUEST_MAX_BYTES, RPC_DEFAULT_TIMEOUT_S
from hearthnet.base.errors import (
    BadRequest,
    CallTimeout,
    Expired,
    HearthNetError,
    InvalidSignature,
    KeyFileError,
    Unavailable,
)
from hearthnet.wire import canonical
from hearthnet.wire.frame import SseDecoder
from hearthnet.wire.identity import public_key_of
from hearthnet.wire.manifest import NodeManifest, open_node_manifest
from hearthnet.wire.reply import ErrorBody, needs_verified_reply, open_reply, verify_reply
from hearthnet.wire.rpc import HEADER_PREFIX, CallHead, SignedCall, sign_call
from hearthnet.wire.stream import StreamReceiver
from hearthnet.wire.timestamp import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

    from hearthnet.base.types import CommunityID, NodeID
    from hearthnet.ports import Clock
    from hearthnet.wire.canonical import JsonObject
    from hearthnet.wire.frame import StreamFrame
    from hearthnet.wire.identity import KeyPair

EPOCH_HEADER: Final = f"{HEADER_PREFIX}Epoch"
_PEERS_MAX = 1024
_CONNECT_WITHIN_S = 10.0

CERTIFICATE_NAME = "server.crt"
SECRET_NAME = "server.key"  # noqa: S105  a file name


def server_context(folder: Path, key: KeyPair) -> ssl.SSLContext:
    """What a node listens with; makes the files in `folder` when they are missing or another key's."""
    certificate, secret = folder / CERTIFICATE_NAME, folder / SECRET_NAME
    try:
        if not _is_own(certificate, key) or not secret.exists():
            _write_files(folder, key)
        secret.chmod(0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # no resumption: every connection proves the key
        try:
            context.load_cert_chain(certificate, secret)
        except ssl.SSLError:  # the key file is damaged or another's: both follow from the node key
            _write_files(folder, key)
            context.load_cert_chain(certificate, secret)
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror}", fix="make the folder writable for the node") from error
    return context


def client_context(peer: NodeID) -> ssl.SSLContext:
    """What a node calls `peer` with; another key fails the handshake with `ssl.SSLCertVerificationError`."""
    public_key_of(peer)
    context = _PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.pin = peer
    return context


class Peer(Struct, frozen=True):
    """Where a node is reached, and who it must be."""

    node_id: NodeID
    host: str
    port: int

    @property
    def url(self) -> str:
        """Its address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


class PeerClient:
    """Calls to other nodes; close it at the end.

    A call that the other side finds stale is signed once more with the epoch that came with the refusal, so that two
    nodes whose clocks are years apart understand each other. Raises what the other node answered; Unavailable when it
    cannot be reached, InvalidSignature when another node answers in its place.
    """

    def __init__(self, key: KeyPair, community: CommunityID, clock: Clock, new_id: Callable[[], str]) -> None:
        self._key = key
        self._community = community
        self._clock = clock
        self._new_id = new_id
        self._epochs: dict[NodeID, str] = {}
        self._contexts: dict[NodeID, ssl.SSLContext] = {}
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, peer: Peer, capability: str, version: str, body: JsonObject, timeout_s: float = RPC_DEFAULT_TIMEOUT_S
    ) -> JsonObject:
        """The reply `{output, meta}`."""
        with _translated(peer):
            async with asyncio.timeout(timeout_s):
                call, response = await self._send(peer, capability, version, body)
                content = await _read(response)
        return self._believe(peer, call, response, content)

    async def stream(
        self, peer: Peer, capability: str, version: str, body: JsonObject
    ) -> AsyncGenerator[StreamFrame, None]:
        """The frames of a streamed reply up to its terminal one; closing it cancels the call there."""
        with _translated(peer):
            call, response = await self._send(peer, capability, version, body)
            if response.content_type != "text/event-stream":
                self._believe(peer, call, response, await _read(response))
                raise BadRequest(f"{capability} does not stream its reply")
            decoder, receiver = SseDecoder(), StreamReceiver()
            try:
                async for data in response.content.iter_any():
                    for frame in decoder.feed(data):
                        receiver.receive(frame)
                        yield frame
                        if receiver.closed:
                            return
                receiver.finish()
            finally:
                response.close()

    async def manifest(self, peer: Peer) -> NodeManifest:
        """What the node says about itself now; the challenge proves the now."""
        challenge = self._new_id()
        with _translated(peer):
            async with asyncio.timeout(RPC_DEFAULT_TIMEOUT_S):
                url = f"{peer.url}/manifest?challenge={challenge}"
                response = await self._open_session().get(url, ssl=self._context(peer.node_id))
                content = await _read(response)
        found = open_node_manifest(content, now=None, challenge=challenge)
        if found.node_id != peer.node_id:
            raise InvalidSignature("the manifest is another node's")
        self._remember(peer, response)
        return found

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _send(
        self, peer: Peer, capability: str, version: str, body: JsonObject
    ) -> tuple[SignedCall, aiohttp.ClientResponse]:
        content = canonical.encode(body)
        if len(content) > REQUEST_MAX_BYTES:
            raise BadRequest(f"{len(content)} bytes of JSON, at most {REQUEST_MAX_BYTES} are read")
        call, response = await self._post(peer, capability, version, body, content)
        if response.status == Expired.status and call.head.epoch != self._epochs.get(peer.node_id, ""):
            await response.read()
            call, response = await self._post(peer, capability, version, body, content)
        return call, response

    async def _post(
        self, peer: Peer, capability: str, version: str, body: JsonObject, content: bytes
    ) -> tuple[SignedCall, aiohttp.ClientResponse]:
        head = CallHead(
            capability=capability, version=version, request_id=self._new_id(), sender=self._key.node_id,
            community=self._community, timestamp=format_time(self._clock.now()),
            epoch=self._epochs.get(peer.node_id, ""), to=peer.node_id,
        )  # fmt: skip
        call = sign_call(self._key, head, body)
        response = await self._open_session().post(
            f"{peer.url}/bus/v1/call", data=content, ssl=self._context(peer.node_id),
            headers={**call.headers(), "Content-Type": "application/json"},
        )  # fmt: skip
        self._remember(peer, response)
        return call, response

    def _believe(self, peer: Peer, call: SignedCall, response: aiohttp.ClientResponse, content: bytes) -> JsonObject:
        """The reply's body after its signature was checked; raises the error it carries."""
        if response.headers.get(f"{HEADER_PREFIX}Signature"):
            reply = open_reply(response.headers.items(), response.status, content)
            verify_reply(reply, self._community, sender=peer.node_id, request_id=call.head.request_id)
        elif response.status == 200 and needs_verified_reply(call.head.capability):
            raise InvalidSignature("the reply is not signed")
        if response.status != 200:
            raise _refusal_in(response.status, content)
        body: Any = canonical.decode(content)
        if not isinstance(body, dict):
            raise BadRequest("the reply is not an object")
        return body

    def _remember(self, peer: Peer, response: aiohttp.ClientResponse) -> None:
        if epoch := response.headers.get(EPOCH_HEADER, ""):
            if len(self._epochs) >= _PEERS_MAX:
                del self._epochs[next(iter(self._epochs))]
            self._epochs[peer.node_id] = epoch

    def _context(self, node_id: NodeID) -> ssl.SSLContext:
        if node_id not in self._contexts:
            if len(self._contexts) >= _PEERS_MAX:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[node_id] = client_context(node_id)
        return self._contexts[node_id]

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_WITHIN_S)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body; raises BadRequest when it is larger than a reply may be."""
    content = bytearray()
    async for data in response.content.iter_any():
        content += data
        if len(content) > REQUEST_MAX_BYTES:
            response.close()
            raise BadRequest(f"the reply is larger than {REQUEST_MAX_BYTES} bytes")
    return bytes(content)


def _refusal_in(status: int, content: bytes) -> HearthNetError:
    try:
        return canonical.decode_as(content, ErrorBody).to_error()
    except BadRequest:
        return Unavailable(f"the other node answered {status} without a reason")


@contextmanager
def _translated(peer: Peer) -> Iterator[None]:
    """What sockets and TLS raise, as errors of the contract."""
    try:
        yield
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
        raise InvalidSignature(f"another node answers at {peer.host}:{peer.port}") from error
    except TimeoutError as error:
        raise CallTimeout(f"{peer.host}:{peer.port} did not answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{peer.host}:{peer.port} cannot be reached: {type(error).__name__}") from error


class _PinnedObject(ssl.SSLObject):
    """A connection whose handshake fails unless the peer's key is the one that was meant."""

    def do_handshake(self) -> None:
        super().do_handshake()
        certificate = self.getpeercert(binary_form=True)
        try:
            found = node_id_in(certificate or b"")
        except BadRequest as error:
            raise ssl.SSLCertVerificationError(1, error.detail) from error
        pin = self.context.pin  # type: ignore[attr-defined]  # made by client_context only
        if found != pin:
            raise ssl.SSLCertVerificationError(1, f"this is {found}, not {pin}")


class _PinnedContext(ssl.SSLContext):
    """Verifies by key alone."""

    pin: NodeID

    def __init__(self, *_: Any) -> None:
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE  # the pin verifies; dates and names do not
        self.minimum_version = ssl.TLSVersion.TLSv1_3
        self.sslobject_class = _PinnedObject


def _is_own(path: Path, key: KeyPair) -> bool:
    try:
        return node_id_in(ssl.PEM_cert_to_DER_cert(path.read_text("ascii"))) == key.node_id
    except (FileNotFoundError, ValueError, BadRequest):
        return False


def _write_files(folder: Path, key: KeyPair) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, secret = make_certificate(key)
    for name, data, mode in ((SECRET_NAME, secret, 0o600), (CERTIFICATE_NAME, certificate, 0o644)):
        draft = folder / f".{name}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / name)
