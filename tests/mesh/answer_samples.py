"""The assistant over the real bus, in virtual time, with a library and engines that do what a test tells them."""

from __future__ import annotations

import itertools
from pathlib import Path

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.engines.fake import FakeEngines
from hearthnet.base.config import BusSection, Config, LlmSection, RagSection
from hearthnet.base.errors import NotFound
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import NodeID, TrustLevel
from hearthnet.capabilities.llm import LanguageModels
from hearthnet.capabilities.rag import CorporaOutput, CorpusParams, Nothing
from hearthnet.mesh.answers import ChatInput, ChatParams, Message, Sources, Token
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Call, Caller, NoParams, capability
from hearthnet.mesh.library_catalogue import CorpusSummary, DocumentInput, DocumentSummary, DocumentText, Part
from hearthnet.mesh.passages import Passage, PassageMetadata, QueryInput, QueryMeta, QueryOutput, Sentence
from hearthnet.mesh.services import Services
from hearthnet.mesh.supervisor import Supervisor
from hearthnet.ports import ModelInfo
from hearthnet.wire.chunk import split_sentences

HERE = NodeID("ed25519:" + "A" * 43)
SMALL = ModelInfo("tiny", "local", "small_model", 2048, loaded=True)
LARGE = ModelInfo("big", "home", "large_model", 8192, loaded=True)

CO_CARD = """## Help first
Call 112 from outside and say carbon monoxide.

## Do now
1. Run a petrol generator only outdoors, 6 m from windows.
2. Open the windows of the room.

## Do not
- Never run a petrol generator in a cellar or garage.
- Do not trust an open window.

## Why
Carbon monoxide has no smell.
"""
CO_CARD_DE = """## Zuerst Hilfe
Rufe von draußen 112 und sage Kohlenmonoxid.

## Jetzt tun
1. Betreibe ein Notstromaggregat nur draußen.

## Nicht tun
- Betreibe nie ein Notstromaggregat im Keller.
"""
PLAIN_CARD = """## Do now
1. Listen to the radio on the hour.
2. Crank the radio for one minute.

## Why
A radio needs no Internet.
"""


def make_passage(text, *, card="T10", language="en", score=0.9, corpus="system", title="Carbon monoxide"):
    spans = tuple(Sentence(span.start, span.end) for span in split_sentences(text))
    known = PassageMetadata(
        doc_cid="blake3:" + "1" * 64, doc_title=title, page=0, chunk_id=f"{card or title}#0", chunk_index=0,
        corpus=corpus, start=0, end=len(text), language=language, card_id=card, authorities=("WHO",), date="2026-11",
    )  # fmt: skip
    return Passage(1, score, text, known, spans)


class FakeLibrary:
    """Finds what a test put in, with the confidence that it set; remembers what was asked."""

    def __init__(self) -> None:
        self.corpora = {"system": [make_passage(CO_CARD)]}
        self.confidence = {"system": 0.99}
        self.language = "en"
        self.cards = {}
        self.asked = []

    @capability("rag.list_corpora@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=4)
    async def list_corpora(self, call: Call, params: NoParams, request: Nothing) -> CorporaOutput:
        """Names of what there is."""
        return CorporaOutput(tuple(CorpusSummary(name, len(found), 1, 1, "en") for name, found in self.corpora.items()))

    @capability("rag.query@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=4)
    async def query(self, call: Call, params: CorpusParams, request: QueryInput) -> QueryOutput:
        """Everything in the corpus."""
        self.asked.append((params.corpus, request.query))
        meta = QueryMeta("fake", self.confidence.get(params.corpus, 0.0), self.language, "both")
        return QueryOutput(tuple(self.corpora[params.corpus]), meta)

    @capability("rag.read@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=4)
    async def read(self, call: Call, params: CorpusParams, request: DocumentInput) -> DocumentText:
        """A card by its number."""
        text = self.cards.get((request.card_id, request.language))
        if text is None:
            raise NotFound("no such card")
        head = DocumentSummary(
            "blake3:" + "2" * 64, "Card", request.language, "text/markdown", 1, "ready", "", 0.0, 1, 1, 1, 1,
            card_id=request.card_id,
        )  # fmt: skip
        return DocumentText(head, (Part(0, 0, 0, len(text), text),))


class Desk:
    """One node's assistant; `ask` gives all frames."""

    def __init__(self, folder: Path, *models: ModelInfo, engines=None, **llm: object) -> None:
        self.clock = FakeClock()
        self.engines = engines or FakeEngines(*(models or (SMALL,)))
        self.engines.missing.add("embed")  # by words alone: what ranks first is plain to see
        self.library = FakeLibrary()
        self.bus = CapabilityBus(HERE, self.clock, BusSection(), TraceRing(), Metrics())
        self.supervisor = Supervisor()
        config = Config(llm=LlmSection(**llm), rag=RagSection(library_dir=str(folder)))
        services = Services(
            config=config, paths=None, clock=self.clock, store=None, blobs=None, engines=self.engines, bus=self.bus,
            spawn=self.supervisor.spawn, phrase=lambda language, key: f"<{language} {key}>", reader=None, vectors=None,
        )  # fmt: skip
        self.models = LanguageModels(services)
        self.bus.register(self.library)
        self.bus.register(self.models)

    def stream(self, *turns, model="hearthnet", subject="anna", trust=TrustLevel.SELF, language="", ctx=0, **fields):
        roles = itertools.cycle(("user", "assistant"))
        messages = tuple(
            turn if isinstance(turn, Message) else Message(role, turn) for role, turn in zip(roles, turns, strict=False)
        )
        return self.bus.stream(
            "llm.chat@1.0", ChatParams(model=model, language=language, ctx=ctx), ChatInput(messages=messages, **fields),
            caller=Caller(None, trust, subject),
        )  # fmt: skip

    async def ask(self, *turns, **fields):
        return [frame async for frame in self.stream(*turns, **fields)]


def words(frames):
    """The texts of an answer."""
    return [frame.text for frame in frames if isinstance(frame, Token)]


def quotes(frames):
    """The texts that the answer marks as quoted."""
    return [frame.text for frame in frames if isinstance(frame, Token) and frame.quoted]


def sources(frames):
    """The sources as they were told last."""
    return [frame for frame in frames if isinstance(frame, Sources)][-1].sources
