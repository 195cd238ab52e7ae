"""Cutting text: chunks that are stored, windows that are embedded, sentences that are quoted (M05).

All functions return spans, so that what is cut can be found again: `text[start:end]`. Sentences follow German and
English rules; headings and list markers belong to no sentence.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from hearthnet.base.constants import RAG_CHUNK_OVERLAP_TOKENS, RAG_CHUNK_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHARS_PER_TOKEN: Final = 3.5
SENTENCE_MAX_CHARS: Final = 600  # what is longer is a table or a list without full stops

_BLANK = re.compile(r"\n[ \t]*\n+")
_HEADING = r"#{1,6}[ \t]|\+\+\+|---+[ \t]*$|===+[ \t]*$"
_MARKER = r"(?:[-*+•–]|\d{1,3}[.)]|>)[ \t]+"
_BREAK = re.compile(rf"^[ \t]*(?:(?P<heading>{_HEADING})|(?P<marker>{_MARKER})|[^\S\n]*$)", re.MULTILINE)
_STOP = re.compile(r"[.!?…]+[\"”“»«'’)\]]*(?=\s+[\"„“”»«'‘(\[]?[A-ZÄÖÜ0-9])")
_LAST_WORD = re.compile(r"(?:^|[\s(\[„“\"])([^\s(\[„“\"]*)$")
_ORDINAL = re.compile(
    r"(?:^|\s)(?:am|der|dem|den|des|die|das|im|vom|zum|zur|bis|und|ab|seit|jede[nrms]?)\s+\d{1,2}$", re.IGNORECASE
)
_MONTH = re.compile(r"\s+(?:Jan|Feb|Mär|Mar|Apr|Mai|May|Jun|Jul|Aug|Sep|Okt|Oct|Nov|Dez|Dec)[a-zä]*\b")
_UNIT = re.compile(r"\d\s*[^\W\d_]$")
_NUMBER = re.compile(r"\s+\d")
_ABBREVIATION_CHARS: Final = 6  # of the longest one below
_ABBREVIATIONS: Final = frozenset(
    """z.b b d.h h u.a a u.ä o.ä i.d.r z.t v.a e.g i.e ca bzw ggf evtl inkl exkl zzgl mind vgl dr prof st str tel mr mrs
    ms vs approx hrsg sog bspw allg jan feb apr aug sept sep okt oct nov dez dec jr sr inc ltd""".split()  # noqa: SIM905
)
_BEFORE_NUMBER: Final = frozenset(("no", "nr", "min", "max", "abb", "art", "abs", "fig", "sec", "ch", "vol"))


class Span(NamedTuple):
    """A piece of a text, `text[start:end]`."""

    start: int
    end: int


def guess_tokens(chars: int) -> int:
    """Tokens that so many characters make, about."""
    return round(chars / CHARS_PER_TOKEN)


def split_sentences(text: str, within: Span | None = None) -> list[Span]:
    """The sentences of a text, in order, without headings, list markers and surrounding space."""
    found: list[Span] = []
    for start, end in _blocks(text, within):
        _cut_block(text, start, end, found)
    return found


def chunk_text(
    text: str,
    tokens: int = RAG_CHUNK_TOKENS,
    overlap_tokens: int = RAG_CHUNK_OVERLAP_TOKENS,
    sections: Sequence[int] = (),
) -> list[Span]:
    """Overlapping chunks that end where a section begins (`sections`, ascending) if one does in their second half.

    Else they end at a paragraph there, else at a sentence, else at a word. Every character that is not space is in at
    least one chunk; no chunk is longer than `tokens`. Nothing of the section before is repeated at its beginning.
    """
    size, overlap = int(tokens * CHARS_PER_TOKEN), int(overlap_tokens * CHARS_PER_TOKEN)
    paragraphs = [found.end() for found in _BLANK.finditer(text)]
    starts = [span.start for span in split_sentences(text)]
    chunks = []
    start = _skip_space(text, 0, len(text))
    while start < len(text):
        end = _chunk_end(text, start, size, (sections, paragraphs, starts))
        chunks.append(Span(start, _trimmed(text, end)))
        if end >= len(text):
            break
        begins = bisect_left(sections, end)
        whole = begins < len(sections) and sections[begins] == end
        start = end if whole else _next_start(text, start, end, overlap, starts)
        start = _skip_space(text, start, len(text))
    return chunks


def _chunk_end(text: str, start: int, size: int, places: tuple[Sequence[int], ...]) -> int:
    limit = start + size
    if limit >= len(text):
        return len(text)
    for cuts in places:
        place = bisect_right(cuts, limit) - 1
        if place >= 0 and cuts[place] > start + size // 2:
            return cuts[place]
    return _word_cut(text, start, limit)


def _next_start(text: str, start: int, end: int, overlap: int, starts: list[int]) -> int:
    wanted = max(start + 1, end - overlap)
    place = bisect_left(starts, wanted)
    if place < len(starts) and starts[place] < end:
        return starts[place]
    if overlap == 0:
        return end
    space = text.find(" ", wanted, end)
    return space + 1 if space >= 0 else end


def _word_cut(text: str, start: int, limit: int) -> int:
    for place in range(limit, start + (limit - start) // 2, -1):
        if text[place].isspace():
            return place
    return limit


def _skip_space(text: str, place: int, end: int) -> int:
    while place < end and text[place].isspace():
        place += 1
    return place


def _trimmed(text: str, end: int) -> int:
    """The end less the space before it; something else must stand there."""
    while text[end - 1].isspace():
        end -= 1
    return end


def _blocks(text: str, within: Span | None) -> Iterator[tuple[int, int]]:
    """Paragraphs and list items; a heading ends one and is none."""
    start, last = within or (0, len(text))
    for found in _BREAK.finditer(text, start, last):
        yield start, found.start()
        start = found.start()
        if found["marker"]:
            start = found.end()
        elif found["heading"]:
            line_end = text.find("\n", found.end(), last)
            start = last if line_end < 0 else line_end
    yield start, last


def _cut_block(text: str, start: int, end: int, sentences: list[Span]) -> None:
    floor = start
    for found in _STOP.finditer(text, start, end):
        if found[0].startswith(".") and not found[0].startswith("..") and _goes_on(text, floor, found):
            continue
        _add_bounded(text, start, found.end(), sentences)
        start = found.end()
    _add_bounded(text, start, end, sentences)


def _goes_on(text: str, floor: int, stop: re.Match[str]) -> bool:
    """Whether this full stop belongs to an abbreviation, an initial or an ordinal number."""
    place = stop.start()
    found = _LAST_WORD.search(text[max(floor, place - _ABBREVIATION_CHARS - 1) : place])
    word = found[1].lower() if found else ""
    if len(word) > _ABBREVIATION_CHARS:
        return False
    before = text[max(floor, place - 40) : place]
    if len(word) == 1 and word.isalpha():
        return not _UNIT.search(before)  # an initial, not "5 l."
    if word in _ABBREVIATIONS:
        return True
    if word in _BEFORE_NUMBER:
        return bool(_NUMBER.match(text, stop.end()))
    if word.isdigit() and len(word) <= 2:
        return bool(_MONTH.match(text, stop.end()) or _ORDINAL.search(before))
    return False


def _add_bounded(text: str, start: int, end: int, sentences: list[Span]) -> None:
    start = _skip_space(text, start, end)
    while start < end:
        stop = end if end - start <= SENTENCE_MAX_CHARS else _soft_cut(text, start, start + SENTENCE_MAX_CHARS)
        if text[start].isalnum() or any(sign.isalnum() for sign in text[start:stop]):
            sentences.append(Span(start, _trimmed(text, stop)))
        start = _skip_space(text, stop, end)


def _soft_cut(text: str, start: int, limit: int) -> int:
    for sign in ("\n", "; ", " "):
        place = text.rfind(sign, start + SENTENCE_MAX_CHARS // 3, limit)
        if place > 0:
            return place + len(sign)
    return limit
