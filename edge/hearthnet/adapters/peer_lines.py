"""Connections to other nodes: TLS pinned to each, kept open, tried again with back-off (X01).

A connection is reused until it was idle for a minute. A node that could not be reached at any address is left alone
for a while, up to 30 s, unless discovery has news of it (`patient=False`).
"""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from hearthnet.adapters.socket_stream import open_socket
from hearthnet.adapters.tls_context import PinnedContext, client_context
from hearthnet.base.constants import CONNECTION_IDLE_S, REQUEST_MAX_BYTES
from hearthnet.base.errors import BadRequest, CallTimeout, HearthNetError, InvalidSignature, Unavailable
from hearthnet.wire import canonical
from hearthnet.wire.backoff import Backoff
from hearthnet.wire.reply import ErrorBody
from hearthnet.wire.rpc import HEADER_PREFIX
from hearthnet.wire.session_key import Certificates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hearthnet.base.types import NodeID
    from hearthnet.ports import Address, Clock, Peer
    from hearthnet.wire.identity import KeyPair

EPOCH_HEADER: Final = f"{HEADER_PREFIX}Epoch"
_PEERS_MAX: Final = 1024
_CONNECTIONS_MAX: Final = 256
_ONE_ADDRESS: Final = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
_SEVERAL_ADDRESSES: Final = aiohttp.ClientTimeout(total=None, sock_connect=3.0)  # one that is silent is passed over
_UNREACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def url_of(address: Address) -> str:
    """Where HTTPS reaches an address."""
    host = f"[{address.host.replace('%', '%25')}]" if ":" in address.host else address.host
    return f"https://{host}:{address.port}"


class PeerLines:
    """All connections of one node to others."""

    def __init__(self, key: KeyPair, clock: Clock, certificates: Path | None) -> None:
        self._key = key
        self._clock = clock
        self._folder = certificates
        self._contexts: dict[NodeID, PinnedContext] = {}
        self._answered_at: dict[NodeID, Address] = {}
        self._epochs: dict[NodeID, str] = {}
        self._without_socket: dict[NodeID, str] = {}  # the epoch in which a peer had none
        self._backoffs: dict[NodeID, Backoff] = {}
        self._session: aiohttp.ClientSession | None = None

    def epoch_of(self, node_id: NodeID) -> str:
        """What the node wants its callers to sign with; empty when it has not said so yet."""
        return self._epochs.get(node_id, "")

    def certificates_of(self, node_id: NodeID) -> Certificates | None:
        """Both certificates of the latest handshake; None when we showed none."""
        context = self._contexts.get(node_id)
        if context is None or not context.certificate or not context.peer_certificate:
            return None
        return Certificates.of(context.certificate, context.peer_certificate)

    async def reach(
        self, peer: Peer, method: str, path: str, content: bytes | None = None, headers: dict[str, str] | None = None,
        *, patient: bool = True,
    ) -> aiohttp.ClientResponse:  # fmt: skip
        """The answer from the first address that can be reached; nothing was sent to those passed over."""
        self._refuse_too_soon(peer, patient=patient)
        timeout = _ONE_ADDRESS if len(peer.addresses) < 2 else _SEVERAL_ADDRESSES
        failure: Exception = Unavailable("no address of the node is known")
        for address in self._ordered(peer):
            try:
                response = await self._open_session().request(
                    method, url_of(address) + path, data=content, headers=headers, timeout=timeout,
                    ssl=self._context(peer.node_id), allow_redirects=False,
                )  # fmt: skip
            except _UNREACHED as error:
                failure = error
                continue
            self._answered(peer.node_id, address, response.headers.get(EPOCH_HEADER, ""))
            return response
        self._failed(peer.node_id)
        raise failure

    async def socket(self, peer: Peer, path: str) -> aiohttp.ClientWebSocketResponse | None:
        """A web socket for one call; None when the peer has none, which is remembered until it is restarted."""
        epoch = self.epoch_of(peer.node_id)
        if self._without_socket.get(peer.node_id) == epoch:
            return None
        self._refuse_too_soon(peer, patient=True)
        failure: Exception = Unavailable("no address of the node is known")
        for address in self._ordered(peer):
            try:
                socket, epoch = await open_socket(
                    self._open_session(), url_of(address) + path, self._context(peer.node_id)
                )  # fmt: skip
            except aiohttp.WSServerHandshakeError:  # it answers, in the older way
                _remember(self._without_socket, peer.node_id, epoch)
                return None
            except (*_UNREACHED, TimeoutError) as error:
                failure = error
                continue
            self._answered(peer.node_id, address, epoch)
            return socket
        self._failed(peer.node_id)
        raise failure

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _ordered(self, peer: Peer) -> Sequence[Address]:
        if len(peer.addresses) < 2:
            return peer.addresses
        known = self._answered_at.get(peer.node_id)
        return sorted(peer.addresses, key=lambda address: address != known)

    def _refuse_too_soon(self, peer: Peer, *, patient: bool) -> None:
        backoff = self._backoffs.get(peer.node_id)
        if backoff is not None and patient and (wait_s := backoff.wait_s(self._clock.monotonic())):
            raise Unavailable(f"{places(peer)} did not answer a moment ago", retry_after_ms=int(wait_s * 1000) + 1)

    def _failed(self, node_id: NodeID) -> None:
        backoff = self._backoffs.get(node_id) or Backoff()
        _remember(self._backoffs, node_id, backoff)
        backoff.fail(self._clock.monotonic(), os.urandom(1)[0] / 255)

    def _answered(self, node_id: NodeID, address: Address, epoch: str) -> None:
        self._backoffs.pop(node_id, None)
        _remember(self._answered_at, node_id, address)
        if epoch:
            _remember(self._epochs, node_id, epoch)

    def _context(self, node_id: NodeID) -> PinnedContext:
        context = self._contexts.get(node_id)
        if context is None:
            context = client_context(node_id, self._folder, self._key)
            _remember(self._contexts, node_id, context)
        return context

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(keepalive_timeout=CONNECTION_IDLE_S, limit=_CONNECTIONS_MAX)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )  # fmt: skip
        return self._session


