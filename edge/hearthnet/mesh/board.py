"""The board as the log tells it: posts, their edits and their end, the same whatever order events come in (M06)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from msgspec import Struct

from hearthnet.base.types import NodeID, TrustLevel
from hearthnet.mesh.views import Order, order_of
from hearthnet.wire.market import Category, Place, PostCreated, PostExpired, PostFields, PostUpdated
from hearthnet.wire.timestamp import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hearthnet.ports import Clock
    from hearthnet.wire.event import Sealed

_DAY_S: Final = 86_400
_CLOSED_BY_OTHERS: Final = frozenset({"stale", "moderated"})


class Post(Struct, frozen=True):
    """A post as it stands; `expires_at` is in this node's time."""

    event_id: str
    lamport: int
    author: NodeID
    client_id: str
    category: Category
    title: str
    body: str
    location: Place | None
    tags: tuple[str, ...]
    created_at: str  # the author's claim
    expires_at: float
    edited_at: str = ""
    closed: str = ""  # the reason


class _Begun(Struct, frozen=True):
    order: Order
    author: NodeID
    created_at: str
    data: PostCreated
    since: float  # from when the time to live counts, in this node's time


class _Edit(Struct, frozen=True):
    order: Order
    author: NodeID
    created_at: str
    fields: PostFields
    since: float


class _End(Struct, frozen=True):
    order: Order
    author: NodeID
    reason: str


class _BoardState(Struct):
    begun: dict[str, _Begun] = {}  # by event id
    edits: dict[str, dict[str, _Edit]] = {}  # target -> event id of the edit
    ends: dict[str, dict[str, _End]] = {}


class BoardView:
    """All posts; a post's life is counted by this node's clock, so that an author's wrong one does not end it.

    `trust` tells whether somebody may close the posts of others; it is asked when the board is read.
    """

    name: ClassVar[str] = "board"
    kinds: ClassVar[tuple[type[Struct], ...]] = (PostCreated, PostUpdated, PostExpired)

    def __init__(self, clock: Clock, trust: Callable[[NodeID], TrustLevel]) -> None:
        self._clock = clock
        self._trust = trust
        self._state = _BoardState()
        self._by_client: dict[tuple[NodeID, str], str] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._state = _BoardState()
        self._by_client = {}

    def apply(self, sealed: Sealed) -> None:
        """Take one event into account."""
        event, order, state = sealed.event, order_of(sealed), self._state
        match sealed.data:
            case PostCreated() as data:
                known = state.begun.get(event.event_id)
                if known is None or order < known.order:
                    since = self._since(event.wall_clock)
                    state.begun[event.event_id] = _Begun(order, event.author, event.wall_clock, data, since)
                    self._name(event.event_id)
            case PostUpdated(target_event_id=target, fields=fields):
                edit = _Edit(order, event.author, event.wall_clock, fields, self._since(event.wall_clock))
                state.edits.setdefault(target, {}).setdefault(event.event_id, edit)
            case PostExpired(target_event_id=target, reason=reason):
                end = _End(order, event.author, reason)
                state.ends.setdefault(target, {}).setdefault(event.event_id, end)

    def snapshot_state(self) -> bytes:
        """The state as JSON."""
        return msgspec.json.encode(self._state)

    def restore_state(self, state: bytes) -> None:
        """Replace the state."""
        self._state = msgspec.json.decode(state, type=_BoardState)
        self._by_client = {}
        for event_id in self._state.begun:
            self._name(event_id)

    # ---- reading ----------------------------------------------------------------------------------------------

    def post(self, event_id: str) -> Post | None:
        """One post, also one that is closed or over."""
        begun = self._state.begun.get(event_id)
        if begun is None:
            return None
        data, until, edited_at = begun.data, begun.since + begun.data.ttl_seconds, ""
        for edit in self._edits(event_id, begun):
            changes = {
                name: value
                for name in edit.fields.__struct_fields__
                if (value := getattr(edit.fields, name)) is not None
            }
            if (ttl := changes.get("ttl_seconds")) is not None:
                until = edit.since + ttl
            data, edited_at = msgspec.structs.replace(data, **changes), edit.created_at
        return Post(
            event_id, begun.order[0], begun.author, data.client_id, data.category, data.title, data.body,
            data.location, data.tags, begun.created_at, until, edited_at, self._closed(event_id, begun.author),
        )  # fmt: skip

    def posts(self) -> list[Post]:
        """Posts that are up now: emergencies first, then the newest."""
        now = self._clock.now()
        found = [post for event_id in self._state.begun if (post := self.post(event_id)) is not None]
        up = [post for post in found if not post.closed and post.expires_at > now]
        return sorted(up, key=lambda post: (post.category != "emergency", -post.lamport, post.event_id))

    def own(self, author: NodeID, client_id: str) -> Post | None:
        """The post that an author sent under a client id."""
        event_id = self._by_client.get((author, client_id))
        return self.post(event_id) if event_id else None

    def over(self, author: NodeID) -> list[Post]:
        """An author's posts whose time has passed and that nobody closed."""
        now = self._clock.now()
        own = [event_id for event_id, begun in self._state.begun.items() if begun.author == author]
        found = [post for event_id in own if (post := self.post(event_id)) is not None]
        return [post for post in found if not post.closed and post.expires_at <= now]

    # ---- steps ------------------------------------------------------------------------------------------------

    def _edits(self, event_id: str, begun: _Begun) -> Iterator[_Edit]:
        """The author's own, in the order that all nodes agree on."""
        edits = [edit for edit in self._state.edits.get(event_id, {}).values() if edit.author == begun.author]
        yield from sorted(edits, key=lambda edit: edit.order)

    def _closed(self, event_id: str, author: NodeID) -> str:
        for end in sorted(self._state.ends.get(event_id, {}).values(), key=lambda end: end.order):
            by_other = end.reason in _CLOSED_BY_OTHERS and self._trust(end.author) >= TrustLevel.TRUSTED
            if end.author == author or by_other:
                return end.reason
        return ""

    def _since(self, wall_clock: str) -> float:
        """The author's time where it can be right, else now: clocks may be years off."""
        now, said = self._clock.now(), float(parse_time(wall_clock))
        return said if now - 31 * _DAY_S <= said <= now + _DAY_S else now

    def _name(self, event_id: str) -> None:
        begun = self._state.begun[event_id]
        key = (begun.author, begun.data.client_id)
        known = self._by_client.get(key)
        if known is None or begun.order < self._state.begun[known].order:
            self._by_client[key] = event_id
