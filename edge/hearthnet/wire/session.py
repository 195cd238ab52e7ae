"""Sessions between two nodes: one signature at the start, then a keyed hash per call (X01, decision 28).

The caller's side, by `CALLER_TABLE`: idle -> asked -> proving -> open, and back when the session is worn out (calls,
age), lost (the server was restarted) or refused; refused, it rests and signs every call meanwhile.

The server's side is `session_desk`. Time is monotonic seconds of each side's own, so that no wall clock matters.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import BadRequest, InternalError, InvalidSignature
from hearthnet.base.types import CommunityID, NodeID
from hearthnet.wire.identity import Domain, KeyPair
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

MAX_CALLS: Final = 65_536
MAX_AGE_S: Final = 3600.0
RENEW_AT: Final = 0.75  # of both: the caller opens the next session before the server ends this one
REST_S: Final = 60.0  # after a refusal
ACCEPTED: Final = "accepted"


class State(Enum):
    """Where the caller's side stands."""

    IDLE = "idle"
    ASKED = "asked"
    PROVING = "proving"
    OPEN = "open"
    RESTING = "resting"


CALLER_TABLE: Final = {
    (State.IDLE, "hello"): State.ASKED,
    (State.ASKED, "offer"): State.PROVING,
    (State.PROVING, "accepted"): State.OPEN,
    (State.ASKED, "refused"): State.RESTING,
    (State.PROVING, "refused"): State.RESTING,
    (State.OPEN, "lost"): State.IDLE,
    (State.OPEN, "worn"): State.IDLE,
    (State.RESTING, "rested"): State.IDLE,
}


class Sealed(Struct, frozen=True):
    """What travels in the session header: `<session>.<counter>.<mac>`."""

    session: str
    counter: int
    mac: str

    def text(self) -> str:
        """The header's value."""
        return f"{self.session}.{self.counter}.{self.mac}"

    @classmethod
    def parse(cls, text: str) -> Sealed:
        """From a header; raises BadRequest."""
        parts = text.split(".")
        if len(parts) != 3 or len(parts[1]) > 9 or not (parts[1].isascii() and parts[1].isdigit()):
            raise BadRequest("not a session header")
        return cls(parts[0], int(parts[1]), parts[2])


class CallerSession:
    """The caller's side of the sessions with one server, one after the other."""

    def __init__(
        self, key: KeyPair, server: NodeID, community: CommunityID, random_bytes: Callable[[int], bytes]
    ) -> None:
        self.state = State.IDLE
        self._key = key
        self._server = server
        self._community = community
        self._random_bytes = random_bytes
        self._hello: Hello | None = None
        self._share: Share | None = None
        self._keys = SessionKeys(b"", b"")
        self._session = ""
        self._counter = 0
        self._since = 0.0

    def hello(self) -> Hello:
        """Begin; only when idle."""
        self._step("hello")
        self._share = Share(self._random_bytes)
        self._hello = Hello(
            self._key.node_id, self._server, self._community, to_text(self._random_bytes(NONCE_BYTES)),
            self._share.public,
        )  # fmt: skip
        return self._hello

    def offered(self, offer: Offer, certificates: Certificates) -> Opening:
        """Sign; raises InvalidSignature for a share that is none."""
        if self._hello is None or self._share is None:
            raise InternalError("an offer that nobody asked for")
        signed = transcript(self._hello, offer, certificates)
        self._keys = self._share.agree(offer.share, signed)
        self._step("offer")
        self._session, self._counter = offer.session, 0
        return Opening(offer.session, self._key.sign(Domain.SESSION, self._community, signed))

    def accepted(self, answer: Accepted, now: float) -> None:
        """The session is open; raises InvalidSignature when the server has another key."""
        if answer.session != self._session:
            raise InvalidSignature("another session was accepted")
        verify_seal(self._keys.replies, (ACCEPTED, self._session), b"", answer.mac)
        self._step("accepted")
        self._since = now

    def refused(self, now: float) -> None:
        """The server wants no session; every call is signed for a while."""
        self._step("refused")
        self._since = now

    def lost(self, session: str) -> None:
        """The server does not know this session; one that was opened since then is not meant."""
        if self.state is State.OPEN and session == self._session:
            self._step("lost")

    def wear(self, now: float) -> State:
        """What is now; a session at the end of its time, and a rest that is over, become idle."""
        age = now - self._since
        if self.state is State.OPEN and (self._counter >= MAX_CALLS * RENEW_AT or age >= MAX_AGE_S * RENEW_AT):
            self._step("worn")
        elif self.state is State.RESTING and age >= REST_S:
            self._step("rested")
        return self.state

    def seal(self, words: tuple[str, ...], content: bytes) -> Sealed:
        """Seal the next call; only when open."""
        if self.state is not State.OPEN:
            raise InternalError("a call was sealed without a session")
        self._counter += 1
        counter = self._counter
        return Sealed(
            self._session, counter, seal(self._keys.calls, ("call", self._session, str(counter), *words), content)
        )

    def reply_checker(self) -> Callable[[Sealed, int, bytes, str], None]:
        """Checks replies of the session that is open now, also after the next one was opened.

        Called with the sealed call, the reply's status, content and MAC; raises InvalidSignature.
        """
        key = self._keys.replies

        def check(call: Sealed, status: int, content: bytes, mac: str) -> None:
            verify_seal(key, ("reply", call.session, str(call.counter), str(status)), content, mac)

        return check

    def _step(self, event: str) -> None:
        following = CALLER_TABLE.get((self.state, event))
        if following is None:
            raise InternalError(f"{event} does not belong to a session that is {self.state.value}")
        self.state = following
