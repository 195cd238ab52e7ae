"""How frames become blocks: quotes by source, paragraphs, places in the source, ends (M08)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hearthnet.mesh.answers import Done, Failed, Progress, Source, Sources, Token
from hearthnet.web.answer_view import AnswerView
from hearthnet.web.asked_turn import cut_passage, source_link

BODY = "## Help first\nCall 112.\n\n## Do now\n1. Open the window.\n2. Leave the house.\n\n## Why\nGas has no smell.\n"


def source(number=1, text=BODY, **more):
    return Source(number=number, title="Gas", text=text, corpus="system", doc_cid="c", chunk_id="x", **more)


def quote(text, *cites):
    return Token(text, cites=cites or (1,), quoted=True)


def shape(view):
    return [(block.quoted, block.urgent, [piece.text for piece in block.pieces]) for block in view.blocks]


def test_sentences_of_one_source_stand_together_and_first_help_apart():
    view = AnswerView([Sources((source(),)), quote("Call 112."), quote("Open the window."), quote("Leave the house.")])
    assert shape(view) == [(True, True, ["Call 112."]), (True, False, ["Open the window.", "Leave the house."])]


def test_another_source_begins_another_quote():
    view = AnswerView([Sources((source(), source(2))), quote("Open the window.", 1), quote("Leave the house.", 2)])
    assert len(view.blocks) == 2
    assert [item.number for item in view.cited] == [1, 2]


def test_sentence_that_comes_in_pieces_is_one():
    view = AnswerView([Sources((source(),)), quote("Open the "), quote("window.")])
    assert shape(view) == [(True, False, ["Open the window."])]


def test_quoted_words_are_marked_while_the_answer_is_made():
    view = AnswerView([Sources((source(),)), quote("Leave the house.")])
    start = BODY.index("Leave")
    assert view.sources[0].quotes == ((start, start + len("Leave the house.")),)


def test_free_wording_falls_into_paragraphs():
    view = AnswerView([Token("One "), Token("two.\n\n"), Token("Three.", cites=(1,)), Token("\n\nFour\n\n")])
    assert shape(view) == [
        (False, False, ["One two."]), (False, False, ["Three."]), (False, False, ["Four"]),
    ]  # fmt: skip


def test_refusal_drops_its_words_but_not_its_quotes():
    frames = [Sources((source(),)), Token("Not here."), quote("Call 112."), Done("end", "not_in_library", "")]
    view = AnswerView(frames)
    assert view.state == "missing"
    assert shape(view) == [(True, True, ["Call 112."])]


def test_states_follow_the_frames():
    view = AnswerView()
    assert (view.state, view.running) == ("waiting", True)
    view.feed(Progress("queue", current=2))
    assert view.progress.current == 2
    view.feed(Token("a"))
    assert view.state == "writing"
    view.feed(Done("cancelled", "quoted", ""))
    assert (view.state, view.running) == ("stopped", False)
    assert AnswerView([Failed("timeout")]).state == "failed"


FRAMES = st.one_of(
    st.builds(Progress, st.sampled_from(["queue", "retrieve", "load", "generate"]), st.integers(0, 9)),
    st.builds(Token, st.text(max_size=40), st.sampled_from([(), (1,), (2,), (1, 2), (99,)]), st.booleans()),
    st.just(Sources((source(), source(2, "## Why\nx")))),
)


@given(st.lists(FRAMES, max_size=30))
def test_no_words_are_lost_and_no_block_is_empty(frames):
    view = AnswerView(frames)
    said = "".join(frame.text for frame in frames if isinstance(frame, Token))
    shown = "".join(piece.text for block in view.blocks for piece in block.pieces)
    assert "".join(shown.split()) == "".join(said.split())
    assert all(block.pieces for block in view.blocks)


@given(st.text(max_size=400), st.lists(st.tuples(st.integers(-5, 420), st.integers(-5, 420)), max_size=5))
def test_passage_keeps_every_quote_and_only_words_of_the_text(text, spans):
    parts = cut_passage(text, tuple(spans))
    valid = [(start, end) for start, end in sorted(spans) if 0 <= start < end <= len(text)]
    if valid:
        assert any(quoted for _, quoted in parts) or not "".join(text[valid[0][0] : valid[0][1]].split("#"))
    for words, _ in parts:
        kept = set("".join(words.split())) - {"…"}
        assert kept <= set(text)


def test_long_passage_is_cut_to_the_lines_around_the_quote():
    lines = [f"Line number {number} has words." for number in range(40)]
    text = "\n".join(lines)
    start = text.index("Line number 20")
    parts = cut_passage(text, ((start, start + len("Line number 20 has words.")),))
    words = "".join(words for words, _ in parts)
    assert "Line number 20" in words
    assert "Line number 19" in words
    assert "Line number 5 " not in words
    assert words.startswith("…")
    assert words.endswith("…")


def test_link_of_a_document_names_corpus_page_and_words():
    link = source_link(source(text="Tor & Tür", quotes=((0, 3),), page=4))
    assert link == "/library/document/system/c?page=4&at=Tor#hit"
