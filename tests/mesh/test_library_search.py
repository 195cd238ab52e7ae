"""Searching documents by words: what stands next to each other in a question counts more where it does in a text."""

from __future__ import annotations

import pytest

from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.vectors_fake import FakeVectors
from hearthnet.mesh.library_confidence import Confidence
from hearthnet.mesh.library_documents import chunks_of_pages
from hearthnet.mesh.library_index import LibraryIndex, NewDocument
from hearthnet.mesh.library_schema import MIGRATIONS
from hearthnet.mesh.library_search import LibrarySearch
from hearthnet.mesh.library_seed import SeedVectors
from hearthnet.mesh.library_words import WordRules
from hearthnet.mesh.passages import QueryInput
from hearthnet.ports import Page


class World:
    def __init__(self):
        self.store = FakeStore(MIGRATIONS)
        rules = WordRules()
        self.index = LibraryIndex(self.store, rules)
        self.search = LibrarySearch(self.store, FakeVectors, rules, Confidence(None, SeedVectors(), FakeVectors))

    async def add(self, **texts):
        corpus = await self.index.make_corpus("personal", "m")
        for name, text in texts.items():
            document = NewDocument(name, "", "en", "text/plain", len(text), {})
            doc = await self.index.begin(corpus, document, 0.0)
            await self.index.write(corpus, doc, document, list(chunks_of_pages([Page(0, text)])))
        self.search.forget(corpus.id)

    async def find(self, query):
        corpus = await self.index.corpus("personal")
        found = await self.search.query(corpus, QueryInput(query), None)
        return [passage.metadata.doc_cid for passage in found.chunks]


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.store.close()


FILLER = {f"f{number}": f"Nothing of note happens in place {number}." for number in range(12)}


async def test_words_next_to_each_other_outweigh_the_same_words_apart(world):
    await world.add(
        apart="The rain was strong, the barrel was old. Rain again.",
        together="An old rain barrel was strong. It stood there again.",
        **FILLER,
    )
    assert (await world.find("rain barrel"))[0] == "together"
    assert set(await world.find("barrel of rain")) == {"apart", "together"}


async def test_a_section_is_found_by_its_heading(world):
    body = "Turn the tap slowly and wait. " * 20
    await world.add(text=f"## Cistern\n\n{body}", other=body + "A cistern is near.", **FILLER)
    assert (await world.find("cistern"))[0] == "text"


async def test_counts_of_words_are_forgotten_when_a_document_comes(world):
    await world.add(one="A cistern.", **FILLER)
    assert await world.find("pumpkin") == []
    await world.add(two="A pumpkin.")
    assert await world.find("pumpkin") == ["two"]


async def test_a_question_with_signs_of_the_query_language_is_only_words(world):
    await world.add(one='He said "pump" AND left.', **FILLER)
    assert await world.find('"pump" AND NEAR(left OR * - 5,5 pump') == ["one"]
