"""One question with its answer, prepared for the templates (M08)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from msgspec import Struct

from hearthnet.mesh.answers import Source
from hearthnet.web.answer_view import AnswerView

if TYPE_CHECKING:
    from hearthnet.web.formats import Formats
    from hearthnet.web.i18n import Texts

_AROUND_CHARS: Final = 120
_NEAREST: Final = 3


class StopNote(Struct, frozen=True):
    """What a cited card says must be done first; shown with the hatch of danger."""

    title: str
    lines: tuple[str, ...]


class AskedTurn(Struct, frozen=True):
    """What `ask/turn.html` draws."""

    conversation: str
    number: int
    question: str
    asked_at: float
    view: AnswerView
    latest: bool
    dangers: tuple[StopNote, ...] = ()

    @property
    def titles(self) -> dict[int, str]:
        """Source titles by number, for the labels of the chips."""
        return {source.number: source.title for source in self.view.sources}

    @property
    def nearest(self) -> tuple[Source, ...]:
        """The closest cards of an answer that is not in the library, each once."""
        found = {source.card_id or source.doc_cid: source for source in reversed(self.view.sources)}
        ordered = sorted(found.values(), key=lambda source: source.number)
        return tuple(ordered[:_NEAREST])

    def link(self, source: Source) -> str:
        """The whole card or document, at the quoted words."""
        return source_link(source)

    def passage(self, source: Source) -> list[tuple[str, bool]]:
        """The words around the quotes, as (words, quoted)."""
        return cut_passage(source.text, source.quotes)

    def origin(self, t: Texts, f: Formats, source: Source) -> str:
        """One line: card or page, authority, date."""
        parts = []
        if source.card_id:
            parts.append(t("source.card", id=source.card_id))
        elif source.page:
            parts.append(t("source.page", n=source.page))
        else:
            parts.append(t("source.document"))
        if source.authorities:
            names = ", ".join(source.authorities[:2])
            parts.append(t("source.follows_more" if len(source.authorities) > 2 else "source.follows", names=names))
        if source.date:
            parts.append(t("source.date", date=f.month(source.date)))
        return " · ".join(parts)

    def copy_text(self, t: Texts) -> str:
        """Question, answer and sources as plain text."""
        lines = [self.question, "", self.view.text, "", t("ask.sources")]
        lines += [f"{source.number}. {source.title}" for source in self.view.cited]
        return "\n".join(lines if self.view.cited else lines[:3])


def source_link(source: Source) -> str:
    """Address of the card or document behind a source; the quoted words are named, the page finds and marks them."""
    words = [source.text[start:end] for start, end in source.quotes[:4]] or [source.text]
    marks = [("at", " ".join(part.split())[:240]) for part in words]
    if source.card_id:
        query = urlencode([("lang", source.language or "de"), *marks])
        return f"/library/card/{quote(source.card_id)}?{query}#hit"
    place = [("page", str(source.page))] if source.page else []
    query = urlencode([*place, *marks])
    return f"/library/document/{quote(source.corpus)}/{quote(source.doc_cid, safe=':')}?{query}#hit"


def cut_passage(text: str, quotes: tuple[tuple[int, int], ...]) -> list[tuple[str, bool]]:
    """The lines around the quotes as (words, quoted); far lines are left out, marks of Markdown dropped."""
    spans = _whole_spans(text, quotes)
    parts: list[tuple[str, bool]] = []
    position = 0
    for start, end in spans:
        parts.append((_between(text[position:start], opening=position == 0), False))
        parts.append((plain(text[start:end]), True))
        position = end
    parts.append((_after(text[position:], _AROUND_CHARS if spans else 4 * _AROUND_CHARS), False))
    return [part for part in parts if part[0]]


def _whole_spans(text: str, quotes: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for start, end in sorted(quotes):
        if 0 <= start < end <= len(text) and (not spans or start >= spans[-1][1]):
            spans.append((start, end))
    return spans


def _between(text: str, *, opening: bool) -> str:
    """What stands before a quote: its own line, the line before, or only an ellipsis where much is left out."""
    before = _last(text, _AROUND_CHARS)
    if len(before) == len(text):
        return plain(text)
    joint = "\n" if "\n" in text else " "
    if opening:
        return f"…{joint}{plain(before)}"
    return f"{_after(text[: len(text) - len(before)], _AROUND_CHARS)}{joint}{plain(before)}"


def _last(text: str, limit: int) -> str:
    """The end of a text, from the beginning of a line or a word."""
    if len(text) <= limit:
        return text
    tail = text[-limit:]
    if "\n" in tail:
        return "\n".join(tail.split("\n")[1:][-2:])  # the line before, and what stands before the quote on its own
    return tail.partition(" ")[2]


def _after(text: str, limit: int) -> str:
    """The beginning of a text, to the end of a line or a word."""
    if len(text.rstrip()) <= limit:
        return plain(text.rstrip())
    head = text[:limit]
    cut = head.rfind("\n")
    head = head[:cut] if cut > 0 else head.rpartition(" ")[0]
    return plain(head).rstrip() + ("\n…" if cut > 0 else " …")


def plain(markdown: str) -> str:
    """The words of a piece of Markdown: headings left out, list marks dropped."""
    words = re.sub(r"(?m)^#{1,6} .*\n?", "", markdown)
    return re.sub(r"\n{2,}", "\n", re.sub(r"(?m)^(?:[-*]|\d+\.) +", "", words))
