"""What an answer has said so far: numbered sources, the words quoted from each, and the model's part in it (M04)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hearthnet.base.errors import EngineDied, NotFound, Unavailable
from hearthnet.base.types import Tier
from hearthnet.mesh.answers import Done, Source, Sources, Token
from hearthnet.mesh.generation import choose_sentence
from hearthnet.ports import GenerateRequest
from hearthnet.wire.chunk import guess_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.mesh.evidence import Statement
    from hearthnet.ports import Clock, Engines

StopReason = Literal["end", "max_tokens", "stop_sequence", "cancelled"]
STOPS: Final[dict[str, StopReason]] = {"max_tokens": "max_tokens", "stop_sequence": "stop_sequence"}  # of engines
TIE: Final = 0.006  # sentences so close in rank are left to the model
CHOICES_MAX: Final = 5
CHOICE_TIME_S: Final = 3.0  # for all choices of one answer; then the rank decides
_CHOICE_TOKENS: Final = 128
_ROLE: Final = "You answer by copying sentences of a handbook."
_ORDER: Final = "Question: {question}\n\nHandbook:\n{sentences}\n\nCopy the sentence that answers best."


class Recital:
    """The words of one answer with their sources."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._quotes: dict[int, list[tuple[int, int]]] = {}
        self.said: list[str] = []
        self.tier = Tier.QUOTED
        self.model = ""  # that had a part in it
        self.tokens_in = 0
        self.stop_reason: StopReason = "end"

    def sources(self) -> Sources:
        """The sources, with the quotes made so far."""
        marked = [
            msgspec.structs.replace(source, quotes=tuple(sorted(self._quotes.get(place, ()))))
            for place, source in enumerate(self._sources)
        ]
        return Sources(tuple(marked))

    def add_source(self, source: Source) -> int:
        """One more source; its place."""
        self._sources.append(msgspec.structs.replace(source, number=len(self._sources) + 1))
        return len(self._sources) - 1

    def quote(self, item: Statement) -> Token:
        """Say a sentence of a source word for word."""
        self._quotes.setdefault(item.source, []).append((item.start, item.end))
        self.said.append(item.text)
        return Token(item.text, (self._sources[item.source].number,), quoted=True)

    def note(self, token: Token) -> Token:
        """Keep words that were said by another hand; a quote among them is marked in its source."""
        self.said.append(token.text)
        if token.quoted:
            for place, source in enumerate(self._sources):
                start = source.text.find(token.text)
                if source.number in token.cites and start >= 0:
                    self._quotes.setdefault(place, []).append((start, start + len(token.text)))
        return token

    def has_room(self, words: str, max_tokens: int, stop: Sequence[str]) -> bool:
        """Whether these words may follow; if not, the reason is kept."""
        if any(mark in words for mark in stop):
            self.stop_reason = "stop_sequence"
        elif guess_tokens(sum(map(len, self.said)) + len(words)) > max_tokens:
            self.stop_reason = "max_tokens"
        return self.stop_reason == "end"

    def done(self, ms: int, confidence: float) -> Done:
        """The last frame."""
        tokens_out = guess_tokens(sum(map(len, self.said)))
        return Done(self.stop_reason, self.tier.value, self.model, self.tokens_in, tokens_out, ms, confidence)


class Chooser:
    """Lets a model choose among sentences that rank alike, within a time; without one the rank decides."""

    def __init__(self, engines: Engines, clock: Clock, model: str, seed: int | None) -> None:
        self._engines = engines
        self._clock = clock
        self._seed = seed
        self._until = clock.monotonic() + CHOICE_TIME_S
        self.model = model  # empties when the model is of no use
        self.used = False

    def tied(self, ranked: Sequence[Statement]) -> list[Statement]:
        """The sentences that the model would be asked about next; none when the rank decides."""
        best = [item for item in ranked if item.score >= ranked[0].score - TIE][:CHOICES_MAX]
        return best if self.model and len(best) > 1 else []

    async def choose(self, question: str, ranked: Sequence[Statement]) -> Statement:
        """One of the best; `ranked` is not empty."""
        tied = self.tied(ranked)
        left = self._until - self._clock.monotonic()
        if not tied or left <= 0:
            return ranked[0]
        options = [item.text for item in tied]
        listed = "\n".join(f"- {option}" for option in options)
        request = GenerateRequest(
            messages=(("system", _ROLE), ("user", _ORDER.format(question=question, sentences=listed))),
            max_tokens=_CHOICE_TOKENS, temperature=0.0, seed=self._seed,
        )  # fmt: skip
        choice = asyncio.create_task(choose_sentence(self._engines, self.model, request, options))
        alarm = asyncio.create_task(self._clock.sleep(left))
        try:
            await asyncio.wait({choice, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if choice.done():
                self.used = True
                return tied[choice.result()]
        except (EngineDied, Unavailable, NotFound):
            self.model = ""
        finally:
            choice.cancel()
            alarm.cancel()
            await asyncio.wait({choice, alarm})
        return ranked[0]
