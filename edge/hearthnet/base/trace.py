"""Traces: the last 10,000 calls in a ring, each with its spans (X03)."""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from hearthnet.base.constants import TRACE_RING_BUFFER
from hearthnet.base.types import TraceID


class Span(Struct):
    """A named stretch of time inside a call; `detail` is for people, capped when shown."""

    name: str
    start_ms: float
    ms: float = 0.0
    detail: str = ""
    children: list[Span] = []


class Candidate(Struct, frozen=True):
    """One node that could have served a call: its score, and why it was taken or not.

    `verdict`: chosen, higher_score, here_and_free (this node serves itself while it is not loaded), or an error code.
    """

    node_id: str
    score: float
    verdict: str


class CallTraceEvent(Struct, frozen=True):
    """One finished call (field names of the specification)."""

    ts: float
    trace_id: TraceID
    capability: str
    version: str
    from_node: str
    to_node: str
    is_local: bool
    result: str  # ok or the error code
    ms: float
    tokens_in: int = 0
    tokens_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    span: Span | None = None
    candidates: tuple[Candidate, ...] = ()  # only where there was a choice


class TraceRing:
    """Bounded history of calls; the oldest falls out."""

    def __init__(self, size: int = TRACE_RING_BUFFER) -> None:
        self._events: deque[CallTraceEvent] = deque(maxlen=size)

    def add(self, event: CallTraceEvent) -> None:
        """Remember one call."""
        self._events.append(event)

    def recent(self, count: int, capability: str = "") -> list[CallTraceEvent]:
        """The newest `count` calls, newest first, optionally of one capability."""
        matching = (event for event in reversed(self._events) if capability in ("", event.capability))
        return [event for event, _ in zip(matching, range(count), strict=False)]

    def __len__(self) -> int:
        return len(self._events)
