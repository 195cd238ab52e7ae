"""Which node answers: the specification's score, local first while not loaded, sessions stay put (M03)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hearthnet.base.constants import (
    CANDIDATE_SEEN_WITHIN_S,
    FAILURE_SCORE_WEIGHT,
    LOCAL_SCORE_BONUS,
    UNKNOWN_LATENCY_MS,
)
from hearthnet.base.errors import (
    BadRequest,
    CallTimeout,
    CapacityExceeded,
    DiskFull,
    HearthNetError,
    InternalError,
    InvalidSignature,
    NotFound,
    RateLimited,
    Revoked,
    Unauthorized,
    Unavailable,
)
from hearthnet.base.log import sanitise
from hearthnet.base.trace import Candidate
from hearthnet.mesh.sticky import StickySessions

if TYPE_CHECKING:
    from hearthnet.mesh.registry import Entry, Registry

RETRY_FLOOR_MS = 50
CANDIDATES_TRACED = 16


class _Wanted(Struct, frozen=True):
    params: dict[str, Any] = {}


_decode_params = msgspec.json.Decoder(_Wanted).decode


class Router:
    """Chooses one entry for a call; pure decision, it changes nothing but session bindings."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._sessions = StickySessions()

    def route(
        self, name: str, body: bytes, now: float, session: tuple[str, str] | None = None,
        *, here_only: bool = False, tried: tuple[Entry, ...] = (),
    ) -> Entry:  # fmt: skip
        """The entry to call. Raises NotFound, CapacityExceeded, Unavailable (quarantined), BadRequest.

        `session` is (caller, session id): the same entry again while it can serve. `here_only`: a neighbour's call is
        never handed on to another (decision 5). `tried` have failed this very call.
        """
        candidates = self._registry.find(name)
        if here_only or tried:
            candidates = tuple(
                entry for entry in candidates if entry not in tried and (entry.is_local or not here_only)
            )
        if session is None:
            return self._choose(name, candidates, body, now)
        key = (*session, name)
        bound = self._sessions.find(key, now)
        if bound is not None and bound in candidates and _obstacle(bound, body, now) is None:
            return bound
        chosen = self._choose(name, candidates, body, now)
        self._sessions.bind(key, chosen, now)
        return chosen

    def can_serve(self, name: str, body: bytes, now: float, *, here_only: bool, tried: tuple[Entry, ...]) -> bool:
        """Whether somebody else could take the call now."""
        try:
            self.route(name, body, now, here_only=here_only, tried=tried)
        except HearthNetError:
            return False
        return True

    def explain(self, name: str, body: bytes, now: float, chosen: Entry) -> tuple[Candidate, ...]:
        """Every candidate with its score and why it was not taken; for the trace of a call that had a choice."""
        candidates = self._registry.find(name)
        if len(candidates) < 2:
            return ()
        return tuple(
            Candidate(entry.node_id, round(score_of(entry), 1), _verdict(entry, chosen, body, now))
            for entry in candidates[:CANDIDATES_TRACED]
        )

    def release(self, entry: Entry) -> None:
        """The entry's node left: its sessions are free to go elsewhere."""
        self._sessions.release(entry)

    def _choose(self, name: str, candidates: tuple[Entry, ...], body: bytes, now: float) -> Entry:
        best, best_score = None, 0.0
        obstacle: HearthNetError | None = None
        for entry in candidates:
            found = _obstacle(entry, body, now)
            if found is not None:
                obstacle = _milder(obstacle, found)
                continue
            if entry.in_flight < entry.threshold:
                return entry  # local and not loaded; local entries stand first
            score = score_of(entry)
            if best is None or score < best_score:
                best, best_score = entry, score
        if best is not None:
            return best
        raise obstacle or NotFound(f"no node offers {sanitise(name, 128)}", fix="hearthnet caps")


def moves_on(entry: Entry, error: HearthNetError) -> bool:
    """Whether a call that ended so may be made again elsewhere.

    A refusal before the work began may always be; what broke in the middle only where twice is as good as once, or
    where nothing was told yet, which is a stream's business.
    """
    if isinstance(error, DiskFull):
        return False
    if isinstance(error, CapacityExceeded):
        return True
    if not entry.is_local and isinstance(error, RateLimited | Unauthorized | Revoked | NotFound | InvalidSignature):
        return True
    if isinstance(error, Unavailable | CallTimeout) or (isinstance(error, InternalError) and not entry.is_local):
        return entry.descriptor.idempotent or entry.descriptor.streams
    return False


def _verdict(entry: Entry, chosen: Entry, body: bytes, now: float) -> str:
    if entry is chosen:
        return "chosen"
    obstacle = _obstacle(entry, body, now)
    if obstacle is not None:
        return obstacle.code
    return "here_and_free" if chosen.is_local and chosen.in_flight < chosen.threshold else "higher_score"


def score_of(entry: Entry) -> float:
    """The specification's score; the lowest wins."""
    latency = entry.health.p50_ms
    load = entry.in_flight / entry.descriptor.max_concurrent
    return (
        (UNKNOWN_LATENCY_MS if latency is None else latency) * (1.0 + load)
        + (1.0 - entry.health.success_rate) * FAILURE_SCORE_WEIGHT
        - (LOCAL_SCORE_BONUS if entry.is_local else 0.0)
    )


def _obstacle(entry: Entry, body: bytes, now: float) -> HearthNetError | None:
    """Why this entry cannot take the call now; None when it can."""
    health = entry.health
    if health.quarantined_until and not health.admits(now):
        wait_ms = max(RETRY_FLOOR_MS, int((health.quarantined_until - now) * 1000))
        cause, fix = health.last_failure
        return Unavailable(f"{entry.name} failed too often and rests: {cause}", fix=fix, retry_after_ms=wait_ms)
    if entry.in_flight >= entry.descriptor.max_concurrent:
        return CapacityExceeded(f"all places of {entry.name} are taken", retry_after_ms=_next_place_ms(entry))
    if not entry.is_local and now - entry.last_seen > CANDIDATE_SEEN_WITHIN_S:
        return Unavailable(f"the node that offers {entry.name} was not heard of for a minute")
    if entry.offer is not None and not entry.offer.compatible(entry.offer.params(), wanted := _params_in(body)):
        return NotFound(
            f"{entry.name} is not offered with {sanitise(wanted, 120)}", fix=f"hearthnet caps --name {entry.capability}"
        )
    return None


def _next_place_ms(entry: Entry) -> int:
    """When a place is likely free: one median call, shared by the places."""
    median = entry.health.p50_ms
    expected = (UNKNOWN_LATENCY_MS if median is None else median) / entry.descriptor.max_concurrent
    return max(RETRY_FLOOR_MS, int(expected))


def _milder(first: HearthNetError | None, second: HearthNetError) -> HearthNetError:
    """The obstacle that ends soonest: a place gets free, then a quarantine, then nothing."""
    order = (CapacityExceeded, Unavailable, NotFound)
    if first is None:
        return second
    return min(first, second, key=lambda error: order.index(type(error)))


def _params_in(body: bytes) -> dict[str, Any]:
    try:
        return _decode_params(body).params
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the request is not JSON: {sanitise(error)}") from error
