"""Nodes that answer from the handbook with the real embedder and the text engine that a test wants."""

from __future__ import annotations

from typing import ClassVar

import pytest

from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.engines.fake import FakeEngines
from hearthnet.adapters.engines.family import open_engines
from hearthnet.adapters.engines.orders import EmbedResult
from hearthnet.base.config import Config
from hearthnet.base.paths import resolve_paths
from hearthnet.ports import ModelInfo
from library.answer_world import AnswerWorld

YES = (
    "Yes, that is safe. Yes, that is safe [1]. You can do that, no problem [1]. Ja, das ist sicher [1]."
    " Das kannst du machen, kein Problem [2]. It is fine if a window is open [3]."
)


class EmbedderBeside:
    """Vectors by the real embedder, each made once for all tests; words by an engine of the test."""

    _known: ClassVar = {}

    def __init__(self, embedder, text):
        self._embedder = embedder
        self._text = text
        self.history = text.history

    def models(self):
        return self._text.models()

    def generate(self, model, request):
        return self._text.generate(model, request)

    async def embed(self, texts, *, query):
        missing = [text for text in texts if (text, query) not in self._known]
        if missing:
            made = await self._embedder.embed(missing, query=query)
            size = 4 * made.dim
            for number, text in enumerate(missing):
                self._known[text, query] = made.data[number * size : (number + 1) * size]
        rows = [self._known[text, query] for text in texts]
        return EmbedResult(len(rows[0]) // 4, b"".join(rows))


class Affirming(FakeEngines):
    """Says yes to everything, whatever grammar it is given."""

    def _answer(self, request):
        return YES


@pytest.fixture
async def make_world(tmp_path):
    made = []

    async def make(text, **fields):
        paths = resolve_paths({"HEARTHNET_HOME": str(tmp_path)})
        paths.create()
        embedder = open_engines(Config(), paths, SystemClock())
        world = AnswerWorld(tmp_path, EmbedderBeside(embedder, text), **fields)
        made.append((world, embedder))
        await world.start()
        return world

    yield make
    for world, embedder in made:
        await world.close()
        await embedder.close()


@pytest.fixture
async def answering(make_world):
    """No language model: the rank alone."""
    silent = FakeEngines()
    silent.missing.add("llm")
    return await make_world(silent)


@pytest.fixture
async def affirming_small(make_world):
    return await make_world(Affirming(ModelInfo("yes-small", "local", "small_model", 2048, loaded=True)))


@pytest.fixture
async def affirming_large(make_world):
    return await make_world(Affirming(ModelInfo("yes-large", "home", "large_model", 8192, loaded=True)))