async def read_reply(response: aiohttp.ClientResponse) -> bytes:
    """The whole body; raises BadRequest when it is larger than a reply may be."""
    if response.content.is_eof() and response.content.exception() is None:
        whole = response.content.read_nowait()  # it came with the headers
        if len(whole) <= REQUEST_MAX_BYTES:
            return whole
        raise BadRequest(f"the reply is larger than {REQUEST_MAX_BYTES} bytes")
    content, complete = bytearray(), False
    try:
        async for data in response.content.iter_any():
            content += data
            if len(content) > REQUEST_MAX_BYTES:
                raise BadRequest(f"the reply is larger than {REQUEST_MAX_BYTES} bytes")
        complete = True
    finally:
        if not complete:
            response.close()  # broken off, too large or given up: the connection is of no more use
    return bytes(content)


def refusal_in(status: int, content: bytes) -> HearthNetError:
    """The error that a reply other than 200 carries."""
    try:
        return canonical.decode_as(content, ErrorBody).to_error()
    except BadRequest:
        return Unavailable(f"the other node answered {status} without a reason")


@contextmanager
def translated(peer: Peer) -> Iterator[None]:
    """What sockets and TLS raise, as errors of the contract."""
    try:
        yield
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
        raise InvalidSignature(f"another node answers at {places(peer)}") from error
    except TimeoutError as error:
        raise CallTimeout(f"{places(peer)} did not answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{places(peer)} cannot be reached: {type(error).__name__}") from error


def places(peer: Peer) -> str:
    """The addresses of a peer, for messages."""
    return ", ".join(f"{address.host}:{address.port}" for address in peer.addresses)


def _remember(known: dict[NodeID, Any], node_id: NodeID, value: Any) -> None:
    """Keep a fact about a peer; the oldest goes when there are too many."""
    if node_id not in known and len(known) >= _PEERS_MAX:
        del known[next(iter(known))]
    known[node_id] = value
