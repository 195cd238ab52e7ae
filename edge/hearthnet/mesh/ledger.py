"""What is kept of every call, refused or run: one trace, its metrics, the health of who served it (M03, X03)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol, TypeGuard

from hearthnet.base.errors import CapacityExceeded, HearthNetError, NotImplementedHere, RateLimited
from hearthnet.base.log import sanitise
from hearthnet.base.trace import CallTraceEvent, TraceRing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hearthnet.base.types import NodeID, TraceID
    from hearthnet.mesh.capability import Caller
    from hearthnet.mesh.invocation import Invocation
    from hearthnet.mesh.registry import Entry
    from hearthnet.ports import Clock

log = logging.getLogger(__name__)

CANCELLED: Final = "cancelled"  # the caller went away; nobody's fault


class Meter(Protocol):
    """Where calls are counted: `base.metrics.Metrics`."""

    def count_call(self, capability: str, result: str, ms: float) -> None:
        """A call ended."""

    def count_limited(self, capability: str, reason: str) -> None:
        """A call was refused by a rate limit: `soft` or `hard`."""

    def count_quarantine(self) -> None:
        """An entry was quarantined."""

    def watch(self, name: str, read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Read a gauge when the metrics are asked for."""


class Ledger:
    """Ends calls; each call that was begun or refused passes here exactly once."""

    def __init__(self, node_id: NodeID, clock: Clock, traces: TraceRing, meter: Meter) -> None:
        self._node_id = node_id
        self._monotonic = clock.monotonic
        self._add = traces.add
        self._meter = meter
        self._count = meter.count_call

    def end(self, running: Invocation, error: BaseException | None) -> float:
        """Give the call's place back and write it down; returns its milliseconds. The second time nothing happens."""
        if running.ended:
            return 0.0
        running.ended = True
        entry, call = running.entry, running.call
        entry.in_flight -= 1
        entry.lane.remove(running)
        now = self._monotonic()
        ms = (now - running.started) * 1000.0
        if error is None:
            result = "ok"
            entry.health.succeed(ms, probe=running.probe)
        else:
            result = error.code if isinstance(error, HearthNetError) else CANCELLED
            self._judge(running, error, ms, now)
        call.span.ms = ms
        self._add(
            CallTraceEvent(
                running.wall, call.trace_id, entry.capability, entry.version, call.caller.node_id or self._node_id,
                entry.node_id, entry.is_local, result, ms, running.tokens_in, running.tokens_out, running.bytes_in,
                running.bytes_out, call.span, running.candidates,
            )
        )  # fmt: skip
        self._count(entry.capability, result, ms)
        return ms

    def refuse(
        self, name: str, entry: Entry | None, caller: Caller, trace_id: TraceID, wall: float, error: HearthNetError
    ) -> None:
        """Write down a call that never ran."""
        capability, _, version = name.partition("@")
        if entry is None:
            capability, version = sanitise(capability, 64), sanitise(version, 8)
        if isinstance(error, RateLimited):
            self._meter.count_limited(capability, "soft")
        own = self._node_id
        self._add(
            CallTraceEvent(wall, trace_id, capability, version, caller.node_id or own, own, True, error.code, 0.0)
        )
        self._count(capability if entry is not None else "unknown", error.code, 0.0)

    def drop(self, capability: str) -> None:
        """Count a call above the hard limit; it leaves no trace, so that a flood cannot wash the others away."""
        self._meter.count_limited(capability, "hard")

    def _judge(self, running: Invocation, error: BaseException, ms: float, now: float) -> None:
        entry = running.entry
        if not _is_sickness(error):
            if running.probe:
                entry.health.forget_probe()
            return
        if entry.health.fail(error, ms, now, probe=running.probe):
            self._meter.count_quarantine()
            log.warning("quarantined for failing too often", extra={"error": error.code, **running.names()})


def _is_sickness(error: BaseException) -> TypeGuard[HearthNetError]:
    """Whether the error speaks against who served the call: not the caller's mistakes, not being busy."""
    if not isinstance(error, HearthNetError) or error.fault == "remote":
        return False
    return not isinstance(error, CapacityExceeded | NotImplementedHere)
