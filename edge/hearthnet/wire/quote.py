"""Word-for-word quoting: sentences of passages, a grammar that allows nothing else, and the proof (M04).

An answer is "quoted" only when every sentence of it stands in a passage, found again here by its characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from hearthnet.wire.chunk import split_sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CITATION: Final = re.compile(r"\s?\[(\d{1,3}(?:\s?,\s?\d{1,3})*)\]")


class Quote(NamedTuple):
    """Where words stand: `passages[passage][start:end]`."""

    passage: int
    start: int
    end: int


def quotes_of(passages: Sequence[str]) -> list[Quote]:
    """Every sentence that may be quoted, in order."""
    return [Quote(number, *span) for number, text in enumerate(passages) for span in split_sentences(text)]


def choice_grammar(sentences: Sequence[str]) -> str:
    """A GBNF grammar whose outputs are exactly these sentences."""
    return "root ::= " + " | ".join(_literal(sentence) for sentence in dict.fromkeys(sentences))


def settled_choice(written: str, sentences: Sequence[str]) -> int | None:
    """Which sentence a beginning can only become, so that nobody waits for the rest; None while several can."""
    open_still = [number for number, sentence in enumerate(sentences) if sentence.startswith(written)]
    return open_still[0] if len({sentences[number] for number in open_still}) == 1 else None


def find_quote(words: str, passages: Sequence[str]) -> Quote | None:
    """Where these words stand as whole sentences; None when they do not."""
    for number, text in enumerate(passages):
        place = text.find(words) if words else -1
        while place >= 0:
            spans = [span for span in split_sentences(text) if span.start < place + len(words) and span.end > place]
            if spans and spans[0].start == place and spans[-1].end == place + len(words):
                return Quote(number, place, place + len(words))
            place = text.find(words, place + 1)
    return None


def is_verbatim(answer: str, passages: Sequence[str]) -> bool:
    """Whether an answer is made of nothing but sentences of the passages."""
    spans = split_sentences(answer)
    return bool(spans) and all(find_quote(answer[span.start : span.end], passages) for span in spans)


def split_citations(sentence: str) -> tuple[str, tuple[int, ...]]:
    """A sentence without its `[n]` marks, and the numbers they name, each once."""
    numbers = [int(number) for found in _CITATION.findall(sentence) for number in found.split(",")]
    return _CITATION.sub("", sentence).strip(), tuple(dict.fromkeys(numbers))


def _literal(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(sign) or _safe(sign) for sign in text) + '"'


def _safe(sign: str) -> str:
    return sign if sign.isprintable() or ord(sign) > 0xFFFF else f"\\u{ord(sign):04X}"
