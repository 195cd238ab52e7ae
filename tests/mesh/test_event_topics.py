"""Events of the log become words on topics, without their content."""

from types import SimpleNamespace

import pytest

from hearthnet.mesh.event_topics import tell_events
from hearthnet.mesh.pubsub import PubSub
from hearthnet.wire.chat import MessageSent
from hearthnet.wire.identity import KeyPair, short_id

ME, YOU = KeyPair(b"m" * 32).node_id, KeyPair(b"y" * 32).node_id


def event(kind, data=None):
    head = SimpleNamespace(event_type=kind, event_id="01J0000000000000000000000A", author=ME)
    return SimpleNamespace(event=head, data=data, hash="blake3:" + "0" * 64)


@pytest.mark.parametrize(
    ("sealed", "topic"),
    [
        (event("market.post.created", {"text": "secret"}), "marketplace.post.created"),
        (event("community.member.joined"), "community.member.added"),
        (event("chat.message.sent", MessageSent("c1", YOU, None)), f"chat.message.{short_id(YOU)}"),
    ],
)
async def test_an_event_is_named_on_its_topic(sealed, topic):
    pubsub = PubSub(bytes)
    tell_events(pubsub)(sealed)
    message = await pubsub.listen(topic, 0, None, 0.0)
    assert message.data == {"event_id": sealed.event.event_id, "author": ME, "hash": sealed.hash}


def test_other_events_are_nobodys_business():
    pubsub = PubSub(bytes)
    tell_events(pubsub)(event("community.policy.updated"))
    assert not pubsub._topics
