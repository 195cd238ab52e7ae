"""Documents of a household: what they hold is quoted from them, on the even-numbered questions; odd ones were for tuning."""

from __future__ import annotations

import pytest

from hearthnet.adapters.engines.fake import FakeEngines
from hearthnet.adapters.readers.process import ReaderProcess
from library.household import read_household, upload

ANSWERED_FROM = 0.60  # the right line is quoted
LOST_MOST = 0.15  # answerable and refused
REFUSED_FROM = 0.35  # neither documents nor handbook hold it, though most are about what the documents are about

pytestmark = pytest.mark.timeout(240)  # some 180 questions, on a loaded machine


@pytest.fixture
async def furnished(make_world):
    """A node with the documents of household/ in two corpora, PDFs read by the real reader."""
    silent = FakeEngines()
    silent.missing.add("llm")
    world = await make_world(silent, reader=ReaderProcess())
    await upload(world)
    return world


@pytest.mark.parametrize("language", ["en", "de"])
async def test_own_documents_answer_and_what_nobody_holds_is_mostly_refused(furnished, language):
    right, lost, refused, total, strays = [], [], [], {True: 0, False: 0}, []
    for item_language, number, text, document, words in read_household():
        if item_language != language or number % 2:
            continue
        answer = await furnished.ask(text)
        total[bool(document)] += 1
        strays += answer.strays()
        is_refused = answer.done.tier == "not_in_library"
        (lost if document else refused).extend([text] * is_refused)
        right += [text] * (bool(document) and any(words in quote for quote in answer.quotes))

    assert not strays
    assert total == {True: 23, False: 22}
    assert len(right) / total[True] >= ANSWERED_FROM, right
    assert len(lost) / total[True] <= LOST_MOST, lost
    assert len(refused) / total[False] >= REFUSED_FROM, refused


async def test_where_is_the_water_main(furnished):
    answer = await furnished.ask("Where is the water main?")

    assert answer.quotes[0].startswith("The water main is behind the blue door.")
    assert [source.title for source in answer.sources[-1].sources if source.quotes] == ["house-notes.en.md"]


async def test_a_document_does_not_speak_before_the_handbook_forbids(furnished):
    answer = await furnished.ask("May I run the petrol generator in the cellar?")

    assert answer.cards <= {"T10", "T12"}
    assert any(quote.startswith("Never run a petrol generator") for quote in answer.quotes)


async def test_a_page_of_a_pdf_is_named(furnished):
    answer = await furnished.ask("boiler shows F4")

    quoted = [source for source in answer.sources[-1].sources if source.quotes]
    assert [(source.title, source.page) for source in quoted] == [("boiler-manual.en.pdf", 1)]
