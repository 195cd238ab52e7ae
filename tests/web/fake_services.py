"""Deterministic services behind the real bus: an assistant that quotes the real handbook."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

from hearthnet.adapters.model_shelf import ShelfModel
from hearthnet.adapters.models_dir import Progress as ModelProgress
from hearthnet.base.errors import CapacityExceeded, HashMismatch, NotFound, Unavailable
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.answers import ChatInput, ChatParams, Done, Failed, Frame, Progress, Source, Sources, Token
from hearthnet.mesh.capability import Call, capability
from hearthnet.mesh.cards import Card, shipped_library
from hearthnet.mesh.handbook import read_cards
from hearthnet.ports import EngineStatus, ModelInfo, Vectors

CARDS = {(card.head.id, card.head.lang): card for card in read_cards(shipped_library())}
GERMAN = re.compile(r"\b(der|die|das|ein|was|wie|ist|darf|im|bei|ich)\b", re.IGNORECASE)


def source_of(number: int, card: Card, sentences: tuple[str, ...]) -> Source:
    spans = []
    for sentence in sentences:
        start = card.body.index(sentence)
        spans.append((start, start + len(sentence)))
    head = card.head
    return Source(
        number=number, title=head.title, text=card.body, corpus="system", doc_cid="blake3:" + "0" * 64,
        chunk_id=f"{head.id}-{head.lang}", language=head.lang, card_id=head.id, authorities=head.authorities,
        date=head.date, quotes=tuple(spans), score=0.9 - number / 10,
    )  # fmt: skip


def pick(card_id, language, pattern):
    """The first sentence of a card that fits; cards are reworded now and then."""
    return card_id, re.search(pattern, CARDS[card_id, language].body, re.MULTILINE)[1]


QUOTES = {
    language: (
        pick("T12", language, r"^- (.+)$"),  # the first thing not to do
        pick("T12", language, r"^1\. (.+)$"),  # the first thing to do
        pick("T10", language, r"^## (?:Warum|Why)\n([^.]+\.)"),
    )
    for language in ("de", "en")
}
HELP = {language: pick("T12", language, r"^## (?:Zuerst Hilfe|Help first)\n(.+)$")[1] for language in ("de", "en")}
NEVER, DO, WHY = (sentence for _, sentence in QUOTES["de"])


class Assistant:
    """`llm.chat` whose words follow from the question: Mars = not in the library, break, queue, slow, busy, free."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()  # a slow answer goes on when it is set
        self.asked: list[ChatInput] = []
        self.cancelled = 0

    @capability("llm.chat@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=8)
    async def chat(self, call: Call, params: ChatParams, request: ChatInput) -> AsyncIterator[Frame]:
        """Frames of an answer."""
        self.asked.append(request)
        question = request.messages[-1].content.lower()
        language = "de" if GERMAN.search(question) else "en"
        if "busy" in question:
            raise CapacityExceeded("all places are taken", retry_after_ms=4000)
        if "engine" in question:
            raise Unavailable("no model", fix="hearthnet models add")
        if "queue" in question:
            yield Progress("queue", current=3, total=5, eta_ms=9000)
            await self.gate.wait()
        yield Progress("retrieve")
        sources = self._sources(language)
        yield Sources(sources)
        if "mars" in question:
            yield Token("Not here.")
            if "hurt" in question:
                yield Token(HELP[language], cites=(1,), quoted=True)
                yield Sources(sources)
            yield Done("end", "not_in_library", "", ms=310)
            return
        yield Progress("generate")
        try:
            async for frame in self._words(question, language):
                yield frame
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def _words(self, question: str, language: str) -> AsyncIterator[Frame]:
        if "free" in question:
            for word in [
                "A",
                "generator",
                "must",
                "stay",
                "outdoors.\n\nIts",
                "exhaust",
                "kills,",
                "even",
                "with",
                "the",
                "**door**",
                "open",
                "<b>.",
            ]:
                yield Token(word + " ", cites=(1,) if word.endswith("\n\nIts") else ())
            yield Token("", cites=(2,))
            yield Done("end", "large_model", "Qwen2.5-7B", tokens_in=400, tokens_out=20, ms=2400)
            return
        for number, (card_id, sentence) in enumerate(QUOTES[language]):
            if "grave" in question and number == 0:
                yield Token(HELP[language], cites=(1,), quoted=True)
            yield Token(sentence, cites=(1 if card_id == "T12" else 2,), quoted=True)
            if number == 0 and "break" in question:
                yield Failed("partition", "the engine ended")
                return
            if number == 0 and "slow" in question:
                await self.gate.wait()
        yield Done("end", "quoted", "SmolLM2-135M-Instruct", tokens_in=420, tokens_out=61, ms=412, confidence=0.94)

    @staticmethod
    def _sources(language: str) -> tuple[Source, ...]:
        quotes = QUOTES[language]
        return (
            source_of(1, CARDS["T12", language], tuple(text for card, text in quotes if card == "T12")),
            source_of(2, CARDS["T10", language], tuple(text for card, text in quotes if card == "T10")),
            source_of(3, CARDS["T13", language], ()),
        )


class NoEngines:
    """No model at all: searches go by words."""

    def models(self) -> list[ModelInfo]:
        """None."""
        return []

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Refused."""
        raise Unavailable("no embedder", fix="hearthnet models add")

    def status(self) -> list[EngineStatus]:
        """One engine that is missing."""
        return [EngineStatus("e5", "absent", "no model", "hearthnet models add")]


class FakeShelf:
    """Two models here, one known; adding takes the steps it is told to."""

    def __init__(self) -> None:
        self.here = [
            ShelfModel(
                "smollm2-135m-instruct", "SmolLM2 135M Instruct", "text", 144_000_000, "Apache-2.0", chosen=True
            ),
            ShelfModel("wake-word", "Wake word", "tensor", 52_000, "Apache-2.0"),
        ]
        self.absent = [ShelfModel("qwen", "Qwen 2.5 0.5B", "text", 491_000_000, "Apache-2.0")]
        self.gate = asyncio.Event()
        self.history: list[tuple[str, str]] = []

    def installed(self) -> list[ShelfModel]:
        """Models here."""
        return list(self.here)

    def known(self) -> list[ShelfModel]:
        """Models that could be fetched."""
        return list(self.absent)

    def use(self, name: str) -> None:
        """Remembered; refused when unknown."""
        if name not in [model.name for model in self.here]:
            raise NotFound(f"no model {name}")
        self.history.append(("use", name))

    def remove(self, name: str) -> int:
        """Gone."""
        self.history.append(("remove", name))
        self.here = [model for model in self.here if model.name != name]
        return 1

    async def add(self, source: str, *, name: str = "", sha256: str = "") -> AsyncIterator[ModelProgress]:
        """Downloads until the gate opens; an address with `broken` is damaged."""
        self.history.append(("add", source))
        yield ModelProgress("downloading", source, 92_000_000, 230_000_000)
        await self.gate.wait()
        if "broken" in source:
            raise HashMismatch("the file has another hash")
        yield ModelProgress("done", source, 230_000_000, 230_000_000)
