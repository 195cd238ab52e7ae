"""Topics: what a node tells its neighbours as it happens, to whoever listens (X06).

The latest messages of each topic are kept, so that a subscriber that was away goes on where it was: `KEPT` a topic,
`BYTES_MAX` in all. **What is dropped is always the oldest**, of one topic or of the topic that was silent longest, and
the next message says how many were missed. Nobody has a queue of its own: a slow subscriber costs nothing. Numbers
count from 1 per topic and boot. What must not be lost is an event of the log; a topic only says that it is there.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.constants import PUBSUB_WAIT_S
from hearthnet.base.errors import BadRequest, RateLimited
from hearthnet.wire import canonical
from hearthnet.wire.topic import NoMessage, Subscription, TopicMessage, check_audience, check_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearthnet.base.types import NodeID
    from hearthnet.wire.canonical import JsonObject

KEPT: Final = 64
TOPICS_MAX: Final = 1024
BYTES_MAX: Final = 4 * 1_048_576
MESSAGE_MAX_BYTES: Final = 16_384
WAITING_MAX: Final = 1024
WAITING_PER_NODE_MAX: Final = 32
SUBSCRIBE_PATH: Final = "/pubsub/v1/subscribe"


class _Kept(Struct):
    data: JsonObject
    size_bytes: int


class _Topic(Struct):
    messages: deque[_Kept]
    head: int = 0  # number of the latest message
    changed: asyncio.Future[None] | None = None

    @property
    def oldest(self) -> int:
        """Number of the oldest message that is kept; head + 1 when none is."""
        return self.head - len(self.messages) + 1


class PubSub:
    """The topics of one node."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self.boot = urlsafe_b64encode(random_bytes(16)).decode().rstrip("=")
        self._topics: OrderedDict[str, _Topic] = OrderedDict()
        self._bytes = 0
        self._waiting: dict[NodeID, int] = {}

    def publish(self, topic: str, data: JsonObject) -> int:
        """Tell it; the message's number. Raises BadRequest for a topic or message that is none."""
        check_topic(topic)
        size = len(canonical.encode(data))
        if size > MESSAGE_MAX_BYTES:
            raise BadRequest(f"a message has at most {MESSAGE_MAX_BYTES} bytes")
        found = self._topic(topic)
        found.head += 1
        found.messages.append(_Kept(data, size))
        self._bytes += size
        if len(found.messages) > KEPT:
            self._bytes -= found.messages.popleft().size_bytes
        self._shrink()
        if found.changed is not None and not found.changed.done():
            found.changed.set_result(None)
        return found.head

    async def listen(self, topic: str, last_seq: int | None, boot: str | None, within_s: float) -> TopicMessage | None:
        """The first message after `last_seq`, waiting for it; None when the time is over.

        For this node's own people and for web sockets too; whoever asks has been checked.
        """
        found = self._topic(topic)
        if last_seq is None:
            last_seq = found.head
        elif (boot is not None and boot != self.boot) or last_seq > found.head:
            last_seq = 0  # numbers of another boot
        if found.head <= last_seq:
            if within_s <= 0 or not await self._wait(found, within_s):
                return None
            found = self._topic(topic)
        number = max(last_seq + 1, found.oldest)
        if number > found.head:  # came and was dropped at once
            return None
        kept = found.messages[number - found.oldest]
        return TopicMessage(topic, number, kept.data, self.boot, missed=number - last_seq - 1)

    async def answer(self, sender: NodeID, content: bytes) -> bytes:
        """An `Exchange`: a subscription as JSON, answered by a message or by `{"timeout": true}`."""
        return await self.poll(sender, canonical.decode_as(content, Subscription))

    async def poll(self, sender: NodeID, asked: Subscription) -> bytes:
        """One long poll of a member; raises BadRequest, NotFound, Unauthorized, RateLimited."""
        check_audience(asked.topic, sender)
        with self.place_of(sender):
            message = await self.listen(asked.topic, asked.last_seq, asked.boot, min(asked.timeout, PUBSUB_WAIT_S))
        return canonical.encode(message or NoMessage(asked.topic, self.head(asked.topic), self.boot))

    def head(self, topic: str) -> int:
        """Number of the latest message; 0 when there was none."""
        found = self._topics.get(topic)
        return 0 if found is None else found.head

    def place_of(self, sender: NodeID) -> _Place:
        """A place to wait in, for a `with`; raises RateLimited when there are too many."""
        return _Place(self._waiting, sender)

    async def _wait(self, topic: _Topic, within_s: float) -> bool:
        if topic.changed is None or topic.changed.done():
            topic.changed = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait({topic.changed}, timeout=within_s)
        return bool(done)

    def _topic(self, name: str) -> _Topic:
        found = self._topics.get(name)
        if found is None:
            found = self._topics[name] = _Topic(deque())
            if len(self._topics) > TOPICS_MAX:
                self._forget_oldest()
        self._topics.move_to_end(name)
        return found

    def _shrink(self) -> None:
        for topic in self._topics.values():  # silent longest first
            while self._bytes > BYTES_MAX and topic.messages:
                self._bytes -= topic.messages.popleft().size_bytes

    def _forget_oldest(self) -> None:
        for name, topic in self._topics.items():
            if topic.changed is None or topic.changed.done():  # nobody waits there
                self._bytes -= sum(kept.size_bytes for kept in topic.messages)
                del self._topics[name]
                return


class _Place:
    def __init__(self, waiting: dict[NodeID, int], sender: NodeID) -> None:
        self._waiting, self._sender = waiting, sender

    def __enter__(self) -> None:
        count = self._waiting.get(self._sender, 0)
        if count >= WAITING_PER_NODE_MAX or sum(self._waiting.values()) >= WAITING_MAX:
            raise RateLimited("too many subscriptions wait", retry_after_ms=int(PUBSUB_WAIT_S * 1000))
        self._waiting[self._sender] = count + 1

    def __exit__(self, *_: object) -> None:
        self._waiting[self._sender] -= 1
        if not self._waiting[self._sender]:
            del self._waiting[self._sender]
