"""Answers in OpenAI's dialect: words with their marks and sources, whole or as chunks (M04).

The content stays the answer, with `[n]` after what a source carries and a list of sources at its end, so that plain
clients show them; programs find the same under `hearthnet`. One token costs one JSON string between two constants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, Struct, UnsetType, json

from hearthnet.base.errors import HearthNetError, InternalError, error_from_wire
from hearthnet.mesh.answers import Done, Failed, Progress, Source, Sources, Token
from hearthnet.web.openai_types import (
    ChatChunk,
    ChatChunkChoice,
    CompletionChunk,
    CompletionChunkChoice,
    Delta,
    Grounding,
    Usage,
    error_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hearthnet.web.i18n import Texts

FINISH: Final = {"end": "stop", "stop_sequence": "stop", "max_tokens": "length", "cancelled": "stop"}
_SENTENCE_ENDS: Final = (".", "!", "?", "…", ":", "”", "“", '"', ")")
END_MARK: Final = "[DONE]"
_END: Final = f"data: {END_MARK}\n\n".encode()
_MARK: Final = "\u0007text\u0007"
_encode = json.Encoder().encode


class AnswerText:
    """Feed frames, take text: quoted sentences on lines of their own, marks behind what a source carries."""

    def __init__(self, texts: Mapping[str, Texts], language: str) -> None:
        self._texts = texts
        self._language = language
        self._last: Token | None = None
        self._open = False  # a quoted sentence has begun and its mark is due
        self._cited: set[int] = set()
        self.sources: tuple[Source, ...] = ()
        self._done: Done | None = None

    def feed(self, frame: Any) -> str:
        """The text that a frame adds; raises the error that a frame tells."""
        if type(frame) is Token:
            plain = not (frame.quoted or frame.cites or self._open)
            if plain and (self._last is None or not self._last.quoted):
                self._last = frame
                return frame.text
            return self._add(frame)
        match frame:
            case Sources():
                self.sources = frame.sources
            case Done():
                self._done = frame
                return self._finish()
            case Failed():
                raise error_from_wire(frame.error, frame.message, frame.retry_after_ms)
        return ""

    @property
    def grounding(self) -> Grounding:
        """How the answer was made, once it is done."""
        done = self._ended
        return Grounding(done.tier, done.model, done.confidence, self.sources)

    @property
    def usage(self) -> Usage:
        """Tokens read and written, once it is done."""
        done = self._ended
        return Usage(done.tokens_in, done.tokens_out, done.tokens_in + done.tokens_out)

    @property
    def finish(self) -> str:
        """Why it ended, in OpenAI's words, once it is done."""
        return FINISH[self._ended.stop_reason]

    @property
    def _ended(self) -> Done:
        if self._done is None:
            raise InternalError("the answer has no end")
        return self._done

    def _add(self, token: Token) -> str:
        last, self._last = self._last, token
        self._cited.update(token.cites)
        if not token.quoted:
            gap = "\n\n" if last is not None and last.quoted else ""
            text = _marked(token)
            return self._close(last) + gap + (text.lstrip() if gap else text)
        before, text = "", token.text
        if not self._open or last is None or last.cites != token.cites:
            alike = last is not None and last.quoted and last.cites == token.cites
            before = self._close(last) + ("" if last is None else "\n" if alike else "\n\n")
            text = text.lstrip()
        self._open = True
        words = text.rstrip()
        if words.endswith(_SENTENCE_ENDS):
            return before + words + self._close(token)
        return before + text

    def _close(self, token: Token | None) -> str:
        if not self._open or token is None:
            return ""
        self._open = False
        return "".join(f" [{number}]" for number in token.cites)

    def _finish(self) -> str:
        marks = self._close(self._last)
        cited = [source for source in self.sources if source.number in self._cited]
        if not cited:
            return marks
        texts = self._texts.get(cited[0].language) or self._texts[self._language]
        lines = [f"\n\n{texts('openai.sources')}", *(_line(source, texts) for source in cited)]
        return marks + "\n".join(lines)


