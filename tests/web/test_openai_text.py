"""How frames become text: marks, gaps, the list of sources, and chunks that say the same as the whole."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import Unavailable
from hearthnet.mesh.answers import Done, Failed, Progress, Source, Sources, Token
from hearthnet.web.i18n import load_texts
from hearthnet.web.openai_stream import AnswerText, ChatEvents, CompletionEvents, Head
from hearthnet.web.openai_types import ChatChunk, CompletionChunk

TEXTS = load_texts()
DONE = Done("end", "quoted", "tiny", 4, 5)


def source(number, language="en", **more):
    return Source(number, f"Title {number}", "text", "system", "blake3:0", f"c{number}", language=language, **more)


def text_of(*frames, language="en"):
    text = AnswerText(TEXTS, language)
    return "".join(text.feed(frame) for frame in frames)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([Token("Water "), Token("boils.")], "Water boils."),
        ([Token("A.", (1,), True), Token("B.", (1,), True)], "A. [1]\nB. [1]"),
        ([Token("A.", (1,), True), Token("B.", (2,), True)], "A. [1]\n\nB. [2]"),
        ([Token("A", (1,), True), Token(" b.", (1,), True)], "A b. [1]"),
        ([Token("A ", (1,), True), Token("B.", (2,), True)], "A  [1]\n\nB. [2]"),
        ([Token("A.", (1, 2), True), Token("So: ")], "A. [1] [2]\n\nSo: "),
        ([Token("So:"), Token("A.", (1,), True)], "So:\n\nA. [1]"),
        ([Token("Keep it outside. ", (1,)), Token("Always.")], "Keep it outside. [1] Always."),
        ([Token("Outside"), Token(".", ()), Token("", (2,))], "Outside. [2]"),
        ([Token("It says [1].", (1,))], "It says [1]."),
        ([Token("No end", (1,), True)], "No end [1]"),
    ],
)
def test_marks_stand_behind_what_a_source_carries(tokens, expected):
    assert text_of(*tokens, DONE) == expected


def test_only_cited_sources_are_listed_with_what_is_known_of_them():
    sources = Sources((source(1, authorities=("WHO", "BBK"), date="2026-11"), source(2), source(3, page=7)))
    text = text_of(sources, Token("A.", (1,), True), Token("B.", (3,), True), DONE)
    assert text.endswith("\n\nSources:\n[1] Title 1 · WHO, BBK · 2026-11\n[3] Title 3 · page 7")


@pytest.mark.parametrize(
    ("card", "visitor", "heading"), [("de", "en", "Quellen:"), ("en", "de", "Sources:"), ("", "de", "Quellen:")]
)
def test_the_list_speaks_the_language_of_the_answer(card, visitor, heading):
    text = text_of(Sources((source(1, card),)), Token("A.", (1,), True), DONE, language=visitor)
    assert heading in text


def test_a_failed_frame_is_raised_as_its_error():
    with pytest.raises(Unavailable, match="gone"):
        text_of(Failed("partition", "gone"))


words = st.text(st.characters(codec="utf-8"), max_size=12)
tokens = st.builds(Token, words, st.lists(st.integers(1, 3), max_size=2, unique=True).map(tuple), st.booleans())
answers = st.lists(tokens, max_size=12).map(
    lambda made: [Progress("queue", 1, 2), Sources((source(1), source(2), source(3))), *made, DONE]
)


def chunks_of(data, kind):
    events = [event for event in data.decode().split("\n\n") if event.startswith("data: ")]
    assert events.pop() == "data: [DONE]"
    return [msgspec.json.decode(event[6:], type=kind) for event in events]


@given(answers, st.booleans())
def test_chunks_of_a_chat_say_what_the_whole_says(frames, usage):
    events = ChatEvents(Head("chatcmpl-1", 5, "hearthnet", usage), AnswerText(TEXTS, "en"))
    chunks = chunks_of(b"".join([*map(events.frame, frames), events.end()]), ChatChunk)
    said = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert "".join(part for part in said if part is not msgspec.UNSET) == text_of(*frames)
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert (chunks[-1].usage is not msgspec.UNSET) is usage


@given(answers, st.booleans())
def test_chunks_of_a_continuation_say_what_the_whole_says(frames, usage):
    events = CompletionEvents(Head("cmpl-1", 5, "hearthnet/x", usage), AnswerText(TEXTS, "en"))
    chunks = chunks_of(b"".join([*map(events.frame, frames), events.end()]), CompletionChunk)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == text_of(*frames)
    assert (chunks[-1].usage is not msgspec.UNSET) is usage


def test_waiting_is_told_in_comments_that_clients_skip():
    events = ChatEvents(Head("chatcmpl-1", 5, "hearthnet"), AnswerText(TEXTS, "en"))
    assert events.frame(Progress("queue", 3, 5)) == b": queue 3/5\n\n"
