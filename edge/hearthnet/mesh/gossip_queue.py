"""Messages on their way to active neighbours: in order, several in one body, bounded (X02)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import BadRequest, HearthNetError
from hearthnet.wire.gossip_message import MESSAGES_MAX, Gossip, encode_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearthnet.base.types import NodeID
    from hearthnet.ports import Peer, Transport
    from hearthnet.wire.gossip_message import GossipMessage

PATH: Final = "/gossip/v1/push"
QUEUE_MAX: Final = 512  # messages for one neighbour; the oldest go, anti-entropy brings what they held
BODY_MAX_BYTES: Final = 500_000
SEND_WITHIN_S: Final = 5.0
_OTHER_BYTES: Final = 200


class GossipQueue:
    """One line for each neighbour, one request at a time."""

    def __init__(
        self, transport: Transport, find: Callable[[NodeID], Peer | None], *, fail: Callable[[NodeID], None],
        blame: Callable[[NodeID, str], None],
    ) -> None:  # fmt: skip
        """`fail(node)`: it cannot be reached. `blame(node, why)`: it calls gossip what is right a bad request."""
        self._transport = transport
        self._find = find
        self._fail = fail
        self._blame = blame
        self._lines: dict[NodeID, deque[GossipMessage]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, node_id: NodeID, message: GossipMessage) -> None:
        """Send soon."""
        line = self._lines.get(node_id)
        if line is not None:
            line.append(message)
            return
        self._lines[node_id] = deque([message], maxlen=QUEUE_MAX)
        task = asyncio.get_running_loop().create_task(self._send_all(node_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drop what waits."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, node_id: NodeID) -> None:
        line = self._lines[node_id]
        try:
            while line and (peer := self._find(node_id)) is not None:
                await self._transport.request(peer, PATH, encode_messages(_body_of(line)), SEND_WITHIN_S)
        except BadRequest as error:
            self._blame(node_id, error.detail)
        except HearthNetError:
            self._fail(node_id)
        finally:
            del self._lines[node_id]


def _body_of(line: deque[GossipMessage]) -> tuple[GossipMessage, ...]:
    """The oldest messages that fit one body; at least one."""
    taken: list[GossipMessage] = []
    size = 0
    while line and len(taken) < MESSAGES_MAX:
        first = line[0]
        size += len(first.wire) if isinstance(first, Gossip) else _OTHER_BYTES
        if taken and size > BODY_MAX_BYTES:
            break
        taken.append(line.popleft())
    return tuple(taken)
