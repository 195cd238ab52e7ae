"""The assistant over the real bus, the real library and the handbook that ships; engines as a test wants them."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

from hearthnet.adapters.blobs_fake import FakeBlobs
from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.readers.fake import FakeReader
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.vectors_numpy import NumpyVectors
from hearthnet.base.config import BusSection, Config
from hearthnet.base.metrics import Metrics
from hearthnet.base.paths import resolve_paths
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import NodeID, TrustLevel
from hearthnet.capabilities.llm import LanguageModels
from hearthnet.capabilities.rag import Library
from hearthnet.mesh import library_schema
from hearthnet.mesh.answers import ChatInput, ChatParams, Done, Failed, Message, Sources, Token
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Caller
from hearthnet.mesh.services import Services
from hearthnet.mesh.supervisor import Supervisor
from hearthnet.web.i18n import load_texts
from hearthnet.wire.quote import find_quote

HERE = Path(__file__).parent
NODE = NodeID("ed25519:" + "A" * 43)
_people = itertools.count(1)


def read_unsafe_premises() -> list[dict[str, Any]]:
    return tomllib.loads((HERE / "unsafe_premises.toml").read_text(encoding="utf-8"))["question"]


def read_questions() -> list[tuple[str, int, str, frozenset[str]]]:
    """(language, number, question, cards that answer it); no card = the library holds no answer."""
    found = tomllib.loads((HERE / "questions.toml").read_text(encoding="utf-8"))
    items = []
    for language in ("en", "de"):
        for number, (cards, text) in enumerate(found[f"answerable_{language}"], 1):
            items.append((language, number, text, frozenset(cards.split())))
        items += [
            (language, number, text, frozenset()) for number, text in enumerate(found[f"unanswerable_{language}"], 1)
        ]
    return items


class Answer:
    """Frames of one answer, read."""

    def __init__(self, frames: list[Any]) -> None:
        self.frames = frames
        self.tokens = [frame for frame in frames if isinstance(frame, Token)]
        self.sources = [frame for frame in frames if isinstance(frame, Sources)]
        self.end = frames[-1]

    @property
    def done(self) -> Done:
        assert isinstance(self.end, Done), self.end
        return self.end

    @property
    def failed(self) -> Failed:
        assert isinstance(self.end, Failed), self.end
        return self.end

    @property
    def text(self) -> str:
        return " ".join(token.text.strip() for token in self.tokens)

    @property
    def quotes(self) -> list[str]:
        return [token.text for token in self.tokens if token.quoted]

    @property
    def cards(self) -> set[str]:
        """Cards that the answer cites."""
        cited = {number for token in self.tokens for number in token.cites}
        return {source.card_id for source in self.sources[-1].sources if source.number in cited}

    def strays(self) -> list[str]:
        """Words marked as quoted that stand in none of the passages they cite as whole sentences, or whole lines."""
        passages = {source.number: source.text for source in self.sources[-1].sources}
        return [
            token.text
            for token in self.tokens
            if token.quoted and not any(_stands(token.text, passages[number]) for number in token.cites)
        ]


def _stands(words: str, text: str) -> bool:
    if find_quote(words, [text]):
        return True
    return f"\n{words}\n" in re.sub(r"\n[ \t]*(?:[-*]|\d+[.)])[ \t]+", "\n", f"\n{text}\n").replace(". ", ".\n")


class AnswerWorld:
    """One node that answers; every question comes from another person unless one is named."""

    def __init__(
        self,
        home: Path,
        engines: Any,
        config: Config | None = None,
        store: Any = None,
        clock: Any = None,
        reader: Any = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.config = config or Config()
        self.supervisor = Supervisor()
        self.store = store or FakeStore(library_schema.MIGRATIONS)
        self.bus = CapabilityBus(NODE, self.clock, BusSection(), TraceRing(), Metrics())
        self.engines, self.blobs = engines, FakeBlobs()
        texts = load_texts()
        paths = resolve_paths({"HEARTHNET_HOME": str(home)})
        self.services = Services(
            config=self.config, paths=paths, clock=self.clock, store=self.store, blobs=self.blobs, engines=engines,
            bus=self.bus, spawn=self.supervisor.spawn, phrase=lambda language, key: texts[language](key),
            reader=reader or FakeReader(), vectors=NumpyVectors,
        )  # fmt: skip
        self.library = Library(self.services)
        self.models = LanguageModels(self.services)
        self.bus.register(self.library)
        self.bus.register(self.models)

    async def start(self) -> None:
        await self.library.start()

    async def close(self) -> None:
        await self.bus.close()
        await self.supervisor.close()
        await self.store.close()

    def caller(self, subject: str = "", trust: TrustLevel = TrustLevel.SELF) -> Caller:
        return Caller(None, trust, subject=subject or f"person {next(_people)}")

    def stream(
        self, *turns: str, model: str = "hearthnet", subject: str = "", language: str = "", **fields: Any
    ) -> Any:
        roles = itertools.cycle(("user", "assistant"))
        messages = tuple(Message(role, text) for role, text in zip(roles, turns, strict=False))
        request = ChatInput(messages=messages, **fields)
        params = ChatParams(model=model, language=language)
        return self.bus.stream("llm.chat@1.0", params, request, caller=self.caller(subject))

    async def ask(self, *turns: str, **fields: Any) -> Answer:
        return Answer([frame async for frame in self.stream(*turns, **fields)])
