"""What may be quoted of documents: sentences, and in lists the lines (M05; pure functions)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hearthnet.mesh.evidence import Statement
from hearthnet.wire.chunk import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hearthnet.mesh.evidence import Spanned
    from hearthnet.mesh.passages import Passage

LINE_LEAST: Final = 50  # characters; what is wrapped narrower is a list
HEADING_WORDS: Final = 4
_WORD: Final = re.compile(r"\s*(\S+)")


def lines_of(passages: Sequence[Passage]) -> list[Statement]:
    """What may be quoted of documents: sentences, and in lists the lines; headings say nothing alone."""
    found = []
    for source, passage in enumerate(passages):
        for sentence in passage.sentences:
            found += [
                Statement(source, cut.start, cut.end, passage.text[cut.start : cut.end], "", near=sentence.score)
                for cut in cut_lines(passage.text, [sentence])
            ]
    return found


def cut_lines(text: str, spans: Iterable[Spanned]) -> Iterator[Span]:
    """Cut where a line ends although the next word would have fitted: there the writer meant it to end."""
    width = max((len(line) for line in text.split("\n")), default=0)
    width = max(width, LINE_LEAST)
    for span in spans:
        cuts = [place for place in _line_ends(text, span) if _had_room(text, place, span.end, width)]
        for start, end in zip((span.start, *cuts), (*cuts, span.end), strict=True):
            piece = text[start:end]
            inner = Span(start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip()))
            if inner.end > inner.start and not (cuts and end in cuts and _is_heading(text[inner.start : inner.end])):
                yield inner


def _line_ends(text: str, span: Spanned) -> list[int]:
    return [place for place in range(span.start, span.end) if text[place] == "\n"]


def _had_room(text: str, place: int, end: int, width: int) -> bool:
    word = _WORD.match(text, place + 1, end)
    start = text.rfind("\n", 0, place) + 1
    return word is not None and place - start + 1 + len(word[1]) <= width


def _is_heading(line: str) -> bool:
    return len(line.split()) <= HEADING_WORDS and not any(sign in ":.!?,;0123456789" for sign in line)
