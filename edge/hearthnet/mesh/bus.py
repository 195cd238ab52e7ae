"""The capability bus: the one way to call anything, here or later at a neighbour (M03).

Every call takes the same steps: route, rate limit, trust, validate, take a place, handler under its deadline, validate
the reply, give the place back, trace, health. There is no second path beside it. Rate limits stand before the checks
that cost something, as in the contract's request order.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hearthnet.base.constants import CANCEL_WITHIN_S
from hearthnet.base.errors import (
    BadRequest,
    CallTimeout,
    Dropped,
    HearthNetError,
    InternalError,
    Unauthorized,
    Unavailable,
)
from hearthnet.base.trace import Span, TraceRing
from hearthnet.base.types import NodeID, TraceID, TrustLevel
from hearthnet.mesh.capability import Call, Caller, Capability, Descriptor, offered_by
from hearthnet.mesh.deadlines import Deadlines
from hearthnet.mesh.invocation import Answer, Invocation
from hearthnet.mesh.ledger import Ledger, Meter
from hearthnet.mesh.limits import OTHERS, OWN_PEOPLE, Plan, RateLimits
from hearthnet.mesh.registry import Entry, Registry, check_namespace, make_entry
from hearthnet.mesh.router import Router, moves_on
from hearthnet.mesh.schema import pack
from hearthnet.mesh.streaming import Channel, failure_in, forward, is_progress, stop
from hearthnet.mesh.trace_ids import TraceIds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from msgspec import Struct

    from hearthnet.base.config import BusSection
    from hearthnet.ports import Clock

log = logging.getLogger(__name__)

MOVES_MAX: Final = 2  # to other nodes, for one call
SPAN_CHILDREN_MAX: Final = 64  # a call that makes thousands keeps the first ones

_current_task: Callable[[], asyncio.Task[Any]] = asyncio.current_task  # type: ignore[assignment]  # always in a task


class CapabilityBus:
    """Calls capabilities by name; implements `mesh.services.Bus`.

    Other capabilities use `call` and `stream` with structs, doors `handle_call` and `handle_stream` with the JSON bytes
    of `{"params": ..., "input": ...}`; the checks are the same. A refused or failed call raises a HearthNetError.
    """

    def __init__(
        self, node_id: NodeID, clock: Clock, config: BusSection, traces: TraceRing, meter: Meter,
        *, limits: Plan = OTHERS, own_limits: Plan = OWN_PEOPLE,
    ) -> None:  # fmt: skip
        self._node_id = node_id
        self._config = config
        self._now, self._monotonic = clock.now, clock.monotonic
        self._registry = Registry()
        self._router = Router(self._registry)
        self._deadlines = Deadlines(clock)
        self._ledger = Ledger(node_id, clock, traces, meter)
        self._limits = RateLimits(limits, on_drop=self._ledger.drop)
        self._own_limits = RateLimits(own_limits, on_drop=self._ledger.drop)
        self._make_trace_id = TraceIds().make
        self._pumps: set[asyncio.Task[None]] = set()
        self._closed = False
        self._has_neighbours = False  # then calls have no choice, and their traces need not say so
        meter.watch("hearthnet_active_streams", self._active_streams)
        meter.watch("hearthnet_capability_health_success_rate", self._success_rates)

    # ---- what is offered ------------------------------------------------------------------------------------

    def register(self, service: object) -> None:
        """Offer all capabilities of a service; raises CapabilityConflict for a second or foreign name."""
        offered = offered_by(service)
        check_namespace(offered)
        for capability in offered:
            self._registry.add(self._make_entry(capability, self._node_id))

    def attach(self, capability: Capability, node_id: NodeID) -> Entry:
        """Offer what a neighbour offers; its handler sends the call there. Keep `last_seen` of the entry fresh."""
        entry = self._make_entry(capability, node_id)
        self._registry.add(entry)
        self._has_neighbours = True
        return entry

    def detach(self, entry: Entry) -> None:
        """Stop offering an entry: its node left, or it needs what is gone. Calls that run there go on."""
        self._registry.remove(entry)
        self._router.release(entry)

    def descriptors(self) -> list[Descriptor]:
        """Everything this node offers itself, by name."""
        return sorted((entry.descriptor for entry in self.entries() if entry.is_local), key=lambda item: item.name)

    def find(self, name: str) -> tuple[Entry, ...]:
        """The entries that satisfy `name@X.Y`, local ones first; raises BadRequest."""
        return self._registry.find(name)

    def entries(self) -> list[Entry]:
        """All entries with their load and health, for status pages and the manifest; not to be changed."""
        return list(self._registry)

    def _active_streams(self) -> dict[tuple[str, ...], float]:
        return {(entry.capability,): entry.in_flight for entry in self.entries() if entry.descriptor.streams}

    def _success_rates(self) -> dict[tuple[str, ...], float]:
        return {(entry.capability, entry.node_id): entry.health.success_rate for entry in self.entries()}

    async def close(self) -> None:
        """Refuse new calls, cancel the streams that run, end the watchers."""
        self._closed = True
        for pump in self._pumps:
            pump.cancel()
        if self._pumps:
            await asyncio.wait(self._pumps, timeout=CANCEL_WITHIN_S)
        await self._deadlines.close()

    # ---- calls ----------------------------------------------------------------------------------------------

    async def call(
        self, name: str, params: Struct | dict[str, Any] | None, request: Struct | dict[str, Any],
        *, caller: Caller, session: str = "", within: Call | None = None,
    ) -> Any:  # fmt: skip
        """The reply struct. `within` is the call on whose behalf this one is made: one trace for both."""
        answer = await self.handle_call(name, pack(params, request), caller=caller, session=session, within=within)
        return answer.output

    def stream(
        self, name: str, params: Struct | dict[str, Any] | None, request: Struct | dict[str, Any],
        *, caller: Caller, session: str = "", within: Call | None = None,
    ) -> AsyncGenerator[Any, None]:  # fmt: skip
        """The reply's frames; as `handle_stream`."""
        return self.handle_stream(name, pack(params, request), caller=caller, session=session, within=within)

    async def handle_call(
        self, name: str, body: bytes, *, caller: Caller, session: str = "", within: Call | None = None,
        trace_id: TraceID | None = None,
    ) -> Answer:  # fmt: skip
        """One call from raw bytes; raises the error that refused or ended it.

        When who was asked cannot serve it, the next candidate is, where that cannot do anything twice.
        """
        tried: tuple[Entry, ...] = ()
        while True:
            running = self._begin(name, body, caller, session, within, trace_id, streams=False, tried=tried)
            try:
                return await self._run(running)
            except HearthNetError as error:
                if not self._may_move(running, error, name, body, tried):
                    raise
                tried, trace_id = (*tried, running.entry), running.call.trace_id

    async def handle_stream(
        self, name: str, body: bytes, *, caller: Caller, session: str = "", within: Call | None = None,
        trace_id: TraceID | None = None,
    ) -> AsyncGenerator[Any, None]:  # fmt: skip
        """Validated frames; nothing runs before the first is asked for, which is also where refusals are raised.

        Ends after exactly one terminal frame, or raises. Closing it cancels the handler within `CANCEL_WITHIN_S`. While
        nothing but progress was told, a stream that breaks begins anew at the next candidate.
        """
        tried: tuple[Entry, ...] = ()
        while True:
            running = self._begin(name, body, caller, session, within, trace_id, streams=True, tried=tried)
            frames, begun = self._frames(running), False
            async with aclosing(frames):
                try:
                    async for frame in frames:
                        failure = None if begun else failure_in(frame)
                        if failure is not None and self._may_move(running, failure, name, body, tried):
                            break
                        begun = begun or not is_progress(frame)
                        yield frame
                    else:
                        return
                except HearthNetError as error:
                    if begun or not self._may_move(running, error, name, body, tried):
                        raise
            tried, trace_id = (*tried, running.entry), running.call.trace_id

    # ---- the steps ------------------------------------------------------------------------------------------

    async def _run(self, running: Invocation) -> Answer:
        """The handler and its validated reply."""
        entry = running.entry
        try:
            checked = entry.codec.check(await entry.invoke(running.call, running.params, running.request))
        except BaseException as raised:  # the supervisor of all calls
            error = self._fail(running, raised)
            if error is raised:
                raise
            raise error from raised
        if running.cancels:  # the handler swallowed the cancellation; its reply comes too late
            raise self._fail(running, TimeoutError())
        output, reply_body = checked
        running.bytes_out = len(reply_body)
        if entry.codec.counts_tokens:
            running.count_tokens(output)
        ms = self._ledger.end(running, None)
        return Answer(output, reply_body, ms, running.call.trace_id, entry.node_id, entry.name)

    async def _frames(self, running: Invocation) -> AsyncGenerator[Any, None]:
        """The frames of one attempt."""
        channel = Channel()
        pump = asyncio.get_running_loop().create_task(self._pump(running, channel), name=f"stream {running.entry.name}")
        running.task, running.cancelling = pump, 0
        self._pumps.add(pump)
        pump.add_done_callback(partial(self._pumped, running, channel))
        try:
            while (frame := await channel.get()) is not None:
                yield frame
        finally:
            await stop(pump, channel, running)

    def _may_move(
        self, running: Invocation, error: HearthNetError, name: str, body: bytes, tried: tuple[Entry, ...]
    ) -> bool:
        """Whether the call may go to another node: nothing is done twice, time is left, somebody can take it."""
        if len(tried) >= MOVES_MAX or not moves_on(running.entry, error):
            return False
        now = self._monotonic()
        if now >= running.deadline:
            return False
        tried = (*tried, running.entry)
        return self._router.can_serve(name, body, now, here_only=running.here_only, tried=tried)

    def _is_foreign(self, caller: Caller, within: Call | None) -> bool:
        """Whether another node asks; its call is served here or not at all."""
        node = caller.node_id or (within.caller.node_id if within is not None else None)
        return node is not None and node != self._node_id

    def _begin(
        self, name: str, body: bytes, caller: Caller, session: str, within: Call | None, trace_id: TraceID | None,
        *, streams: bool, tried: tuple[Entry, ...] = (),
    ) -> Invocation:  # fmt: skip
        """Everything before the handler; a refusal is traced and raised."""
        started, wall = self._monotonic(), self._now()
        if trace_id is None:
            trace_id = self._make_trace_id(wall) if within is None else within.trace_id
        entry = None
        try:
            subject = caller.subject or caller.node_id or "nobody"
            limits = self._own_limits if caller.trust is TrustLevel.SELF else self._limits
            here_only = self._is_foreign(caller, within)
            entry = self._route(name, body, started, subject, session, limits, here_only, tried)
            if not tried:
                limits.admit(subject, entry.capability, started)
            descriptor = entry.descriptor
            if caller.trust < descriptor.trust:
                raise Unauthorized(f"{entry.name} is for {descriptor.trust.label}, not for {caller.trust.label}")
            if descriptor.streams is not streams:
                raise BadRequest(f"{entry.name} {'streams' if descriptor.streams else 'does not stream'} its reply")
            request = entry.codec.read(body)
        except Dropped:
            raise
        except HearthNetError as error:
            self._ledger.refuse(name, entry, caller, trace_id, wall, error)
            raise
        span = Span(entry.name, started * 1000.0)
        if within is not None and len(within.span.children) < SPAN_CHILDREN_MAX:
            within.span.children.append(span)
        health = entry.health
        deadline = started + descriptor.timeout_s
        task = _current_task()
        running = Invocation(
            entry, Call(caller, trace_id, deadline, span, session), request.params, request.input, started, deadline,
            wall, task, task.cancelling(), health.begin_probe() if health.quarantined_until else False, len(body),
        )  # fmt: skip
        running.here_only = here_only
        if self._has_neighbours:
            running.candidates = self._router.explain(name, body, started, entry)
        entry.in_flight += 1
        entry.lane.add(running)
        return running

    def _route(
        self, name: str, body: bytes, now: float, subject: str, session: str, limits: RateLimits, here_only: bool,
        tried: tuple[Entry, ...],
    ) -> Entry:  # fmt: skip
        if self._closed:
            raise Unavailable("the node is stopping")
        try:
            bound = (subject, session) if session else None
            return self._router.route(name, body, now, bound, here_only=here_only, tried=tried)
        except HearthNetError:
            limits.admit(subject, "", now)  # whoever asks for what is not there is limited too
            raise

    def _fail(self, running: Invocation, raised: BaseException) -> BaseException:
        """End a call that raised; the error that its caller gets."""
        timeout = running.timed_out() if running.cancels else None
        error = timeout or raised
        if isinstance(error, TimeoutError):
            error = CallTimeout(f"{running.entry.name} waited too long")
        elif isinstance(error, Exception) and not isinstance(error, HearthNetError):
            log.error("unhandled error in a capability", exc_info=raised, extra=running.names())
            error = InternalError(f"{running.entry.name} made a mistake; it is in the log")
        self._ledger.end(running, error)
        return error

    async def _pump(self, running: Invocation, channel: Channel) -> None:
        """Run a streaming handler in its own task, so that a slow reader never holds its deadline."""
        try:
            failure = await forward(running, channel)
        except BaseException as raised:  # the supervisor of all streams
            error = self._fail(running, raised)
            channel.close(error if isinstance(error, Exception) else Unavailable("the call was cancelled"))
            if not isinstance(error, Exception):
                raise
        else:
            self._ledger.end(running, failure)

    def _pumped(self, running: Invocation, channel: Channel, pump: asyncio.Task[None]) -> None:
        self._pumps.discard(pump)
        if not running.ended:  # cancelled before its first step
            self._ledger.end(running, asyncio.CancelledError())
            channel.close(Unavailable("the call was cancelled"))

    def _make_entry(self, capability: Capability, node_id: NodeID) -> Entry:
        lane = self._deadlines.lane(capability.descriptor.timeout_s)
        is_local = node_id == self._node_id
        preferred = self._config.local_load_threshold if is_local and self._config.prefer_local else 0.0
        return make_entry(capability, node_id, lane, is_local=is_local, preferred_load=preferred, now=self._monotonic())
