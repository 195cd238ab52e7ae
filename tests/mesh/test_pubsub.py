"""Topics: numbers, resumption, the drop rule, and who may hear what."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from hearthnet.adapters.loop_fake import LoopClock, run_virtual
from hearthnet.base.errors import BadRequest, NotFound, RateLimited, Unauthorized
from hearthnet.mesh.pubsub import BYTES_MAX, KEPT, TOPICS_MAX, WAITING_PER_NODE_MAX, PubSub
from hearthnet.wire.identity import KeyPair, short_id
from hearthnet.wire.topic import Subscription, check_audience, check_topic

ME, YOU = KeyPair(b"m" * 32).node_id, KeyPair(b"y" * 32).node_id
POST = "marketplace.post.created"
CLOCK = LoopClock()


def make(boot=b"1"):
    return PubSub(lambda size: boot * size)


def numbered(pubsub, count, topic=POST):
    for number in range(count):
        pubsub.publish(topic, {"n": number})


async def heard(pubsub, topic=POST, last_seq=0, boot=None, within_s=0.0):
    """All messages after `last_seq` that are there: (seq, missed, data)."""
    found = []
    while (message := await pubsub.listen(topic, last_seq, boot, within_s)) is not None:
        found.append((message.seq, message.missed, message.data["n"]))
        last_seq, boot = message.seq, message.boot
    return found


def test_whoever_waits_hears_it_and_whoever_comes_later_goes_on_where_it_was():
    async def work():
        pubsub = make()
        waiting = [asyncio.ensure_future(pubsub.listen(POST, None, None, 30.0)) for _ in range(3)]
        await CLOCK.sleep(10.0)
        assert pubsub.publish(POST, {"n": 0}) == 1
        messages = await asyncio.gather(*waiting)
        assert [(message.seq, message.data) for message in messages] == [(1, {"n": 0})] * 3
        pubsub.publish(POST, {"n": 1})
        assert await heard(pubsub, last_seq=1) == [(2, 0, 1)]
        assert await pubsub.listen(POST, None, None, 0.0) is None

    run_virtual(work())


def test_waiting_ends_in_time():
    async def work():
        began = CLOCK.monotonic()
        assert await make().listen(POST, None, None, 30.0) is None
        return CLOCK.monotonic() - began

    assert run_virtual(work()) == 30.0


@given(st.integers(0, 3 * KEPT), st.integers(0, 3 * KEPT))
def test_every_message_is_heard_once_or_counted_as_missed(count, last_seq):
    async def work():
        pubsub = make()
        numbered(pubsub, count)
        found = await heard(pubsub, last_seq=last_seq)
        begin = last_seq if last_seq <= count else 0  # a number that was never given belongs to another boot
        assert sum(1 + missed for _, missed, _ in found) == count - begin
        assert [seq for seq, _, _ in found] == list(range(max(begin, count - KEPT) + 1, count + 1))
        assert all(data == seq - 1 for seq, _, data in found)

    asyncio.run(work())


def test_numbers_of_an_earlier_boot_are_not_taken_for_ours():
    async def work():
        pubsub = make()
        numbered(pubsub, 5)
        assert [seq for seq, _, _ in await heard(pubsub, last_seq=3, boot="A" * 22)] == [1, 2, 3, 4, 5]
        assert [seq for seq, _, _ in await heard(pubsub, last_seq=3, boot=pubsub.boot)] == [4, 5]

    asyncio.run(work())


def test_memory_is_bounded_by_bytes_and_topics_and_the_silent_go_first():
    async def work():
        pubsub = make()
        big = {"text": "x" * 15_000}
        topics = [f"evidence.claim.{number}.changed" for number in range(100)]
        for topic, _ in itertools.product(topics, range(10)):
            pubsub.publish(topic, big)
        assert pubsub._bytes <= BYTES_MAX
        assert (await pubsub.listen(topics[0], 0, None, 0.0)) is None
        assert (await pubsub.listen(topics[-1], 9, None, 0.0)).seq == 10
        for number in range(2 * TOPICS_MAX):
            await pubsub.listen(f"civdef.alert.{number}", None, None, 0.0)
        assert len(pubsub._topics) <= TOPICS_MAX
        assert pubsub._bytes == sum(kept.size_bytes for topic in pubsub._topics.values() for kept in topic.messages)

    asyncio.run(work())


def test_a_topic_is_not_forgotten_while_somebody_waits():
    async def work():
        pubsub = make()
        waiting = asyncio.ensure_future(pubsub.listen(POST, None, None, 30.0))
        await CLOCK.sleep(0)
        for number in range(2 * TOPICS_MAX):
            await pubsub.listen(f"civdef.alert.{number}", None, None, 0.0)
        pubsub.publish(POST, {"n": 1})
        return (await waiting).data

    assert run_virtual(work()) == {"n": 1}


@pytest.mark.parametrize(
    "topic", ["", "no.such", POST + "x", POST + "\n", "evidence.claim..changed", "chat.message.me"]
)
def test_only_topics_of_the_protocol_exist(topic):
    with pytest.raises(BadRequest):
        check_topic(topic)
    with pytest.raises(BadRequest):
        make().publish(topic, {})


@pytest.mark.parametrize("topic", ["emergency.mode.changed", "capability.registered", "capability.deregistered"])
def test_local_topics_are_heard_here_and_nowhere_else(topic):
    async def work():
        pubsub = make()
        pubsub.publish(topic, {"n": 1})
        assert await heard(pubsub, topic) == [(1, 0, 1)]
        with pytest.raises(NotFound):
            await pubsub.poll(ME, Subscription(topic, 0))

    asyncio.run(work())


def test_what_is_for_one_node_is_heard_by_that_one_only():
    topic = f"chat.message.{short_id(ME)}"
    check_audience(topic, ME)
    with pytest.raises(Unauthorized):
        check_audience(topic, YOU)


def test_a_message_has_a_size():
    pubsub = make()
    with pytest.raises(BadRequest):
        pubsub.publish(POST, {"text": "x" * 17_000})
    assert pubsub.head(POST) == 0


def test_one_node_holds_some_places_only():
    async def work():
        pubsub = make()
        polls = [
            asyncio.ensure_future(pubsub.poll(ME, Subscription(POST, timeout=30.0)))
            for _ in range(WAITING_PER_NODE_MAX + 1)
        ]
        await CLOCK.sleep(1.0)
        refused = [poll for poll in polls if poll.done()]
        assert [type(poll.exception()) for poll in refused] == [RateLimited]
        other = asyncio.ensure_future(pubsub.poll(YOU, Subscription(POST, timeout=5.0)))
        assert json.decode(await other) == {"topic": POST, "seq": 0, "boot": pubsub.boot, "timeout": True}
        await asyncio.wait(polls)
        assert json.decode(await pubsub.poll(ME, Subscription(POST, timeout=0.0)))["timeout"]

    run_virtual(work())
