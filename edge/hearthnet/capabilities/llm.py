"""Conversations and completions: the grounded assistant under `hearthnet`, bare models under their own names (M04)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from hearthnet.base.errors import BadRequest, HearthNetError, NotFound, Unavailable
from hearthnet.base.types import Tier, TrustLevel
from hearthnet.mesh.answers import (
    ASSISTANT_MODEL,
    ChatInput,
    ChatParams,
    CompleteInput,
    Done,
    Failed,
    Frame,
    Message,
    Progress,
    Token,
)
from hearthnet.mesh.assistant import Assistant
from hearthnet.mesh.capability import Call, Offer, capability
from hearthnet.mesh.fair_queue import FairQueue
from hearthnet.mesh.generation import generate_text
from hearthnet.mesh.recital import STOPS
from hearthnet.ports import GenerateRequest, TextDelta
from hearthnet.wire.chunk import guess_tokens

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from hearthnet.mesh.services import Services
    from hearthnet.ports import ModelInfo

_PREFIX: Final = f"{ASSISTANT_MODEL}/"


class LanguageModels:
    """`llm.*`: one fair line before everything that keeps an engine busy."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._assistant = Assistant(services)
        llm = services.config.llm
        self._queue = FairQueue(services.clock, llm.slots, llm.slots * llm.queue_per_slot)

    def offer_of(self, name: str) -> Offer | None:
        """Which models can be asked here now; the assistant answers without any."""

        def params() -> Mapping[str, Any]:
            return {"models": [ASSISTANT_MODEL, *(model.name for model in self._services.engines.models())]}

        def compatible(offered: Mapping[str, Any], requested: Mapping[str, Any]) -> bool:
            wanted = requested.get("model", ASSISTANT_MODEL)
            if not isinstance(wanted, str):
                return False
            name = wanted.removeprefix(_PREFIX)
            return name in offered["models"] or name.partition("/")[2] in offered["models"]

        return Offer(params, compatible)

    @capability("llm.chat@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=128)
    async def chat(self, call: Call, params: ChatParams, request: ChatInput) -> AsyncIterator[Frame]:
        """Answer a conversation."""
        _check_turns(request.messages)
        if params.model == ASSISTANT_MODEL:
            if request.json_schema:
                raise BadRequest(
                    "an answer that quotes the library word for word takes no other shape", fix=f"ask {_PREFIX}<model>"
                )
            answer = self._assistant.answer(call, params, request, self._preferred())
        else:
            model = self._find(params.model)
            answer = self._generate(model, _chat_request(call, params, request, model))
        async with aclosing(self._in_turn(call, answer)) as frames:
            async for frame in frames:
                yield frame

    @capability("llm.complete@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=128)
    async def complete(self, call: Call, params: ChatParams, request: CompleteInput) -> AsyncIterator[Frame]:
        """Continue a text; under the assistant's name the text is taken as a question."""
        if not request.prompt.strip():
            raise BadRequest("the prompt is empty")
        if params.model == ASSISTANT_MODEL:
            asked = ChatInput(
                (Message("user", request.prompt),), request.max_tokens, stop=request.stop, seed=request.seed
            )
            answer = self._assistant.answer(call, params, asked, self._preferred())
        else:
            model = self._find(params.model)
            answer = self._generate(model, _complete_request(call, params, request, model))
        async with aclosing(self._in_turn(call, answer)) as frames:
            async for frame in frames:
                yield frame

    async def _in_turn(self, call: Call, answer: AsyncGenerator[Frame, None]) -> AsyncGenerator[Frame, None]:
        """Wait for a place, then the answer; what breaks after the first word ends in a Failed frame."""
        spoken = False
        subject = call.caller.subject or call.caller.node_id or ""
        async with aclosing(answer) as frames, self._queue.place(subject, deadline=call.deadline) as place:
            async for position in place.positions():
                wait_ms = self._queue.wait_ms(position)
                yield Progress("queue", current=position, total=self._queue.waiting, eta_ms=wait_ms)
            try:
                async for frame in frames:
                    spoken = spoken or isinstance(frame, Token)
                    yield frame
            except HearthNetError as error:
                if not spoken:
                    raise
                yield Failed(error.code, error.detail, error.retry_after_ms)

    async def _generate(self, model: ModelInfo, request: GenerateRequest) -> AsyncGenerator[Frame, None]:
        """The model's own words, marked as nobody's but its own."""
        began = self._services.clock.monotonic()
        chars, last = 0, TextDelta()
        yield Progress("generate" if model.loaded else "load")
        async with aclosing(generate_text(self._services.engines, model.name, request)) as deltas:
            async for delta in deltas:
                chars += len(delta.text)
                if delta.text:
                    yield Token(delta.text)
                last = delta
        yield Done(
            stop_reason=STOPS.get(last.stop_reason, "end"),
            tier=Tier.UNGROUNDED.value,
            model=model.name,
            tokens_in=last.tokens_in,
            tokens_out=last.tokens_out or guess_tokens(chars),
            ms=round((self._services.clock.monotonic() - began) * 1000),
        )

    def _preferred(self) -> ModelInfo | None:
        return next(iter(self._services.engines.models()), None)

    def _find(self, name: str) -> ModelInfo:
        models = self._services.engines.models()
        wanted = name.removeprefix(_PREFIX)
        if not models:
            raise Unavailable("no language model can answer now", fix="fetch one: make setup, or hearthnet models add")
        for model in models:
            if wanted in (model.name, f"{model.backend}/{model.name}"):
                return model
        raise NotFound(f"no model {name[:64]!r}", fix="see what is here: hearthnet models list")


def _chat_request(call: Call, params: ChatParams, request: ChatInput, model: ModelInfo) -> GenerateRequest:
    read = sum(guess_tokens(len(message.content)) for message in request.messages)
    return GenerateRequest(
        messages=tuple((message.role, message.content) for message in request.messages),
        max_tokens=_room(model, params, read, request.max_tokens),
        temperature=request.temperature,
        top_p=request.top_p,
        stop=request.stop,
        seed=request.seed,
        json_schema=request.json_schema,
        session=_session(call, request.conversation),
    )


def _complete_request(call: Call, params: ChatParams, request: CompleteInput, model: ModelInfo) -> GenerateRequest:
    return GenerateRequest(
        messages=(),
        raw_prompt=request.prompt,
        max_tokens=_room(model, params, guess_tokens(len(request.prompt)), request.max_tokens),
        temperature=request.temperature,
        top_p=request.top_p,
        stop=request.stop,
        seed=request.seed,
        session=_session(call, ""),
    )


def _session(call: Call, conversation: str) -> str:
    """Conversations of different people never share prompt state."""
    named = conversation or call.session
    return f"{call.caller.subject or call.caller.node_id or ''}/{named}" if named else ""


def _room(model: ModelInfo, params: ChatParams, read: int, wanted: int) -> int:
    """Tokens that the answer may have; raises BadRequest when question or context do not fit the model."""
    if params.ctx > model.context_tokens:
        raise BadRequest(f"{model.name} holds {model.context_tokens} tokens, not {params.ctx}")
    left = model.context_tokens - read
    if left <= 0:
        raise BadRequest(f"about {read} tokens are more than the {model.context_tokens} that {model.name} holds")
    return min(wanted, left)


def _check_turns(messages: Sequence[Message]) -> None:
    """System first, then a person and the assistant by turns, a person last; raises BadRequest."""
    roles = [message.role for message in messages]
    turns = roles[sum(role == "system" for role in roles) :]
    if "system" in turns or not turns or turns[0] == "assistant" or turns[-1] != "user":
        raise BadRequest("messages go: system first if at all, then user and assistant by turns, user last")
    if any(one == two == "assistant" for one, two in pairwise(turns)):
        raise BadRequest("two turns of the assistant follow each other")
    if not messages[-1].content.strip():
        raise BadRequest("the question is empty")
