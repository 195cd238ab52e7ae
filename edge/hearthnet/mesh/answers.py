"""Request and frames of a conversation with the box (M04, contract chapter 5).

The grounded assistant (model `hearthnet`) and bare models speak the same frames. A stream is any number of `Progress`,
`Sources` before the first `Token` that cites, `Token`s, and exactly one `Done` or `Failed`. Before `Done` the sources
come once more, with the quotes marked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from hearthnet.base.constants import QUESTION_MAX_CHARS

ASSISTANT_MODEL = "hearthnet"

Text = Annotated[str, Meta(max_length=QUESTION_MAX_CHARS)]


class ChatParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Which model, and which language the frame of an answer has when the question does not tell."""

    model: str = ASSISTANT_MODEL
    ctx: Annotated[int, Meta(ge=0)] = 0  # context wanted, tokens; 0 = whatever the model has
    language: Annotated[str, Meta(pattern="^(|de|en)$")] = ""


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: Text


class ChatInput(Struct, frozen=True, forbid_unknown_fields=True):
    """The conversation so far and how to continue it."""

    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=200)]
    max_tokens: Annotated[int, Meta(ge=1, le=8192)] = 1024
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    stop: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=8)] = ()
    seed: int | None = None
    json_schema: Annotated[str, Meta(max_length=65536)] = ""  # bare models only; refused where the answer is quoted
    stream: bool = True
    conversation: Annotated[str, Meta(max_length=64)] = ""  # keep the prompt state warm under this id


class CompleteInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Text to continue, without chat template."""

    prompt: Text
    max_tokens: Annotated[int, Meta(ge=1, le=8192)] = 256
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    stop: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=8)] = ()
    seed: int | None = None
    stream: bool = True


class Progress(Struct, frozen=True, tag="progress", tag_field="event"):
    """What is awaited; `current` is the place in the queue at stage `queue`."""

    stage: Literal["queue", "retrieve", "load", "generate"]
    current: int = 0
    total: int = 0
    eta_ms: int = 0


class Source(Struct, frozen=True):
    """A numbered passage; `quotes` are character ranges of `text` that the answer took word for word."""

    number: int
    title: str
    text: str
    corpus: str
    doc_cid: str
    chunk_id: str
    language: str = ""
    card_id: str = ""
    page: int = 0
    authorities: tuple[str, ...] = ()
    date: str = ""
    quotes: tuple[tuple[int, int], ...] = ()
    score: float = 0.0


class Sources(Struct, frozen=True, tag="sources", tag_field="event"):
    """The numbered passages that the answer may cite, or the nearest ones when the library holds no answer."""

    sources: tuple[Source, ...]


class Token(Struct, frozen=True, tag="token", tag_field="event"):
    """A piece of the answer; `cites` are numbers of `Sources`, `quoted` tells that it stands there word for word."""

    text: str
    cites: tuple[int, ...] = ()
    quoted: bool = False


class Done(Struct, frozen=True, tag="done", tag_field="event"):
    """The end of a good answer."""

    stop_reason: Literal["end", "max_tokens", "stop_sequence", "cancelled"]
    tier: Literal["quoted", "small_model", "large_model", "not_in_library", "ungrounded"]
    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    ms: int = 0
    confidence: float = 0.0  # calibrated probability that the library holds the answer; 0 for bare models


class Failed(Struct, frozen=True, tag="error", tag_field="event"):
    """The end of an answer that broke; what was streamed before stays valid."""

    error: str
    message: str = ""
    retry_after_ms: int | None = None


Frame = Progress | Sources | Token | Done | Failed
