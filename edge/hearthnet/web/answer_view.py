"""An answer as people read it, folded from the frames of `mesh/answers.py` (M08).

Sentences that stand word for word in a passage become quotes, grouped by their source; free wording becomes
paragraphs. The fold is the same for a streamed, a finished and a stored answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, structs

from hearthnet.mesh.answers import Done, Failed, Progress, Source, Sources, Token
from hearthnet.web.handbook import kind_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearthnet.mesh.answers import Frame

State = Literal["waiting", "writing", "done", "stopped", "missing", "failed"]
_SENTENCE_ENDS = (".", "!", "?", "…", ":", "”", "“", '"', ")")


class Piece(Struct):
    """Words with the sources that carry them."""

    text: str
    cites: tuple[int, ...]


class Block(Struct):
    """A quote (one piece a sentence) or a paragraph of free wording (pieces in one flow)."""

    quoted: bool
    pieces: list[Piece]
    urgent: bool = False  # a card says this under the heading of first help


class AnswerView:
    """Feed frames, read the rest."""

    def __init__(self, frames: Iterable[Frame] = ()) -> None:
        self.blocks: list[Block] = []
        self.sources: tuple[Source, ...] = ()
        self.progress: Progress | None = None
        self.done: Done | None = None
        self.failed: Failed | None = None
        self._paragraph_ended = False
        for frame in frames:
            self.feed(frame)

    def feed(self, frame: Frame) -> None:
        """Take the next frame."""
        match frame:
            case Progress():
                self.progress = frame
            case Sources():
                self.sources = frame.sources
            case Token():
                self._add(frame)
            case Done():
                self.done = frame
                if frame.tier == "not_in_library":  # the page says so in its own place
                    self.blocks = [block for block in self.blocks if block.quoted]
            case Failed():
                self.failed = frame

    def _add(self, token: Token) -> None:
        if token.quoted:
            self._add_quote(token)
            return
        parts = token.text.split("\n\n")
        for index, part in enumerate(parts):
            last = self.blocks[-1] if self.blocks else None
            if part.strip() and (index or self._paragraph_ended or last is None or last.quoted):
                self.blocks.append(Block(quoted=False, pieces=[Piece(part, token.cites)]))
            elif part and last is not None and not last.quoted:
                _join(last, part, token.cites)
            self._paragraph_ended = index < len(parts) - 1 or (self._paragraph_ended and not part.strip())

    def _add_quote(self, token: Token) -> None:
        last = self.blocks[-1] if self.blocks else None
        urgent = self._mark(token)
        if last is None or not last.quoted or (last.pieces[-1].cites, last.urgent) != (token.cites, urgent):
            self.blocks.append(Block(quoted=True, pieces=[Piece(token.text, token.cites)], urgent=urgent))
        elif last.pieces[-1].text.rstrip().endswith(_SENTENCE_ENDS):
            last.pieces.append(Piece(token.text, token.cites))
        else:
            last.pieces[-1].text += token.text

    def _mark(self, token: Token) -> bool:
        """Note where the words stand in their source; True when that is under the heading of first help."""
        words = token.text.strip()
        places = {
            source.number: start
            for source in self.sources
            if source.number in token.cites and (start := source.text.find(words)) >= 0
        }
        self.sources = tuple(
            _with_quote(source, places[source.number], len(words)) if source.number in places else source
            for source in self.sources
        )
        return any(kind_at(source.text, places.get(source.number, -1)) == "help" for source in self.sources)

    @property
    def state(self) -> State:
        """What to show."""
        if self.failed is not None:
            return "failed"
        if self.done is None:
            return "writing" if self.blocks else "waiting"
        if self.done.stop_reason == "cancelled":
            return "stopped"
        return "missing" if self.done.tier == "not_in_library" else "done"

    @property
    def running(self) -> bool:
        """Whether more frames follow."""
        return self.done is None and self.failed is None

    @property
    def sentences(self) -> int:
        """How many sentences are quoted so far."""
        return sum(len(block.pieces) for block in self.blocks if block.quoted)

    @property
    def cited(self) -> tuple[Source, ...]:
        """The sources that the answer cites, in their order."""
        numbers = {number for block in self.blocks for piece in block.pieces for number in piece.cites}
        return tuple(source for source in self.sources if source.number in numbers)

    @property
    def text(self) -> str:
        """The words alone, for copying."""
        parts = []
        for block in self.blocks:
            joiner = "\n" if block.quoted else ""
            parts.append(joiner.join(piece.text.strip() if block.quoted else piece.text for piece in block.pieces))
        return "\n\n".join(part.strip() for part in parts if part.strip())


def _join(block: Block, words: str, cites: tuple[int, ...]) -> None:
    if block.pieces[-1].cites == cites:
        block.pieces[-1].text += words
    else:
        block.pieces.append(Piece(words, cites))


def _with_quote(source: Source, start: int, length: int) -> Source:
    return structs.replace(source, quotes=tuple(sorted({*source.quotes, (start, start + length)})))
