"""Direct messages: sealed, through others' hands, acknowledged, over restarts of all three (M10, M23)."""

from __future__ import annotations

import pytest

from hearthnet.adapters.store_fake import FakeStore
from hearthnet.base import errors
from hearthnet.mesh import chat_store as states
from hearthnet.wire.chat import Attachment, MessageDelivered, MessageSent
from hearthnet.wire.cid import cid_of
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.timestamp import format_time
from mesh.chat_world import Street


@pytest.fixture
async def street():
    made = await Street().start()
    yield made
    await made.stop()


async def test_a_message_arrives_and_both_sides_know(street):
    sent = await street.anna.send(street.bert, "Bring candles, please.")
    assert sent.state == states.QUEUED
    await street.meet(street.anna, street.bert)
    assert await street.bert.texts(street.anna) == [(False, "Bring candles, please.", states.DELIVERED)]
    assert await street.anna.texts(street.bert) == [(True, "Bring candles, please.", states.DELIVERED)]


async def test_a_conversation_goes_back_and_forth_in_one_session(street):
    for number in range(6):
        writer, reader = (street.anna, street.bert) if number % 2 else (street.bert, street.anna)
        await writer.send(reader, f"number {number}")
        await street.meet(street.anna, street.bert)
    assert await street.bert.bodies(street.anna) == ["number 1", "number 3", "number 5"]
    assert await street.anna.bodies(street.bert) == ["number 0", "number 2", "number 4"]
    assert len(await street.anna.chats.sessions(street.bert.key.node_id)) == 1


async def test_the_third_hands_on_what_it_cannot_read(street):
    await street.anna.send(street.bert, "only for you")
    await street.meet(street.anna, street.founder)
    assert all(b"only for you" not in wire for wire in await street.founder.wires())
    assert await street.founder.texts(street.anna) == []
    await street.meet(street.founder, street.bert)
    assert await street.bert.bodies(street.anna) == ["only for you"]
    await street.meet(street.founder, street.anna)
    assert (await street.anna.texts(street.bert))[0][2] == states.DELIVERED


async def test_restarts_of_all_three_lose_nothing(street):
    await street.anna.send(street.bert, "one")
    await street.anna.crash()
    await street.meet(street.anna, street.founder)
    await street.founder.crash()
    await street.meet(street.founder, street.bert)
    await street.bert.crash()
    await street.anna.send(street.bert, "two")
    await street.meet(*street.all)
    assert await street.bert.bodies(street.anna) == ["one", "two"]
    assert [state for _, _, state in await street.anna.texts(street.bert)] == [states.DELIVERED] * 2


async def test_both_may_write_first_at_the_same_time(street):
    await street.anna.send(street.bert, "a1")
    await street.bert.send(street.anna, "b1")
    await street.meet(street.anna, street.bert)
    await street.anna.send(street.bert, "a2")
    await street.bert.send(street.anna, "b2")
    await street.meet(street.anna, street.bert)
    assert await street.bert.bodies(street.anna) == ["a1", "a2"]
    assert await street.anna.bodies(street.bert) == ["b1", "b2"]


async def test_two_may_write_to_a_third_before_it_answers(street):
    await street.anna.send(street.bert, "from anna")
    await street.founder.send(street.bert, "from the founder")
    await street.meet(*street.all)
    assert await street.bert.bodies(street.anna) == ["from anna"]
    assert await street.bert.bodies(street.founder) == ["from the founder"]


async def test_the_same_client_id_is_one_message(street):
    first = await street.anna.send(street.bert, "once", client_id="form-1")
    again = await street.anna.send(street.bert, "once", client_id="form-1")
    assert first.event_id == again.event_id
    await street.meet(street.anna, street.bert)
    assert await street.bert.bodies(street.anna) == ["once"]


async def test_a_message_waits_for_keys_and_then_goes(street):
    street.anna.prekeys.reset()
    sent = await street.anna.send(street.bert, "early")
    assert (sent.state, sent.event_id) == (states.WAITING, "")
    await street.anna.log.rebuild()
    await street.meet(street.anna, street.bert)
    assert await street.bert.bodies(street.anna) == ["early"]


