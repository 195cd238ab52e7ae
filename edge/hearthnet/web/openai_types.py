"""What travels on the OpenAI-compatible routes: their names and shapes, ours only under `hearthnet` (M04)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.constants import EMBED_MAX_CHARS, EMBED_MAX_TEXTS, QUESTION_MAX_CHARS
from hearthnet.base.errors import HearthNetError, NotFound
from hearthnet.base.log import sanitise
from hearthnet.mesh.answers import Source

Text = Annotated[str, Meta(max_length=QUESTION_MAX_CHARS)]
ModelName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description="`hearthnet` = grounded, `hearthnet/<model>` = bare model",
        examples=["hearthnet"],
    ),
]
Share = Annotated[float, Meta(ge=0, le=1)]
Heat = Annotated[float, Meta(ge=0, le=2)]
Tokens = Annotated[int, Meta(ge=1)]
Stop = Annotated[str, Meta(max_length=64)] | Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=8)]
One = Annotated[int, Meta(ge=1, le=1, description="One choice is made")]


class TextPart(Struct, frozen=True):
    """A part of a message; this node reads text."""

    type: Literal["text"]
    text: Text


class FunctionCall(Struct, frozen=True):
    """A function the model wants to be called; `arguments` is JSON text."""

    name: Annotated[str, Meta(max_length=64)]
    arguments: Text


class ToolCall(Struct, frozen=True):
    """One entry of `tool_calls`."""

    id: Annotated[str, Meta(max_length=64)]
    function: FunctionCall
    type: Literal["function"] = "function"


class ToolCallDelta(ToolCall, frozen=True):
    """A call inside a chunk."""

    index: int = 0


class ChatMessage(Struct, frozen=True):
    """One turn; `developer` counts as system, `tool` carries the result of a call."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class FunctionSpec(Struct, frozen=True):
    """A function that may be called; `parameters` is a JSON schema."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
    description: Text | None = None
    parameters: dict[str, Any] | None = None


class Tool(Struct, frozen=True):
    """One entry of `tools`."""

    function: FunctionSpec
    type: Literal["function"] = "function"


class ChosenFunction(Struct, frozen=True):
    """The name of one function."""

    name: str


class ToolChoice(Struct, frozen=True):
    """Call exactly this function."""

    function: ChosenFunction
    type: Literal["function"] = "function"


class SchemaSpec(Struct, frozen=True):
    """The shape of a structured answer."""

    schema: dict[str, Any] = {}
    name: str = ""


class ResponseFormat(Struct, frozen=True):
    """Free text, any JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: SchemaSpec | None = None


class StreamOptions(Struct, frozen=True):
    """What a stream carries besides the text."""

    include_usage: bool = False


class ChatRequest(Struct, frozen=True):
    """`POST /v1/chat/completions`; parameters that are not named here are ignored."""

    model: ModelName
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=200)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Heat | None = None
    top_p: Share | None = None
    stop: Stop | None = None
    seed: int | None = None
    n: One | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Meta(max_length=64)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None


