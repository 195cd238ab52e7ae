"""A local text model whose child answers over the pipe: the `llama-cpp-python` host, one at a time (M04)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from hearthnet.adapters.engines.chat_template import chatml, neutral_messages
from hearthnet.adapters.engines.orders import ServerOptions, TextOrder
from hearthnet.adapters.engines.pipe import pack
from hearthnet.adapters.engines.process import EngineProcess, Launch, decode
from hearthnet.adapters.engines.schema_subset import read_schema
from hearthnet.adapters.engines.slots import SlotTable
from hearthnet.adapters.engines.supervisor import Supervisor
from hearthnet.adapters.engines.text_engine import LocalPlan, check_request, fit_memory
from hearthnet.ports import EngineStatus, GenerateRequest, ModelInfo, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from hearthnet.adapters.models_dir import InstalledModel
    from hearthnet.ports import Clock

_ROOM_BYTES = 4 * 1_073_741_824


class PipeEngine:
    """One local model whose words come over the pipe."""

    def __init__(self, plan: LocalPlan, clock: Clock, *, idle_s: float, memory: Callable[[], int]) -> None:
        self._plan = plan
        self._clock = clock
        self._memory = memory
        self._slots = SlotTable(1)
        self.supervisor: Supervisor[EngineProcess] = Supervisor(plan.model.name, self._start, clock, idle_s=idle_s)

    def serves(self, model: InstalledModel) -> bool:
        """Whether this is the engine of that model: the same bytes in the same file."""
        mine = self._plan.model
        return (mine.path, mine.manifest.sha256) == (model.path, model.manifest.sha256)

    def info(self) -> ModelInfo | None:
        """The model, unless its engine is out of service."""
        if not self.supervisor.available():
            return None
        plan = self._plan
        return ModelInfo(plan.model.name, "local", plan.tier, plan.context_tokens, loaded=self.supervisor.running)

    def status(self) -> EngineStatus:
        """State of the child."""
        return self.supervisor.status()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
        """Stream an answer; raises EngineDied when the child ends or falls silent in the middle of it."""
        check_request(request)
        ours = self._plan.model.manifest.template == "chatml"
        order = TextOrder(
            prompt=request.raw_prompt or (chatml(request.messages) if ours else ""),
            messages=tuple(neutral_messages(request.messages)),
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            stop=request.stop,
            seed=request.seed,
            grammar=request.grammar,
            json_schema=msgspec.json.encode(read_schema(request.json_schema)).decode() if request.json_schema else "",
        )
        async with (
            self.supervisor.lease() as child,
            self._slots.hold(request.session),
            aclosing(child.stream("generate", order)) as parts,
        ):
            async for part in parts:
                delta: TextDelta = decode(part, TextDelta)
                if delta.text or delta.stop_reason:
                    yield delta

    async def unload(self) -> None:
        """End the child; the next request starts it again."""
        await self.supervisor.unload()

    async def close(self) -> None:
        """End the child."""
        await self.supervisor.close()

    async def _start(self) -> EngineProcess:
        plan = fit_memory(self._plan, self._memory())
        options = ServerOptions(str(plan.model.path), 1, plan.context_tokens, plan.threads, plan.batch_threads)
        launch = Launch(
            "hearthnet.adapters.engines.llama_cpp_python",
            pack(options),
            {"MALLOC_ARENA_MAX": "2"},
            memory_bytes=2 * plan.need_bytes + _ROOM_BYTES,
            start_s=120.0,
            silence_s=30.0,
        )
        return await EngineProcess.launch(launch, self._clock)
