"""The server's side of the sessions between nodes (X01, decision 28).

| session | hello | right opening | wrong opening | sealed call | too old, too many |
|---|---|---|---|---|---|
| none | offered | expired | expired | expired | - |
| offered | another offered beside it | open | none | expired | none |
| open | another offered beside it | expired | expired | answered once | none |

Each counter is taken once; calls may overtake each other by less than `WINDOW`. Who a session belongs to says nothing
about membership: that is asked for every call.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import Expired, InvalidSignature
from hearthnet.base.types import CommunityID, NodeID, Signature
from hearthnet.wire.identity import Domain, verify
from hearthnet.wire.session import ACCEPTED, MAX_AGE_S, MAX_CALLS, Sealed
from hearthnet.wire.session_key import (
    NONCE_BYTES,
    Accepted,
    Certificates,
    Hello,
    Offer,
    Opening,
    SessionKeys,
    Share,
    seal,
    to_text,
    transcript,
    verify_seal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW: Final = 1024
OFFER_TTL_S: Final = 10.0
OFFERS_MAX: Final = 256
SESSIONS_MAX: Final = 1024
_MASK = (1 << WINDOW) - 1


class _Offered(Struct):
    hello: Hello
    offer: Offer
    signed: bytes
    share: Share
    at: float


class _Open(Struct):
    sender: NodeID
    community: CommunityID
    keys: SessionKeys
    since: float
    calls: int = 0
    highest: int = 0
    seen: int = 0  # bit n: counter `highest - n` was taken


class SessionDesk:
    """The server's side of all sessions; bounded in memory, the oldest go first."""

    def __init__(self, node_id: NodeID, random_bytes: Callable[[int], bytes]) -> None:
        self._node_id = node_id
        self._random_bytes = random_bytes
        self._offers: OrderedDict[str, _Offered] = OrderedDict()
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def knows(self, session: str) -> bool:
        """Whether this session is open."""
        return session in self._open

    def offer(self, hello: Hello, proven: NodeID, certificates: Certificates, now: float) -> Offer:
        """Answer a hello; raises InvalidSignature unless it comes from whom the handshake has proven, to this node."""
        if hello.to != self._node_id or hello.sender != proven:
            raise InvalidSignature("the session was meant for other nodes")
        while self._offers and (
            len(self._offers) >= OFFERS_MAX or now - next(iter(self._offers.values())).at > OFFER_TTL_S
        ):
            self._offers.popitem(last=False)
        share = Share(self._random_bytes)
        offer = Offer(to_text(self._random_bytes(16)), to_text(self._random_bytes(NONCE_BYTES)), share.public)
        signed = transcript(hello, offer, certificates)
        self._offers[offer.session] = _Offered(hello, offer, signed, share, now)
        return offer

    def open(self, opening: Opening, now: float) -> Accepted:
        """Open a session; raises Expired (no such offer, or taken), InvalidSignature."""
        found = self._offers.pop(opening.session, None)
        if found is None or now - found.at > OFFER_TTL_S:
            raise Expired("the offer of this session is gone")
        hello = found.hello
        verify(hello.sender, Domain.SESSION, hello.community, found.signed, Signature(opening.signature))
        keys = found.share.agree(hello.share, found.signed)
        while len(self._open) >= SESSIONS_MAX:
            self._open.popitem(last=False)
        self._open[opening.session] = _Open(hello.sender, hello.community, keys, now)
        return Accepted(opening.session, seal(keys.replies, (ACCEPTED, opening.session), b""))

    def admit(self, call: Sealed, words: tuple[str, ...], content: bytes, now: float) -> tuple[NodeID, CommunityID]:
        """Who sealed this call; raises Expired (session gone, counter taken), InvalidSignature."""
        found = self._open.get(call.session)
        if found is not None and (now - found.since > MAX_AGE_S or found.calls >= MAX_CALLS):
            del self._open[call.session]
            found = None
        if found is None:
            raise Expired("the session is not known here", fix="sign the call, or open another session")
        verify_seal(found.keys.calls, ("call", call.session, str(call.counter), *words), content, call.mac)
        _take(found, call.counter)
        found.calls += 1
        self._open.move_to_end(call.session)
        return found.sender, found.community

    def seal_reply(self, call: Sealed, status: int, content: bytes) -> str:
        """The header value of the answer; empty when the session was pushed out meanwhile."""
        found = self._open.get(call.session)
        if found is None:
            return ""
        mac = seal(found.keys.replies, ("reply", call.session, str(call.counter), str(status)), content)
        return Sealed(call.session, call.counter, mac).text()


def _take(session: _Open, counter: int) -> None:
    """Take a counter once; raises Expired for one that was taken or fell out of the window."""
    ahead = counter - session.highest
    if ahead > 0:
        session.seen = (session.seen << ahead | 1) & _MASK if ahead < WINDOW else 1
        session.highest = counter
        return
    if -ahead >= WINDOW or session.seen >> -ahead & 1 or counter < 1:
        raise Expired("this call was answered already")
    session.seen |= 1 << -ahead
