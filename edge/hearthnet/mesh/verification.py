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
from hearthnet.base.types import CID
from hearthnet.wire.event import Sealed, open_event, verify_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.base.types import CommunityID
    from hearthnet.ports import BulkVerifier, EventVerdict

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_SLICE_EVENTS: Final = 128
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


def reject(sealed: Sealed, error: HearthNetError) -> Rejection:
    """The rejection of an event for this error."""
    return Rejection(sealed.event.event_id, error.code, error.detail)
