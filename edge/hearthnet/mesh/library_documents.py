"""Documents and cards cut into what the library stores (M05; pure functions)."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

from hearthnet.mesh.library_index import UNIT_ALSO, UNIT_FINE, UNIT_SENTENCE, UNIT_WINDOW, NewChunk, NewDocument, Unit
from hearthnet.mesh.library_words import guess_language
from hearthnet.wire.chunk import Span, chunk_text, guess_tokens, split_sentences
from hearthnet.wire.cid import cid_of
from hearthnet.wire.heading import find_headings, paths_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hearthnet.mesh.cards import Card
    from hearthnet.ports import Page

WINDOW_CHARS: Final = 1800  # about what the embedder reads at once
FINE_CHARS: Final = 250  # a few sentences; by them the best chunks are compared again
TITLE_MAX_CHARS: Final = 200
_LANGUAGE_SAMPLE_CHARS: Final = 8000
_HEADING_LINE = re.compile(r"(?m)^#.*\n?")


def document_of_card(card: Card, content: bytes, asked: Sequence[str] = ()) -> NewDocument:
    """A handbook card as a document; `asked` are questions that it is known to answer."""
    head = card.head
    return NewDocument(
        doc_cid=cid_of(content),
        title=head.title,
        language=head.lang,
        media_type="text/markdown",
        size_bytes=len(content),
        metadata={
            "card_id": head.id,
            "group": head.group,
            "authorities": list(head.authorities),
            "date": head.date,
            "review": head.review,
            "also": list(head.also),
            "asked": cid_of("\n".join(asked).encode()) if asked else "",
        },
        tokens=guess_tokens(len(card.body)),
    )


def chunk_of_card(card: Card, asked: Sequence[str] = ()) -> NewChunk:
    """A card is one chunk; it is found by its sentences, its other names, known questions, and as a whole."""
    also = "; ".join(card.head.also)
    body = card.body
    units = [Unit(UNIT_ALSO, 0, 0, name) for name in (*card.head.also, *asked)]
    units += [Unit(UNIT_SENTENCE, span.start, span.end) for span in split_sentences(body)]
    units.append(Unit(UNIT_WINDOW, 0, len(body), f"{also}. {_HEADING_LINE.sub('', body)}"))
    return NewChunk(page=0, start=0, stop=len(body), text=body, units=tuple(units), also=also)


def chunks_of_pages(pages: Sequence[Page], title: str = "") -> Iterator[NewChunk]:
    """Chunks of a document, page by page; every place is in exactly one window and one fine unit.

    A unit knows the headings above it, beside `title` that all units share, and a fine unit does not go past one.
    """
    for page in pages:
        headings = find_headings(page.text)
        sections = [heading.start for heading in headings]
        paths = ["", *paths_of(headings, title)]
        covered = 0
        for span in chunk_text(page.text, sections=sections):
            text = page.text[span.start : span.end]
            fresh = max(0, covered - span.start)
            inside = sections[bisect_right(sections, span.start) : bisect_left(sections, span.end)]
            cuts = [place - span.start for place in inside]
            runs = [(UNIT_WINDOW, run) for run in _runs(text, fresh, WINDOW_CHARS, ())]
            runs += [(UNIT_FINE, run) for run in _runs(text, fresh, FINE_CHARS, cuts)]
            units = tuple(
                Unit(kind, run.start, run.end, heading=paths[bisect_right(sections, span.start + run.start)])
                for kind, run in runs
            )
            covered = span.end
            also = "; ".join(dict.fromkeys(unit.heading for unit in units if unit.heading))
            yield NewChunk(page.number, span.start, span.end, text, units, also)


def clean_title(title: str) -> str:
    """A title from outside as one line of printable text; it never becomes a path."""
    printable = "".join(sign if unicodedata.category(sign)[0] != "C" else " " for sign in title)
    return " ".join(printable.split())[:TITLE_MAX_CHARS]


def language_of_pages(pages: Sequence[Page]) -> str:
    """Language of a document by its first pages; empty when it does not tell."""
    sample = ""
    for page in pages:
        sample += page.text + "\n"
        if len(sample) >= _LANGUAGE_SAMPLE_CHARS:
            break
    return guess_language(sample[:_LANGUAGE_SAMPLE_CHARS])


def _runs(text: str, start: int, most_chars: int, cuts: Sequence[int]) -> Iterator[Span]:
    """Runs of whole sentences from `start` on, each at most so long unless one sentence is longer; none past a cut."""
    first = last = -1
    for span in split_sentences(text, Span(start, len(text))):
        if first >= 0 and (span.end - first > most_chars or bisect_right(cuts, first) < bisect_right(cuts, span.start)):
            yield Span(first, last)
            first = -1
        if first < 0:
            first = span.start
        last = span.end
    if first >= 0:
        yield Span(first, last)
