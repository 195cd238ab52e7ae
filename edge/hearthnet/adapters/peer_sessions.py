"""The caller's sessions with its peers: opened in the background once calls have become frequent (X01, decision 28).

A session costs two more messages than a signed call, so that it is worth it only for a peer that is called again and
again. Until one is open, after it was lost and while the peer refuses one, calls are signed: nobody ever waits for it.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import HearthNetError
from hearthnet.wire import canonical
from hearthnet.wire.session import CallerSession, Sealed, State
from hearthnet.wire.session_key import HELLO_PATH, OPEN_PATH, Accepted, Certificates, Offer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hearthnet.base.types import CommunityID, NodeID
    from hearthnet.ports import Clock, Peer
    from hearthnet.wire.identity import KeyPair

AFTER_CALLS: Final = 3
_PEERS_MAX = 1024


class Seal(Struct, frozen=True):
    """A sealed call, and how its reply is checked: with status, content and MAC; raises InvalidSignature."""

    sealed: Sealed
    check: Callable[[Sealed, int, bytes, str], None]

    def verify(self, status: int, content: bytes, mac: str) -> None:
        """Raise InvalidSignature unless the reply belongs to this call."""
        self.check(self.sealed, status, content, mac)


class _Line(Struct):
    session: CallerSession
    calls: int = 0
    opening: asyncio.Task[None] | None = None


class PeerSessions:
    """All sessions of one caller; `close` ends what is under way."""

    def __init__(
        self, key: KeyPair, community: CommunityID, clock: Clock, post: Callable[[Peer, str, bytes], Awaitable[bytes]],
        certificates: Callable[[NodeID], Certificates | None],
    ) -> None:  # fmt: skip
        """`post` sends bytes without signature; `certificates` of the latest handshake with a peer."""
        self._key = key
        self._community = community
        self._clock = clock
        self._post = post
        self._certificates = certificates
        self._lines: OrderedDict[NodeID, _Line] = OrderedDict()

    def seal(self, peer: Peer, words: tuple[str, ...], content: bytes) -> Seal | None:
        """The seal of a call; None when it has to be signed."""
        line = self._line(peer.node_id)
        session = line.session
        state = session.wear(self._clock.monotonic())
        if state is State.OPEN:
            return Seal(session.seal(words, content), session.reply_checker())
        line.calls += 1
        if state is State.IDLE and line.calls > AFTER_CALLS:
            self._begin(line, peer)
        return None

    def lost(self, node_id: NodeID, sealed: Sealed) -> None:
        """The peer did not know the session of this call."""
        self._line(node_id).session.lost(sealed.session)

    async def open(self, peer: Peer) -> bool:
        """Open a session now, for who knows that many calls will follow; whether one is open."""
        line = self._line(peer.node_id)
        if line.session.wear(self._clock.monotonic()) is State.IDLE:
            self._begin(line, peer)
        if line.opening is not None:
            await asyncio.wait({line.opening})
        return line.session.state is State.OPEN

    async def close(self) -> None:
        """Forget all sessions."""
        tasks = [line.opening for line in self._lines.values() if line.opening is not None]
        self._lines.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, line: _Line, peer: Peer) -> None:
        if line.opening is None or line.opening.done():
            work = self._open(line.session, peer)
            line.opening = asyncio.get_running_loop().create_task(work, name="open session")

    async def _open(self, session: CallerSession, peer: Peer) -> None:
        hello = session.hello()
        try:
            offer = canonical.decode_as(await self._post(peer, HELLO_PATH, canonical.encode(hello)), Offer)
            certificates = self._certificates(peer.node_id)
            if certificates is None:
                session.refused(self._clock.monotonic())
                return
            opening = session.offered(offer, certificates)
            accepted = canonical.decode_as(await self._post(peer, OPEN_PATH, canonical.encode(opening)), Accepted)
            session.accepted(accepted, self._clock.monotonic())
        except HearthNetError:  # an older node, a stranger, one that is gone: calls are signed
            session.refused(self._clock.monotonic())

    def _line(self, node_id: NodeID) -> _Line:
        line = self._lines.get(node_id)
        if line is None:
            while len(self._lines) >= _PEERS_MAX:
                _, oldest = self._lines.popitem(last=False)
                if oldest.opening is not None:
                    oldest.opening.cancel()
            line = _Line(CallerSession(self._key, node_id, self._community, os.urandom))
            self._lines[node_id] = line
        self._lines.move_to_end(node_id)
        return line
