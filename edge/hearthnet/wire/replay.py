"""No call is answered twice: freshness by the receiver's epoch, else by the clock (X01, decisions 4 and 26).

A call that carries the receiver's epoch is fresh when its id was not seen in that epoch; no clock is asked. Without
it, +-60 s of wall clock apply. Memory is bounded: when an epoch has seen enough calls the next one begins, and the
one before stays valid until then; the caller finds the new epoch in the headers of every reply.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

from blake3 import blake3

from hearthnet.base.constants import FRESHNESS_WINDOW_S
from hearthnet.base.errors import Expired, RateLimited
from hearthnet.wire.rpc import CallHead
from hearthnet.wire.timestamp import parse_time


class ReplayGuard:
    """Remembers which calls this boot has answered; ask it only about calls whose signature verified."""

    def __init__(self, secret: bytes, now: float, *, capacity: int = 16_384) -> None:
        """`secret`: 32 random bytes of this boot, from which the epochs follow; `now`: the wall clock."""
        self._secret = secret
        self._capacity = capacity
        self._count = 0
        self._previous = ""
        self._seen_previous: set[bytes] = set()
        self._seen: set[bytes] = set()
        self.epoch = self._epoch_text()
        self._by_second: dict[int, set[bytes]] = {}
        self._floor = int(now // 1)  # what was answered before this boot is not remembered

    def admit(self, head: CallHead, now: float) -> None:
        """Take note of a call; raises Expired when it was seen or is stale, RateLimited when memory is full."""
        call_id = blake3(f"{head.sender} {head.request_id}".encode()).digest(16)
        if head.epoch:
            self._admit_by_epoch(head.epoch, call_id)
        else:
            self._admit_by_clock(parse_time(head.timestamp), call_id, now)

    def _admit_by_epoch(self, epoch: str, call_id: bytes) -> None:
        if epoch not in (self.epoch, self._previous):
            raise Expired("the epoch is not valid here", fix="sign again with the epoch of this reply")
        seen = self._seen if epoch == self.epoch else self._seen_previous
        if call_id in seen:
            raise Expired("this call was answered already", fix="sign again with a new request id")
        seen.add(call_id)
        if len(self._seen) + len(self._seen_previous) > 2 * self._capacity or len(self._seen) > self._capacity:
            self._begin_epoch()

    def _admit_by_clock(self, timestamp: int, call_id: bytes, now: float) -> None:
        self._forget_before(int(now) - FRESHNESS_WINDOW_S)
        if abs(timestamp - now) > FRESHNESS_WINDOW_S or timestamp < self._floor:
            raise Expired("the call is stale", fix="sign again with the epoch of this reply")
        if any(call_id in seen for seen in self._by_second.values()):
            raise Expired("this call was answered already", fix="sign again with a new request id")
        if sum(map(len, self._by_second.values())) >= self._capacity:
            raise RateLimited(
                "too many calls without epoch", fix="sign with the epoch of this reply", retry_after_ms=1000
            )
        self._by_second.setdefault(timestamp, set()).add(call_id)

    def _forget_before(self, second: int) -> None:
        for old in [at for at in self._by_second if at < second]:
            del self._by_second[old]
            self._floor = max(self._floor, old + 1)  # should the clock go back: forgotten is refused

    def _begin_epoch(self) -> None:
        self._previous, self._seen_previous = self.epoch, self._seen
        self._seen = set()
        self._count += 1
        self.epoch = self._epoch_text()

    def _epoch_text(self) -> str:
        digest = blake3(self._count.to_bytes(8), key=self._secret).digest(16)
        return urlsafe_b64encode(digest).decode().rstrip("=")