def _marked(token: Token) -> str:
    if not token.cites or all(f"[{number}]" in token.text for number in token.cites):
        return token.text
    words = token.text.rstrip()
    return words + "".join(f" [{number}]" for number in token.cites) + token.text[len(words) :]


def _line(source: Source, texts: Texts) -> str:
    parts = [source.title, ", ".join(source.authorities), source.date]
    if source.page:
        parts.insert(1, texts("openai.page", page=source.page))
    return f"[{source.number}] {' · '.join(part for part in parts if part)}"


class Head(Struct, frozen=True):
    """What all chunks of an answer begin with."""

    id: str
    created: int
    model: str
    include_usage: bool = False


class ChatEvents:
    """Frames of a chat as `data:` chunks; a `sse.Writer`."""

    def __init__(self, head: Head, text: AnswerText) -> None:
        self._head = head
        self._text = text
        self._started = False
        self._before, self._after = _cut(self._chunk(Delta(content=_MARK)))

    def frame(self, frame: Any) -> bytes:
        """The chunks of one frame; waiting is told in comments, which clients skip."""
        if type(frame) is Progress:
            return _comment(frame)
        words = self._text.feed(frame)
        data = self._before + _encode(words) + self._after if words else b""
        if not self._started:
            self._started = True
            data = _event(self._chunk(Delta(role="assistant", content=""))) + data
        return data + self._said(Delta(), self._text.finish) if type(frame) is Done else data

    def fault(self, error: HearthNetError) -> bytes:
        """The error object as the last event."""
        return b"data: " + error_bytes(error) + b"\n\n"

    def end(self) -> bytes:
        """OpenAI's end mark."""
        return _END

    def _said(self, delta: Delta, finish: str) -> bytes:
        """The last chunk of the choice, and the usage if it was asked for."""
        head, last = self._head, _event(self._chunk(delta, finish, self._text.grounding))
        if not head.include_usage:
            return last
        return last + _event(ChatChunk(head.id, head.created, head.model, [], self._text.usage))

    def _chunk(self, delta: Delta, finish: str | None = None, grounding: Grounding | UnsetType = UNSET) -> ChatChunk:
        head, choice = self._head, ChatChunkChoice(delta, finish)
        return ChatChunk(head.id, head.created, head.model, [choice], None if head.include_usage else UNSET, grounding)


class CompletionEvents:
    """Frames of a continuation as `data:` chunks; a `sse.Writer`."""

    def __init__(self, head: Head, text: AnswerText) -> None:
        self._head = head
        self._text = text
        self._before, self._after = _cut(self._chunk(_MARK))

    def frame(self, frame: Any) -> bytes:
        """The chunks of one frame."""
        if type(frame) is Progress:
            return _comment(frame)
        words = self._text.feed(frame)
        data = self._before + _encode(words) + self._after if words else b""
        if type(frame) is not Done:
            return data
        data += _event(self._chunk("", self._text.finish, self._text.grounding))
        if self._head.include_usage:
            head = self._head
            data += _event(CompletionChunk(head.id, head.created, head.model, [], self._text.usage))
        return data

    def fault(self, error: HearthNetError) -> bytes:
        """The error object as the last event."""
        return b"data: " + error_bytes(error) + b"\n\n"

    def end(self) -> bytes:
        """OpenAI's end mark."""
        return _END

    def _chunk(self, text: str, finish: str | None = None, grounding: Grounding | UnsetType = UNSET) -> CompletionChunk:
        head, choice = self._head, CompletionChunkChoice(text, finish)
        usage = None if head.include_usage else UNSET
        return CompletionChunk(head.id, head.created, head.model, [choice], usage, grounding)


def _event(chunk: Struct) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"


def _cut(chunk: Struct) -> tuple[bytes, bytes]:
    """An event in two halves, between which the JSON of its text belongs."""
    before, _, after = _event(chunk).partition(_encode(_MARK))
    return before, after


def _comment(frame: Progress) -> bytes:
    return f": {frame.stage} {frame.current}/{frame.total}\n\n".encode()