class CompletionRequest(Struct, frozen=True):
    """`POST /v1/completions`: text to continue, without chat template."""

    model: ModelName
    prompt: Text | Annotated[list[Text], Meta(min_length=1, max_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    temperature: Heat | None = None
    top_p: Share | None = None
    stop: Stop | None = None
    seed: int | None = None
    n: One | None = None


Embedded = Annotated[str, Meta(min_length=1, max_length=EMBED_MAX_CHARS)]


class EmbeddingRequest(Struct, frozen=True):
    """`POST /v1/embeddings`: one text or up to 256."""

    model: ModelName
    input: Embedded | Annotated[list[Embedded], Meta(min_length=1, max_length=EMBED_MAX_TEXTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    input_type: Literal["query", "passage"] | None = None  # as NVIDIA's servers take it; the model tells them apart


class Usage(Struct, frozen=True):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Grounding(Struct, frozen=True):
    """Where the words come from: how they were made, and the numbered passages."""

    tier: str
    model: str = ""
    confidence: float = 0.0
    sources: tuple[Source, ...] = ()


class ReplyMessage(Struct, frozen=True):
    """The answer."""

    role: str
    content: str | None
    tool_calls: list[ToolCall] | msgspec.UnsetType = msgspec.UNSET
    refusal: None = None


class ChatChoice(Struct, frozen=True):
    """The one choice."""

    message: ReplyMessage
    finish_reason: str
    index: int = 0
    logprobs: None = None


class ChatReply(Struct, frozen=True):
    """A whole answer."""

    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    hearthnet: Grounding
    object: str = "chat.completion"


class Delta(Struct, frozen=True):
    """What a chunk adds to the message."""

    role: str | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[ToolCallDelta] | msgspec.UnsetType = msgspec.UNSET


class ChatChunkChoice(Struct, frozen=True):
    """The one choice of a chunk."""

    delta: Delta
    finish_reason: str | None = None
    index: int = 0
    logprobs: None = None


class ChatChunk(Struct, frozen=True):
    """One event of a streamed answer; `usage` only when it was asked for, `hearthnet` with the finish reason."""

    id: str
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
    hearthnet: Grounding | msgspec.UnsetType = msgspec.UNSET
    object: str = "chat.completion.chunk"


class CompletionChunkChoice(Struct, frozen=True):
    """The one continuation of a chunk."""

    text: str
    finish_reason: str | None = None
    index: int = 0
    logprobs: None = None


class CompletionChunk(Struct, frozen=True):
    """One event of a streamed continuation."""

    id: str
    created: int
    model: str
    choices: list[CompletionChunkChoice]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
    hearthnet: Grounding | msgspec.UnsetType = msgspec.UNSET
    object: str = "text_completion"


class CompletionChoice(Struct, frozen=True):
    """The one continuation."""

    text: str
    finish_reason: str
    index: int = 0
    logprobs: None = None


class CompletionReply(Struct, frozen=True):
    """A whole continuation."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    hearthnet: Grounding
    object: str = "text_completion"


class Embedding(Struct, frozen=True):
    """One vector: numbers, or base64 of little-endian float32."""

    index: int
    embedding: list[float] | str
    object: str = "embedding"


class EmbeddingUsage(Struct, frozen=True):
    """Tokens read, estimated from the characters."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingReply(Struct, frozen=True):
    """The vectors in the order of the input."""

    model: str
    data: list[Embedding]
    usage: EmbeddingUsage
    object: str = "list"


class ModelEntry(Struct, frozen=True):
    """A model name that can be used."""

    id: str
    created: int
    owned_by: str
    object: str = "model"


class ModelList(Struct, frozen=True):
    """All model names."""

    data: list[ModelEntry]
    object: str = "list"


class ErrorDetail(Struct, frozen=True):
    """What went wrong, in OpenAI's words; `fix` is the command that helps."""

    message: str
    type: str
    code: str
    param: str | None = None
    fix: str | msgspec.UnsetType = msgspec.UNSET


class ErrorReply(Struct, frozen=True):
    """The error object of the OpenAI interface."""

    error: ErrorDetail


_TYPES: Final = {401: "authentication_error", 403: "permission_error", 408: "timeout_error", 429: "rate_limit_error"}
_AT: Final = re.compile(r" - at `\$\.?(?:input\.)?([a-z_]+)")
_TOKEN_FIX: Final = "hearthnet token create LABEL"  # noqa: S105  a command


def error_reply(error: HearthNetError) -> ErrorReply:
    """The error as OpenAI clients know it."""
    message, fix = sanitise(error.detail or error.code, 500), error.fix
    if error.status == 401:
        fix = _TOKEN_FIX
        message = (
            f"{message}. Make a token on the node with `{fix}` and give it to this program as its API key"
            " (OpenAI client: api_key; llm: `llm keys set hearthnet` and `api_key_name: hearthnet`;"
            " curl: -H 'Authorization: Bearer hn-...')"
        )
    elif isinstance(error, NotFound):  # nothing but a model can be missing here
        fix = fix or "hearthnet models list"
        message = f"{message}. GET /v1/models lists the models that can be asked now"
    kind = _TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    at = _AT.search(error.detail)
    code = "model_not_found" if isinstance(error, NotFound) else error.code
    detail = ErrorDetail(message, kind, code, at[1] if at else None, fix or msgspec.UNSET)
    return ErrorReply(detail)


def error_bytes(error: HearthNetError) -> bytes:
    """The error body."""
    return msgspec.json.encode(error_reply(error))
