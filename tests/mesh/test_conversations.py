"""Conversations: whose they are, what a repeated form does, what remains (M04)."""

from __future__ import annotations

import pytest

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.base.errors import BadRequest, NotFound
from hearthnet.mesh.answers import Done, Sources, Token
from hearthnet.mesh.conversations import CONVERSATIONS_MAX, MIGRATIONS, TURNS_MAX, Conversations

FRAMES = (Sources(()), Token("Ja.", cites=(1,), quoted=True), Done("end", "quoted", "m", ms=3))


@pytest.fixture
async def store():
    store = FakeStore(MIGRATIONS)
    yield store
    await store.close()


@pytest.fixture
def conversations(store):
    return Conversations(store, FakeClock())


async def test_question_opens_a_conversation_with_its_words_as_title(conversations):
    asked = await conversations.ask("a", "", "Wie lange\n hält Wasser?", "k")
    (listed,) = await conversations.list("a")
    assert (listed.id, listed.title, listed.turns) == (asked.conversation, "Wie lange hält Wasser?", 1)


async def test_frames_come_back_as_they_were_kept(conversations):
    asked = await conversations.ask("a", "", "q", "k")
    await conversations.finish(asked.conversation, asked.number, FRAMES)
    (turn,) = await conversations.turns("a", asked.conversation)
    assert turn.frames == FRAMES


async def test_answer_without_end_is_told_apart_from_an_empty_one(conversations):
    asked = await conversations.ask("a", "", "q", "k")
    (turn,) = await conversations.turns("a", asked.conversation)
    assert turn.frames is None


async def test_same_key_is_the_same_question(conversations):
    first = await conversations.ask("a", "", "q", "k")
    second = await conversations.ask("a", "", "q", "k")
    assert (second.conversation, second.number, second.fresh) == (first.conversation, first.number, False)


async def test_same_key_of_another_browser_is_another_question(conversations):
    first = await conversations.ask("a", "", "q", "k")
    second = await conversations.ask("b", "", "q", "k")
    assert second.fresh
    assert second.conversation != first.conversation


async def test_nobody_else_reads_asks_or_deletes(conversations):
    asked = await conversations.ask("a", "", "q", "k")
    with pytest.raises(NotFound):
        await conversations.turns("b", asked.conversation)
    with pytest.raises(NotFound):
        await conversations.ask("b", asked.conversation, "q", "k2")
    with pytest.raises(NotFound):
        await conversations.ask_again("b", asked.conversation, "k3")
    assert await conversations.delete("b", asked.conversation) == 0
    assert len(await conversations.turns("a", asked.conversation)) == 1


async def test_asking_again_drops_the_answer_and_keeps_the_question(conversations):
    asked = await conversations.ask("a", "", "q", "k")
    await conversations.finish(asked.conversation, asked.number, FRAMES)
    again = await conversations.ask_again("a", asked.conversation, "k2")
    twice = await conversations.ask_again("a", asked.conversation, "k2")
    (turn,) = await conversations.turns("a", asked.conversation)
    assert (turn.question, turn.frames, again.fresh, twice.fresh) == ("q", None, True, False)


async def test_deleting_one_leaves_the_others(conversations):
    first = await conversations.ask("a", "", "one", "1")
    second = await conversations.ask("a", "", "two", "2")
    assert await conversations.delete("a", first.conversation) == 1
    assert [item.id for item in await conversations.list("a")] == [second.conversation]


async def test_deleting_all_takes_the_turns_along(conversations, store):
    await conversations.ask("a", "", "one", "1")
    await conversations.ask("b", "", "two", "2")
    assert await conversations.delete("a") == 1
    assert await store.query("SELECT count(*) FROM conversation_turn") == [(1,)]


async def test_an_answer_to_a_deleted_conversation_is_dropped(conversations, store):
    asked = await conversations.ask("a", "", "q", "k")
    await conversations.delete("a")
    await conversations.finish(asked.conversation, asked.number, FRAMES)
    assert await store.query("SELECT count(*) FROM conversation_turn") == [(0,)]


async def test_oldest_conversations_give_way(conversations):
    clock = conversations._clock
    for number in range(CONVERSATIONS_MAX + 2):
        clock.jump(1)
        await conversations.ask("a", "", f"q{number}", f"k{number}")
    titles = [item.title for item in await conversations.list("a")]
    assert (len(titles), titles[0], titles[-1]) == (CONVERSATIONS_MAX, f"q{CONVERSATIONS_MAX + 1}", "q2")


async def test_a_conversation_has_an_end(conversations):
    asked = await conversations.ask("a", "", "q", "0")
    for number in range(1, TURNS_MAX):
        await conversations.ask("a", asked.conversation, "q", str(number))
    with pytest.raises(BadRequest):
        await conversations.ask("a", asked.conversation, "q", "more")
