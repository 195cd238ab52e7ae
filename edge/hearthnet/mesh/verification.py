"""Checking received events before they are stored: form, signature, data, membership (X02, decision 8).

Form, signature and data are checked in threads, many events at a time; libsodium works outside the interpreter lock.
Membership is judged in order, against what is known of the event's causal past.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from hearthnet.base.errors import EventRejected, HearthNetError, Unavailable
from hearthnet.base.types import CID, NodeID, TrustLevel
from hearthnet.mesh.views import MembersView, order_of
from hearthnet.wire.community import CommunityCreated, MemberInvited, MemberJoined, PolicyUpdated
from hearthnet.wire.event import Draft, Sealed, open_event, verify_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.base.types import CommunityID
    from hearthnet.mesh.views import Order
    from hearthnet.ports import BulkVerifier, EventVerdict

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_SLICE_EVENTS: Final = 128
_MEMBER_KINDS: Final = frozenset(MembersView.kinds)
_OTHER_COMMUNITY: Final = "the event belongs to another community"


class Rejection(Struct, frozen=True):
    """Why an event was not stored; `event_id` is empty when it could not be read."""

    event_id: str
    code: str
    reason: str


class Unverified(Struct, frozen=True):
    """An event that may be stored already; its signature was not looked at."""

    sealed: Sealed


class Verifier:
    """Checks bytes from outside in worker threads; `close` ends them."""

    def __init__(self, community: CommunityID, bulk: BulkVerifier | None = None) -> None:
        self._community = community
        self._bulk = bulk
        self._workers = ThreadPoolExecutor((os.cpu_count() or 1) + 1, "verify")

    async def check(
        self, wires: Sequence[bytes], is_new: Callable[[Sealed], bool]
    ) -> list[Sealed | Rejection | Unverified]:
        """Form, size, community, type, data; and the signature of those that `is_new`, asked in the threads, names."""

        def check_part(part: Sequence[bytes]) -> list[Sealed | Rejection | Unverified]:
            return [self._check(wire, is_new) for wire in part]

        return await self._spread(check_part, wires)

    async def check_bulk(self, wires: Sequence[bytes]) -> list[Sealed | Rejection | Unverified]:
        """Like `check` of many new events, in other processes where there are any."""

        def check_part(part: Sequence[bytes]) -> list[Sealed | Rejection | Unverified]:
            try:
                verdicts = self._bulk.check(part) if self._bulk else ()
            except Unavailable:
                verdicts = ()
            if not verdicts:
                return [self._check(wire, lambda _: True) for wire in part]
            return [self._read(verdict, wire) for verdict, wire in zip(verdicts, part, strict=True)]

        return await self._spread(check_part, wires)

    def rest(self) -> None:
        """A large delivery is over."""
        if self._bulk is not None:
            self._bulk.rest()

    async def verify(self, events: Sequence[Sealed]) -> list[Sealed | Rejection]:
        """The signatures."""
        return await self._spread(lambda part: [_verify(sealed) for sealed in part], events)

    def begin(self, work: Callable[[], _Out]) -> Callable[[], _Out]:
        """Start costly work in the same threads; the result waits for it."""
        return self._workers.submit(work).result

    def close(self) -> None:
        """Let threads and processes end; blocking."""
        self._workers.shutdown(wait=False)
        if self._bulk is not None:
            self._bulk.close()

    async def _spread(self, check: Callable[[Sequence[_In]], list[_Out]], items: Sequence[_In]) -> list[_Out]:
        loop = asyncio.get_running_loop()
        slices = [items[start : start + _SLICE_EVENTS] for start in range(0, len(items), _SLICE_EVENTS)]
        jobs = [loop.run_in_executor(self._workers, check, part) for part in slices]
        return [found for part in await asyncio.gather(*jobs) for found in part]

    def _check(self, wire: bytes, is_new: Callable[[Sealed], bool]) -> Sealed | Rejection | Unverified:
        try:
            sealed = open_event(wire)
        except HearthNetError as error:
            return Rejection("", error.code, error.detail)
        if sealed.event.community_id != self._community:
            return reject(sealed, EventRejected(_OTHER_COMMUNITY))
        return _verify(sealed) if is_new(sealed) else Unverified(sealed)

    def _read(self, verdict: EventVerdict, wire: bytes) -> Sealed | Rejection:
        if not verdict.hash:
            return Rejection(verdict.event_id, verdict.code, verdict.reason)
        sealed = Sealed.of_checked(wire, CID(verdict.hash))
        if sealed.event.community_id != self._community:
            return reject(sealed, EventRejected(_OTHER_COMMUNITY))
        return sealed


def _verify(sealed: Sealed) -> Sealed | Rejection:
    try:
        verify_event(sealed)
    except HearthNetError as error:
        return reject(sealed, error)
    return sealed


class Admission:
    """Judges events in order against the members that their causal past makes.

    `check` and `count` are called from one thread; `members` is never changed, a copy is when the first member is
    counted.
    """

    def __init__(self, members: MembersView, community: CommunityID) -> None:
        self._members = members
        self._own_copy = False
        self._community = community
        self._root = NodeID(community)
        self._since: dict[NodeID, Order | None] = {}

    def branch(self) -> Admission:
        """The same knowledge, on which events can be tried."""
        other = Admission(self._members, self._community)
        other._since = self._since
        return other

    def check(self, sealed: Sealed | Draft) -> None:
        """Raise EventRejected unless the author could write this then."""
        data, author = sealed.data, sealed.event.author
        if type(data) not in _MEMBER_KINDS:
            self._check_member(author, sealed)
            return
        if isinstance(data, CommunityCreated):
            self._check_founding(author, data, order_of(sealed))
            return
        if isinstance(data, MemberJoined):
            self._check_invitation(author, data.invite_event_id, order_of(sealed))
            return
        self._check_member(author, sealed)
        if isinstance(data, MemberInvited):
            self._check_inviter(author, data)
        elif isinstance(data, PolicyUpdated) and author != self._root:
            raise EventRejected("only the root key changes the policy")

    def count(self, sealed: Sealed | Draft) -> None:
        """The event was accepted; a change of members counts from here on."""
        if type(sealed.data) in _MEMBER_KINDS:
            if not self._own_copy:
                self._members, self._own_copy = self._members.copy(), True
            self._members.apply(sealed)
            self._since = {}

    def _check_founding(self, author: NodeID, data: CommunityCreated, order: Order) -> None:
        if author != self._root or data.founder_node_id != author:
            raise EventRejected("a community is founded by its root key")
        founder = self._members.member(author)
        if founder is not None and founder.since != order:
            raise EventRejected("the community is founded already")

    def _check_invitation(self, author: NodeID, invite_event_id: str, order: Order) -> None:
        invitation = self._members.invitation(invite_event_id)
        if invitation is None:
            raise EventRejected("unknown_author: the invitation is not known here")
        invitee, invited = invitation
        if invitee != author or invited >= order:
            raise EventRejected("the invitation is not for this node, or younger than the joining")

    def _check_member(self, author: NodeID, sealed: Sealed | Draft) -> None:
        if author not in self._since:
            found = self._members.member(author)
            self._since[author] = found.since if found else None
        since = self._since[author]
        if since is None:
            raise EventRejected("unknown_author: not a member of the community")
        if sealed.event.lamport <= since[0] and order_of(sealed) < since:
            raise EventRejected("the author was no member yet at this Lamport time")

    def _check_inviter(self, author: NodeID, data: MemberInvited) -> None:
        trust = self._members.trust(author)
        if TrustLevel[data.initial_level.upper()] > trust:
            raise EventRejected("nobody invites above their own level")
        if trust == TrustLevel.MEMBER and not self._members.policy.default_member_can_invite:
            raise EventRejected("the policy lets trusted members invite only")


def reject(sealed: Sealed, error: HearthNetError) -> Rejection:
    """The rejection of an event for this error."""
    return Rejection(sealed.event.event_id, error.code, error.detail)
