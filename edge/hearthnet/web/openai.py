"""The OpenAI-compatible door: models, chat, completions, embeddings (M04, M11, decision 33).

`hearthnet` is the grounded assistant, `hearthnet/<model>` the bare model whose answers are marked `ungrounded`. Every
request goes through the bus; parameters that a client sends beyond the known ones are ignored.
"""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from contextlib import aclosing
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from hearthnet.base.errors import BadRequest, NotFound
from hearthnet.base.types import Role
from hearthnet.mesh.answers import ASSISTANT_MODEL, ChatInput, ChatParams, CompleteInput, Message
from hearthnet.mesh.trace_ids import TraceIds
from hearthnet.web import openai_types as api
from hearthnet.web.door import caller_of, door_of, texts_of
from hearthnet.web.openai_stream import END_MARK, AnswerText, ChatEvents, CompletionEvents, Head
from hearthnet.web.openai_tools import ToolEvents, call_id_of, plan_tools, read_tool_text, words_of
from hearthnet.web.payload import read_body, reply
from hearthnet.web.routing import Contract, RouteTable
from hearthnet.web.sse import send_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hearthnet.web.door import Door

routes = RouteTable()
_trace_ids: Final = TraceIds()
_PREFIX: Final = f"{ASSISTANT_MODEL}/"
_MAX_TOKENS: Final = 8192
_TOP_P_MIN: Final = 0.001  # the engine wants more than nothing; OpenAI allows 0
_CHARS_PER_TOKEN: Final = 3.5  # the specification's guess for Latin text


@routes.add(
    "GET", "/v1/models", role=Role.MEMBER, api=True, error_form=api.error_bytes,
    contract=Contract(reply=api.ModelList, error=api.ErrorReply),
)  # fmt: skip
async def list_models(request: web.Request) -> web.Response:
    """The names that `model` takes."""
    return reply(api.ModelList(_models(door_of(request))))


@routes.add(
    "GET", "/v1/models/{model:.+}", role=Role.MEMBER, api=True, error_form=api.error_bytes,
    contract=Contract(reply=api.ModelEntry, error=api.ErrorReply),
)  # fmt: skip
async def show_model(request: web.Request) -> web.Response:
    """One model name."""
    wanted = request.match_info["model"]
    found = next((entry for entry in _models(door_of(request)) if entry.id == wanted), None)
    if found is None:
        raise NotFound(f"no model {wanted[:100]!r} here", fix="hearthnet models list")
    return reply(found)


def _models(door: Door) -> list[api.ModelEntry]:
    clock = door.services.clock
    since = int(clock.now() - (clock.monotonic() - door.facts.started_at))
    names = [model.name for model in door.services.engines.models()] + [door.config.embedding.model]
    unique = dict.fromkeys([ASSISTANT_MODEL, *(f"{_PREFIX}{name}" for name in names)])
    return [api.ModelEntry(name, since, door.facts.name) for name in unique]


@routes.add(
    "POST", "/v1/chat/completions", role=Role.MEMBER, api=True, error_form=api.error_bytes,
    contract=Contract(
        request=api.ChatRequest, reply=api.ChatReply, frames=api.ChatChunk, end_mark=END_MARK,
        error=api.ErrorReply,
    ),
)  # fmt: skip
async def create_chat_completion(request: web.Request) -> web.StreamResponse:
    """Answer a conversation: from the library with sources, or by the bare model."""
    asked = await read_body(request, api.ChatRequest)
    door = door_of(request)
    plan = plan_tools(asked)
    head = _head(door, "chatcmpl-", asked)
    text = AnswerText(door.texts, texts_of(request).language)
    params, chat = _to_bus(asked, plan.json_schema if plan else _schema(asked), plan.introduction if plan else "")
    frames = door.bus.stream("llm.chat@1.0", params, chat, caller=caller_of(request), session=_session(chat))
    if asked.stream:
        return await send_events(request, frames, (ToolEvents if plan else ChatEvents)(head, text))
    words: str | None = await _collect(frames, text)
    finish = text.finish
    calls: list[api.ToolCall] = []
    if plan:
        words, calls = read_tool_text(words or "", call_id_of(head.id))
        finish = "tool_calls" if calls else finish
    message = api.ReplyMessage("assistant", words, calls or msgspec.UNSET)
    choice = api.ChatChoice(message, finish)
    return reply(api.ChatReply(head.id, head.created, head.model, [choice], text.usage, text.grounding))


@routes.add(
    "POST", "/v1/completions", role=Role.MEMBER, api=True, error_form=api.error_bytes,
    contract=Contract(
        request=api.CompletionRequest, reply=api.CompletionReply, frames=api.CompletionChunk, end_mark=END_MARK,
        error=api.ErrorReply,
    ),
)  # fmt: skip
async def create_completion(request: web.Request) -> web.StreamResponse:
    """Continue a text with a bare model; under the assistant's name the text is a question to the library."""
    asked = await read_body(request, api.CompletionRequest)
    door = door_of(request)
    prompt = asked.prompt if isinstance(asked.prompt, str) else asked.prompt[0]
    head = _head(door, "cmpl-", asked)
    text = AnswerText(door.texts, texts_of(request).language)
    name = "llm.complete@1.0"
    wanted: CompleteInput | ChatInput = CompleteInput(prompt=prompt, **_sampling(asked))
    if asked.model == ASSISTANT_MODEL:
        name = "llm.chat@1.0"
        wanted = ChatInput(messages=(Message("user", prompt),), **_sampling(asked))
    frames = door.bus.stream(name, ChatParams(model=_bare(asked.model)), wanted, caller=caller_of(request))
    if asked.stream:
        return await send_events(request, frames, CompletionEvents(head, text))
    words = await _collect(frames, text)
    choice = api.CompletionChoice(words, text.finish)
    return reply(api.CompletionReply(head.id, head.created, head.model, [choice], text.usage, text.grounding))


