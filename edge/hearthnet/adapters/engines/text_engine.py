"""What every text engine offers to the host, and what a local one is given (M04)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from hearthnet.adapters.engines.chat_template import neutral_messages
from hearthnet.adapters.gguf import estimate_memory, read_gguf
from hearthnet.base.errors import BadRequest, CapacityExceeded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from hearthnet.adapters.models_dir import InstalledModel
    from hearthnet.ports import EngineStatus, GenerateRequest, ModelInfo, TextDelta

LARGE_MODEL_PARAMETERS = 1_500_000_000  # from here on a model may word answers itself (inference.md 3)


class TextEngine(Protocol):
    """One text model, local or behind an address."""

    def info(self) -> ModelInfo | None:
        """The model as it can be offered now; None while it cannot answer."""

    def generate(self, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
        """Stream an answer."""

    def status(self) -> EngineStatus:
        """State for status and doctor."""

    async def unload(self) -> None:
        """Free its memory; the next request loads it again."""

    async def close(self) -> None:
        """End it."""


class LocalPlan(Struct, frozen=True):
    """How a local model is to be served on this machine."""

    model: InstalledModel
    slots: int
    context_tokens: int
    threads: int
    batch_threads: int
    need_bytes: int

    @property
    def tier(self) -> str:
        """Tier of free wording by this model."""
        return "large_model" if self.model.manifest.parameters >= LARGE_MODEL_PARAMETERS else "small_model"


def plan_local(model: InstalledModel, *, slots: int, context_tokens: int, threads: int, cores: int) -> LocalPlan:
    """Fit slots and threads: cores - 1 for one answer, all cores for reading and for several answers at once."""
    header = read_gguf(model.path)
    context = min(context_tokens, header.context_tokens or context_tokens)
    single = threads or max(1, cores - 1)
    return LocalPlan(
        model=model,
        slots=slots,
        context_tokens=context,
        threads=single,
        batch_threads=threads or cores,
        need_bytes=estimate_memory(header, slots, context),
    )


def fit_memory(plan: LocalPlan, available_bytes: int) -> LocalPlan:
    """The plan with as many slots as memory allows; raises CapacityExceeded when not even one fits."""
    header = read_gguf(plan.model.path)
    slots = plan.slots
    while slots > 1 and estimate_memory(header, slots, plan.context_tokens) > available_bytes:
        slots //= 2
    need = estimate_memory(header, slots, plan.context_tokens)
    if need > available_bytes:
        raise CapacityExceeded(
            f"{plan.model.name} needs {need >> 20} MiB of memory, {available_bytes >> 20} MiB are free",
            fix="end other programs, or choose a smaller model: hearthnet models list",
        )
    return LocalPlan(plan.model, slots, plan.context_tokens, plan.threads, plan.batch_threads, need)


def check_request(request: GenerateRequest) -> None:
    """Raise BadRequest for what no engine can do."""
    if not request.messages and not request.raw_prompt:
        raise BadRequest("there is neither a message nor a prompt")
    if request.max_tokens < 1:
        raise BadRequest("max_tokens is at least 1")
    if request.grammar.lstrip().startswith("%"):
        raise BadRequest("a grammar is written in GBNF")
    if request.grammar and request.json_schema:
        raise BadRequest("a grammar and a JSON schema exclude each other")
    for text in (request.raw_prompt, *(content for _, content in neutral_messages(request.messages)), *request.stop):
        if "\0" in text or not _is_unicode(text):
            raise BadRequest("NUL and half characters are not text")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def available_memory(meminfo: Path) -> int:
    """Memory that could be used now without swapping, bytes (/proc/meminfo)."""
    for line in meminfo.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
