"""Own documents: their lines, whether they answer, and who speaks when the handbook holds something too."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.adapters.engines.fake import FakeEngines
from hearthnet.mesh.document_lines import cut_lines
from hearthnet.mesh.evidence import Choice, Statement
from hearthnet.mesh.library_seed import SeedVectors
from hearthnet.mesh.likeness import Likeness
from hearthnet.mesh.own_documents import (
    DocumentModel,
    DocumentSigns,
    Finding,
    OwnDocuments,
    choose_lines,
    join_lines,
    weigh_document,
)
from hearthnet.wire.chunk import Span, split_sentences
from mesh.answer_samples import make_passage

NOTES = "The water main is behind the blue door. The spare key is with Mrs Okafor.\n"
MODEL = DocumentModel("a test", "model", (4.0, 2.0, 2.0), -4.0)


def lines(text):
    return [text[span.start : span.end] for span in cut_lines(text, split_sentences(text))]


def line(score, text="Our key hangs in the shed.", *, section="", near=0.8):
    return Statement(0, 0, len(text), text, section, score, near=near)


def open_documents(folder, engines=None):
    return OwnDocuments(folder, "model", Likeness(engines or FakeEngines(), "model", SeedVectors()))


def test_each_entry_of_a_phone_list_is_a_line_of_its_own():
    assert lines("Chair: Helen Abara, 01632 960201\nTreasurer: Priya Nair, 01632 960245\n") == [
        "Chair: Helen Abara, 01632 960201",
        "Treasurer: Priya Nair, 01632 960245",
    ]


def test_a_wrapped_sentence_is_not_cut():
    text = "The lift carries at most six people, or four people and a pram, and\nthe door has to be closed by hand.\n"

    assert lines(text) == [text.strip()]


def test_a_heading_is_no_line_to_quote():
    assert lines("Quiet hours\nQuiet hours are from 10 pm to 7 am in the whole house, also on Saturdays.\n") == [
        "Quiet hours are from 10 pm to 7 am in the whole house, also on Saturdays."
    ]


@given(st.text(alphabet="aB1 .:,\n", max_size=300))
def test_lines_lie_within_their_sentences_in_order(text):
    spans = split_sentences(text)
    cut = list(cut_lines(text, spans))

    assert all(one.end <= other.start for one, other in pairwise(cut))
    assert all(any(span.start <= one.start < one.end <= span.end for span in spans) for one in cut)
    assert all(text[one.start : one.end] == text[one.start : one.end].strip() for one in cut)


def test_each_sign_moves_the_probability_up():
    even = weigh_document(MODEL, DocumentSigns(0.5, 0.5, 0.5))

    for name in DocumentSigns.__struct_fields__:
        assert weigh_document(MODEL, msgspec.structs.replace(DocumentSigns(0.5, 0.5, 0.5), **{name: 0.9})) > even


async def test_the_line_that_answers_comes_first_and_is_held(tmp_path):
    (tmp_path / "documents.json").write_bytes(msgspec.json.encode(MODEL))
    passages = [make_passage(NOTES, card="", corpus="personal")]

    found = await open_documents(tmp_path).judge("where is the water main", 0.1, passages)

    assert found.statements[0].text == "The water main is behind the blue door."
    assert found.probability > 0.5


@pytest.mark.parametrize("content", [None, b"{", b'{"weights": "x"}', msgspec.json.encode(MODEL)])
async def test_without_model_or_embedder_the_search_decides(tmp_path, content):
    engines = FakeEngines()
    if content is not None:
        (tmp_path / "documents.json").write_bytes(content)
        engines.missing |= {"embed"} if content.startswith(b'{"prov') else set()
    passages = [make_passage(NOTES, card="", corpus="personal")]

    found = await open_documents(tmp_path, engines).judge("where is the water main", 0.37, passages)

    assert found.probability == 0.37
    assert found.statements


async def test_no_passage_answers_nothing(tmp_path):
    assert (await open_documents(tmp_path).judge("where", 0.9, [])).probability == 0.0


def test_only_lines_as_near_as_the_best_are_said():
    choice = choose_lines(Finding(0.9, (line(0.95), line(0.93, "It is red."), line(0.85, "Nothing."))))

    assert [item.text for item in (*choice.fixed, *choice.open)] == ["Our key hangs in the shed.", "It is red."]
    assert choice.room == 1


HANDBOOK = Choice((line(0.8, "Call 112.", section="help"),), (), 2)


def joined(cards, finding, choice=HANDBOOK):
    return [item.text for item in join_lines(choice, cards, finding).fixed]


def test_the_nearer_of_handbook_and_documents_speaks():
    cards = [line(0.85, "Keep a spare key.", section="do")]

    assert joined(cards, Finding(0.9, (line(0.95),))) == ["Our key hangs in the shed."]
    assert joined(cards, Finding(0.9, (line(0.82),))) == ["Call 112."]


def test_an_unsure_line_speaks_only_where_it_leads():
    cards = [line(0.85, "Keep a spare key.", section="do")]

    assert joined(cards, Finding(0.4, (line(0.86),))) == ["Call 112."]
    assert joined(cards, Finding(0.4, (line(0.88),))) == ["Our key hangs in the shed."]


def test_where_the_handbook_forbids_documents_are_silent_or_come_behind():
    def forbidden(score):
        return [line(score, "Never leave a key outside.", section="never", near=0.86)]

    assert joined(forbidden(0.91), Finding(0.9, (line(1.05),))) == ["Call 112."]
    assert joined(forbidden(0.88), Finding(0.9, (line(0.9),))) == ["Call 112."]
    assert joined(forbidden(0.88), Finding(0.9, (line(0.94),))) == [
        "Never leave a key outside.",
        "Our key hangs in the shed.",
    ]


def test_by_words_alone_a_document_is_not_heard_where_the_handbook_warns():
    warning = msgspec.structs.replace(HANDBOOK, warns=True)

    assert joined([], Finding(0.9, (line(0.1, near=0.0),)), warning) == ["Call 112."]


def test_spans_may_be_empty():
    assert list(cut_lines("abc", [])) == []
    assert list(cut_lines("  ", [Span(0, 2)])) == []
