"""What the log tells its neighbours: for some events a word on their topic, never the content (X06, X02).

The word names the event; who wants it asks for it by synchronisation, and then checks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hearthnet.wire.chat import MessageSent
from hearthnet.wire.identity import short_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearthnet.mesh.pubsub import PubSub
    from hearthnet.wire.event import Sealed

_TOPICS: Final = {
    "community.member.joined": "community.member.added",
    "community.member.revoked": "community.member.revoked",
    "node.manifest.updated": "node.manifest.updated",
    "market.post.created": "marketplace.post.created",
    "market.post.expired": "marketplace.post.expired",
}


def tell_events(pubsub: PubSub) -> Callable[[Sealed], None]:
    """A listener of the event log that publishes on the topics of the protocol."""

    def tell(sealed: Sealed) -> None:
        event = sealed.event
        topic = _TOPICS.get(event.event_type, "")
        if isinstance(sealed.data, MessageSent):
            topic = f"chat.message.{short_id(sealed.data.recipient)}"
        if topic:
            pubsub.publish(topic, {"event_id": event.event_id, "author": event.author, "hash": sealed.hash})

    return tell
