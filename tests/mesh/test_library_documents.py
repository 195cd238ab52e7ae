"""How a document is cut: what a section's heading says goes with every piece of it."""

from __future__ import annotations

from hearthnet.adapters.store_fake import FakeStore
from hearthnet.mesh.library_documents import chunks_of_pages
from hearthnet.mesh.library_index import UNIT_FINE, UNIT_WINDOW, LibraryIndex, NewDocument
from hearthnet.mesh.library_schema import MIGRATIONS, word_index
from hearthnet.mesh.library_words import WordRules
from hearthnet.ports import Page

TEXT = """# Handbook of the well

Read this first.

## Winter

Lift the lid. Look for ice.

## Drought

Lower the bucket slowly.

### Neighbours

Share what is left.
"""


def heading_of(units, text, words):
    (found,) = {unit.heading for unit in units if unit.kind == UNIT_FINE and words in text[unit.start : unit.stop]}
    return found


def test_every_piece_knows_the_headings_above_it_but_not_the_title_again():
    (chunk,) = chunks_of_pages([Page(0, TEXT)], "Handbook of the well")
    assert heading_of(chunk.units, chunk.text, "Read this") == ""
    assert heading_of(chunk.units, chunk.text, "ice") == "Winter"
    assert heading_of(chunk.units, chunk.text, "left") == "Drought / Neighbours"
    assert chunk.also == "Winter; Drought; Drought / Neighbours"


def test_a_fine_unit_does_not_go_past_a_heading_a_window_does():
    (chunk,) = chunks_of_pages([Page(0, TEXT)])
    fine = [chunk.text[unit.start : unit.stop] for unit in chunk.units if unit.kind == UNIT_FINE]
    assert fine == [
        "Read this first.", "Lift the lid. Look for ice.", "Lower the bucket slowly.", "Share what is left.",
    ]  # fmt: skip
    assert len([unit for unit in chunk.units if unit.kind == UNIT_WINDOW]) == 1


def test_a_later_chunk_of_a_section_still_knows_its_heading():
    text = "## Drought\n\n" + "Lower the bucket slowly. " * 200
    chunks = list(chunks_of_pages([Page(0, text)]))
    assert len(chunks) > 1
    assert {chunk.also for chunk in chunks} == {"Drought"}


def test_a_text_without_headings_is_cut_as_before():
    (chunk,) = chunks_of_pages([Page(3, "Lift the lid. Look for ice.")])
    assert chunk.also == ""
    assert {unit.heading for unit in chunk.units} == {""}


async def test_headings_are_embedded_and_found_by_words_also_after_the_word_index_is_made_anew():
    store = FakeStore(MIGRATIONS)
    index = LibraryIndex(store, WordRules())
    corpus = await index.make_corpus("personal", "m")
    document = NewDocument("cid", "Well", "en", "text/markdown", len(TEXT), {})
    await index.write(
        corpus, await index.begin(corpus, document, 0.0), document, list(chunks_of_pages([Page(0, TEXT)]))
    )
    texts = [unit.text for unit in await index.pending(corpus, 99)]
    assert "Well: Handbook of the well / Drought / Neighbours: Share what is left." in texts
    table = word_index(corpus.id)
    before = await store.query(f"SELECT rowid, also FROM {table}")
    await index.renew_words(corpus)
    assert await store.query(f"SELECT rowid, also FROM {table}") == before
    assert "drought" in before[0][1]
    await store.close()
