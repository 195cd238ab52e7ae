"""A local text model behind llama.cpp's own server in a child process: continuous batching over HTTP (M04).

Requests are built field by field, never passed on. The prompt is ours for models of the catalogue; other models'
templates are applied by the server. A conversation keeps its slot, so that only new words are read.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from msgspec import Struct

from hearthnet.adapters.engines.chat_template import chatml, neutral_messages
from hearthnet.adapters.engines.http_stream import Patience, Pulse, stream_events
from hearthnet.adapters.engines.orders import ServerAddress, ServerOptions
from hearthnet.adapters.engines.pipe import pack
from hearthnet.adapters.engines.process import EngineProcess, Launch, decode
from hearthnet.adapters.engines.schema_subset import JsonWatch, read_schema
from hearthnet.adapters.engines.slots import SlotTable
from hearthnet.adapters.engines.supervisor import Supervisor
from hearthnet.adapters.engines.text_engine import LocalPlan, check_request, fit_memory
from hearthnet.base.errors import BadRequest, EngineDied
from hearthnet.ports import EngineStatus, GenerateRequest, ModelInfo, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from hearthnet.adapters.models_dir import InstalledModel
    from hearthnet.ports import Clock

_FIRST_EVENT_S: Final = 30.0
_PER_GB_S: Final = 30.0  # a big model on a small board reads its first 64 tokens slowly
_NOTICE_S: Final = 0.5
_SPIN: Final = "1000"  # turns of waiting before a thread sleeps: some microseconds, see docs/benchmarks.md
_ROOM_BYTES: Final = 4 * 1_073_741_824  # address space beside the model: threads, libraries
_STOP_REASONS: Final = {"limit": "max_tokens", "word": "stop_sequence", "eos": "end", "none": "end"}


class _Event(Struct):
    """The fields of a completion event that we read."""

    content: str = ""
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    error: Any = None


_events: Final = msgspec.json.Decoder(_Event)


class ServerEngine:
    """One local model; at each start the plan is cut to the memory of that moment."""

    def __init__(self, plan: LocalPlan, clock: Clock, *, idle_s: float, memory: Callable[[], int]) -> None:
        self._name = plan.model.name
        self._wanted = self._shown = plan
        self._memory = memory
        self._clock = clock
        self._slots = SlotTable(plan.slots)
        self._address = ServerAddress("", "")
        self._pulse = Pulse()
        self._http: aiohttp.ClientSession | None = None
        self.supervisor: Supervisor[EngineProcess] = Supervisor(self._name, self._start, clock, idle_s=idle_s)

    def serves(self, model: InstalledModel) -> bool:
        """Whether this is the engine of that model: the same bytes in the same file."""
        mine = self._wanted.model
        return (mine.path, mine.manifest.sha256) == (model.path, model.manifest.sha256)

    def info(self) -> ModelInfo | None:
        """The model, unless its engine is out of service."""
        if not self.supervisor.available():
            return None
        plan = self._shown
        return ModelInfo(self._name, "local", plan.tier, plan.context_tokens, loaded=self.supervisor.running)

    def status(self) -> EngineStatus:
        """State of the child."""
        return self.supervisor.status()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
        """Stream an answer; raises EngineDied when the child ends or hangs in the middle of it."""
        check_request(request)
        async with self.supervisor.lease() as child, self._slots.hold(request.session) as slot:
            body = self._body(request, slot)
            body["prompt"] = request.raw_prompt or await self._prompt(request)
            watch = JsonWatch() if request.json_schema else None
            try:
                async with aclosing(self._deltas(child, body)) as deltas:
                    async for delta in deltas:
                        if watch is not None:
                            watch.see(delta.text, delta.stop_reason)
                        yield delta
            except EngineDied as error:
                await _see_end(child, error.detail)
                raise child.death() from None

    async def _deltas(self, child: EngineProcess, body: dict[str, Any]) -> AsyncGenerator[TextDelta, None]:
        first_s = _FIRST_EVENT_S + _PER_GB_S * self._shown.model.manifest.bytes / 1e9
        patience = Patience(first_s, self._clock.monotonic(), self._pulse)
        post = self._post("/completion", body)
        async with aclosing(stream_events(post, patience, self._clock, child.kill)) as events:
            async for event in events:
                delta = _delta(event)
                if delta is not None:
                    yield delta
                    if delta.stop_reason:
                        return
        raise EngineDied("the answer broke off")

    async def unload(self) -> None:
        """End the child; the next request starts it again."""
        await self.supervisor.unload()

    async def close(self) -> None:
        """End the child and its connections."""
        await self.supervisor.close()
        if self._http is not None:
            await self._http.close()

    @asynccontextmanager
    async def address(self) -> AsyncIterator[ServerAddress]:
        """Where the running server listens, for tests and measurements that speak to it directly."""
        async with self.supervisor.lease():
            yield self._address

    async def _start(self) -> EngineProcess:
        plan = self._shown = fit_memory(self._wanted, self._memory())
        options = ServerOptions(
            str(plan.model.path), plan.slots, plan.context_tokens, plan.threads, plan.batch_threads,
            cache_mib=min(256, plan.need_bytes >> 23),
        )  # fmt: skip
        child = await EngineProcess.launch(
            Launch(
                "hearthnet.adapters.engines.llama",
                pack(options),
                {"GOMP_SPINCOUNT": _SPIN, "MALLOC_ARENA_MAX": "2"},
                memory_bytes=2 * plan.need_bytes + _ROOM_BYTES,
                start_s=120.0,
            ),
            self._clock,
        )
        self._slots = SlotTable(plan.slots)
        self._address = decode(child.detail, ServerAddress)
        return child

    def _body(self, request: GenerateRequest, slot: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "n_predict": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": list(request.stop),
            "stream": True,
            "cache_prompt": True,
            "return_progress": True,  # a sign of life while reading, and a point where a closed stream is noticed
            "id_slot": slot,
        }
        if request.seed is not None:
            body["seed"] = request.seed & 0xFFFFFFFF
        if request.grammar:
            body["grammar"] = request.grammar
        if request.json_schema:
            body["json_schema"] = _strict_schema(request.json_schema)
        return body

    async def _prompt(self, request: GenerateRequest) -> str:
        if self._shown.model.manifest.template == "chatml":
            return chatml(request.messages)
        turns = [{"role": role, "content": content} for role, content in neutral_messages(request.messages)]
        async with await self._post("/apply-template", {"messages": turns}) as reply:
            content = await reply.content.read()
        if reply.status != 200:
            raise BadRequest("the chat template inside the model refuses these messages")
        return str(msgspec.json.decode(content)["prompt"])

    async def _post(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        if self._http is None:
            # a connection each: the server may close a kept one at the moment it is used again
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return await self._http.post(
            self._address.url + path,
            data=msgspec.json.encode(body),
            headers={"Authorization": f"Bearer {self._address.key}", "Content-Type": "application/json"},
        )


async def _see_end(child: EngineProcess, reason: str) -> None:
    """A broken connection means that the server is gone or useless: learn why it ended, or end it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_NOTICE_S):
            await child.ended.wait()
    await child.kill(reason)


def _strict_schema(text: str) -> dict[str, Any]:
    """The schema, without the free white space that small models lose themselves in; raises BadRequest."""
    spacing = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    return read_schema(text) | {"x-guidance": spacing}


def _delta(event: bytes) -> TextDelta | None:
    """One event as text; None for a sign of life. Raises BadRequest for an error in the stream."""
    try:
        found = _events.decode(event)
    except msgspec.DecodeError as error:
        raise EngineDied(f"the model server spoke nonsense: {error}") from None
    if found.error:
        raise BadRequest(f"the model server refuses the request: {str(found.error)[:300]}")
    if found.stop:
        reason = _STOP_REASONS.get(found.stop_type, "end")
        return TextDelta(found.content, reason, found.tokens_evaluated, found.tokens_predicted)
    return TextDelta(found.content) if found.content else None