@routes.add(
    "POST", "/v1/embeddings", role=Role.MEMBER, api=True, error_form=api.error_bytes,
    contract=Contract(request=api.EmbeddingRequest, reply=api.EmbeddingReply, error=api.ErrorReply),
)  # fmt: skip
async def create_embedding(request: web.Request) -> web.Response:
    """Vectors of texts, for comparing them by meaning."""
    asked = await read_body(request, api.EmbeddingRequest)
    door = door_of(request)
    model = door.config.embedding.model
    if asked.model not in (ASSISTANT_MODEL, f"{_PREFIX}{model}", model):
        raise NotFound(f"no embedding model {asked.model[:100]!r} here; {_PREFIX}{model} is", fix="GET /v1/models")
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    params = {"input_type": asked.input_type or "passage"}
    output = await door.bus.call("embed.text@1.0", params, {"texts": texts}, caller=caller_of(request))
    if asked.dimensions not in (None, output.dim):
        raise BadRequest(
            f"the vectors of {model} have {output.dim} dimensions and cannot be shortened - at `$.dimensions`"
        )
    vectors: list[list[float] | str] = list(output.embeddings)
    if asked.encoding_format == "base64":
        vectors = [b64encode(struct.pack(f"<{output.dim}f", *vector)).decode() for vector in output.embeddings]
    read = sum(math.ceil(len(text) / _CHARS_PER_TOKEN) for text in texts)
    data = [api.Embedding(index, vector) for index, vector in enumerate(vectors)]
    return reply(api.EmbeddingReply(f"{_PREFIX}{model}", data, api.EmbeddingUsage(read, read)))


def _head(door: Door, prefix: str, asked: api.ChatRequest | api.CompletionRequest) -> Head:
    now = door.services.clock.now()
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    return Head(f"{prefix}{_trace_ids.make(now)}", int(now), asked.model, usage)


def _bare(model: str) -> str:
    """The name by which the bus knows a model."""
    return model.removeprefix(_PREFIX)


def _schema(asked: api.ChatRequest) -> str:
    wanted = asked.response_format
    if wanted is None or wanted.type == "text":
        return ""
    if wanted.type == "json_object":
        return '{"type":"object"}'
    if wanted.json_schema is None:
        raise BadRequest("response_format of type json_schema needs a json_schema - at `$.response_format`")
    return msgspec.json.encode(wanted.json_schema.schema).decode()


def _to_bus(asked: api.ChatRequest, json_schema: str, introduction: str) -> tuple[ChatParams, ChatInput]:
    messages = [_message(one) for one in asked.messages]
    if introduction:
        messages.insert(0, Message("system", introduction))
    sampling = _sampling(asked)
    if asked.max_completion_tokens:
        sampling["max_tokens"] = min(asked.max_completion_tokens, _MAX_TOKENS)
    return ChatParams(model=_bare(asked.model)), ChatInput(
        messages=tuple(messages), json_schema=json_schema, **sampling
    )


def _session(chat: ChatInput) -> str:
    """The same for all turns of a conversation: clients send it whole each time, and its beginning does not change."""
    first = next((number for number, message in enumerate(chat.messages) if message.role == "user"), 0)
    beginning = "\0".join(message.content for message in chat.messages[: first + 1])
    return blake2b(beginning.encode("utf-8", "replace"), digest_size=9).hexdigest()


def _message(one: api.ChatMessage) -> Message:
    words = words_of(one)
    if one.role == "tool":
        return Message("user", f"{one.tool_call_id or ''}: {words}".removeprefix(": "))
    return Message("system" if one.role == "developer" else one.role, words)


def _sampling(asked: api.ChatRequest | api.CompletionRequest) -> dict[str, Any]:
    """The fields that both kinds of request share, without those that were left out."""
    found: dict[str, Any] = {"temperature": asked.temperature, "stream": bool(asked.stream)}
    if asked.seed is not None:
        found["seed"] = asked.seed % 2**31
    if asked.max_tokens is not None:
        found["max_tokens"] = min(asked.max_tokens, _MAX_TOKENS)
    if asked.top_p is not None:
        found["top_p"] = max(asked.top_p, _TOP_P_MIN)
    if asked.stop is not None:
        found["stop"] = tuple([asked.stop] if isinstance(asked.stop, str) else asked.stop)
    return {key: value for key, value in found.items() if value is not None}


async def _collect(frames: AsyncGenerator[Any, None], text: AnswerText) -> str:
    async with aclosing(frames):
        return "".join([text.feed(frame) async for frame in frames])