async def test_after_a_restore_messages_flow_again_and_none_is_lost(street):
    await street.anna.send(street.bert, "before")
    await street.meet(street.anna, street.bert)
    await street.bert.send(street.anna, "reply")
    await street.meet(street.anna, street.bert)
    await street.bert.stop()
    street.bert.store = FakeStore(states.MIGRATIONS)  # its messages and ratchets are gone
    await street.anna.send(street.bert, "while it was down")
    await street.bert.start()
    await street.meet(street.anna, street.bert, rounds=6)
    assert "while it was down" in await street.bert.bodies(street.anna)
    await street.bert.send(street.anna, "back again")
    await street.meet(street.anna, street.bert)
    assert (await street.anna.bodies(street.bert))[-1] == "back again"


async def test_a_sealed_text_cannot_be_passed_off_as_another_message(street):
    await street.anna.send(street.bert, "pay 10")
    [sealed] = [one async for page in street.anna.log.history.by_type("chat.message.sent") for one in page]
    copied = MessageSent("copied", sealed.data.recipient, sealed.data.body)
    await street.founder.log.append(copied)
    await street.meet(street.founder, street.bert)
    assert await street.bert.bodies(street.founder) == [""]
    assert (await street.bert.texts(street.founder))[0][2] == states.UNREADABLE


async def test_a_forged_acknowledgement_changes_nothing(street):
    sent = await street.anna.send(street.bert, "really?")
    await street.founder.log.append(MessageDelivered(sent.event_id, format_time(street.founder.clock.now())))
    await street.meet(street.founder, street.anna)
    assert (await street.anna.texts(street.bert))[0][2] == states.QUEUED


async def test_reading_is_told_once(street):
    await street.anna.send(street.bert, "seen?")
    await street.meet(street.anna, street.bert)
    assert await street.bert.chat.mark_read(street.anna.key.node_id) == 1
    assert await street.bert.chat.mark_read(street.anna.key.node_id) == 0
    await street.meet(street.anna, street.bert)
    assert (await street.anna.texts(street.bert))[0][2] == states.READ


async def test_handed_on_is_shown_and_never_taken_back(street):
    sent = await street.anna.send(street.bert, "on its way")
    await street.anna.chat.handed_on([sent.hash])
    assert (await street.anna.texts(street.bert))[0][2] == states.HANDED_ON
    await street.meet(street.anna, street.bert)
    await street.anna.chat.handed_on([sent.hash])
    assert (await street.anna.texts(street.bert))[0][2] == states.DELIVERED


async def test_attachments_travel_inside_the_seal(street):
    file = Attachment(cid_of(b"map"), "map.pdf", 3, "A" * 43)
    await street.anna.chat.send("with-file", street.bert.key.node_id, "the map", [file])
    await street.meet(street.anna, street.bert)
    [message] = await street.bert.chats.messages("NOT outgoing")
    assert message.attachments == (file,)
    assert all(b"map.pdf" not in wire for wire in await street.founder.wires())


@pytest.mark.parametrize("text", ["", "   \n"])
async def test_empty_messages_are_refused(street, text):
    with pytest.raises(errors.BadRequest):
        await street.anna.send(street.bert, text)


async def test_nobody_writes_to_himself_or_to_strangers(street):
    with pytest.raises(errors.BadRequest):
        await street.anna.send(street.anna, "hello me")
    with pytest.raises(errors.NotFound):
        await street.anna.chat.send("x", KeyPair(b"z" * 32).node_id, "hello?")


async def test_a_full_disk_refuses_and_keeps_nothing_half(street):
    long = "no room " * 900
    street.anna.store.fill_disk()
    with pytest.raises(errors.DiskFull):
        await street.anna.send(street.bert, long, client_id="c1")
    street.anna.store.free_disk()
    assert await street.anna.texts(street.bert) == []
    await street.anna.send(street.bert, long, client_id="c1")
    await street.meet(street.anna, street.bert)
    assert await street.bert.bodies(street.anna) == [long]


async def test_the_list_shows_every_partner_with_its_unread(street):
    await street.anna.send(street.bert, "1")
    await street.anna.send(street.bert, "2")
    await street.founder.send(street.bert, "3")
    await street.meet(*street.all)
    found = {item.peer: (item.last.body, item.unread) for item in await street.bert.chats.conversations()}
    assert found == {street.anna.key.node_id: ("2", 2), street.founder.key.node_id: ("3", 1)}


async def test_keys_are_published_rarely(street):
    before = len(await street.anna.wires())
    for _ in range(5):
        await street.anna.clock.advance(3600.0)
        await street.anna.chat.catch_up()
    assert len(await street.anna.wires()) == before
    await street.anna.clock.advance(86_400.0)
    await street.anna.chat.catch_up()
    assert len(await street.anna.wires()) == before + 1
