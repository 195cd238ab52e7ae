"""One running call and its outcome (M03)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hearthnet.base.errors import CallTimeout
from hearthnet.mesh.capability import Call

if TYPE_CHECKING:
    from hearthnet.base.trace import Candidate
    from hearthnet.base.types import NodeID, TraceID
    from hearthnet.mesh.registry import Entry


class Invocation(Struct, eq=False):
    """A call between its admission and its end; the bus holds one for each place taken in `in_flight`."""

    entry: Entry
    call: Call
    params: Any
    request: Any
    started: float  # monotonic
    deadline: float  # monotonic
    wall: float
    task: asyncio.Task[Any]  # the task that runs the handler
    cancelling: int  # cancel requests of others when the call began
    probe: bool
    bytes_in: int
    bytes_out: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cancels: int = 0  # how often its deadline cancelled it
    ended: bool = False
    here_only: bool = False  # another node asks: it is served here or not at all
    candidates: tuple[Candidate, ...] = ()

    def cancel(self) -> None:
        """The deadline has passed: cancel what runs the handler."""
        self.cancels += 1
        self.task.cancel()

    def timed_out(self) -> CallTimeout | None:
        """Take the deadline's cancel requests back; the error to raise, or None when others cancelled too."""
        remaining = self.task.cancelling()
        for _ in range(self.cancels):
            remaining = self.task.uncancel()
        if not self.cancels or remaining > self.cancelling:
            return None
        return CallTimeout(f"{self.entry.name} did not answer within {self.entry.lane.timeout_s:g} s")

    def count_tokens(self, output: Any) -> None:
        """Take the token counts of a reply or last frame into the trace."""
        self.tokens_in = getattr(output, "tokens_in", 0)
        self.tokens_out = getattr(output, "tokens_out", 0)

    def names(self) -> dict[str, str]:
        """What a log line says about the call."""
        return {"capability": self.entry.name, "trace_id": self.call.trace_id}


class Answer(Struct, frozen=True):
    """A validated reply."""

    output: Any
    body: bytes  # its JSON, as validated
    ms: float
    trace_id: TraceID
    node_id: NodeID
    capability: str  # name@X.Y as served
