"""Materialised views: what the events add up to, kept in memory (X02, M01, M05).

A view gives the same state whatever order its events arrive in, and applying an event twice changes nothing. So a
late event needs no replay, and a snapshot can be continued by the events that arrived after it.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from hearthnet.base.types import CID, CommunityID, NodeID, TrustLevel
from hearthnet.wire.community import CommunityCreated, CommunityPolicy, MemberInvited, MemberJoined, PolicyUpdated
from hearthnet.wire.event_types import DocumentIngested

if TYPE_CHECKING:
    from hearthnet.wire.event import Draft, Sealed

Order: TypeAlias = tuple[int, str, str]  # (lamport, event id, hash): the order that all nodes agree on


class View(Protocol):
    """State derived from events of some types; commutative and idempotent.

    What stems from an event with `expires_at` a view neither shows nor puts into a snapshot once that has passed.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[type[Struct], ...]]

    def reset(self) -> None:
        """Forget everything."""

    def apply(self, sealed: Sealed) -> None:
        """Take one event of `kinds` into account."""

    def snapshot_state(self) -> bytes:
        """The state as JSON."""

    def restore_state(self, state: bytes) -> None:
        """Replace the state by one that `snapshot_state` gave; raises `msgspec.DecodeError`."""


class Member(Struct, frozen=True):
    """One node of the community."""

    node_id: NodeID
    level: str
    since: Order


class _MembersState(Struct):
    name: str = ""
    policy: CommunityPolicy = CommunityPolicy()
    policy_order: Order = (0, "", "")
    invites: dict[str, tuple[NodeID, str, Order]] = {}  # by event id: invitee, level, order of the invitation
    joined: dict[NodeID, dict[str, Order]] = {}  # node -> invitation used -> order of the joining
    founded: Order = (0, "", "")


class MembersView:
    """Who belongs to the community, since when and how trusted; its name and rules (M01)."""

    name: ClassVar[str] = "members"
    kinds: ClassVar[tuple[type[Struct], ...]] = (CommunityCreated, MemberInvited, MemberJoined, PolicyUpdated)

    def __init__(self, community: CommunityID) -> None:
        self._community = community
        self._root = NodeID(community)  # the founder's key is the community's
        self._state = _MembersState()

    def reset(self) -> None:
        """Forget everything."""
        self._state = _MembersState()

    def copy(self) -> MembersView:
        """A view to try events on."""
        other = MembersView(self._community)
        other.restore_state(self.snapshot_state())
        return other

    def apply(self, sealed: Sealed | Draft) -> None:
        """Take one event into account."""
        state, event, order = self._state, sealed.event, order_of(sealed)
        match sealed.data:
            case CommunityCreated(name=name, policy=policy):
                state.name, state.founded = name, order
                self._set_policy(policy, order)
            case PolicyUpdated(policy=policy):
                self._set_policy(policy, order)
            case MemberInvited(invitee_node_id=invitee, initial_level=level):
                known = state.invites.get(event.event_id)
                if known is None or order < known[2]:
                    state.invites[event.event_id] = (invitee, level, order)
            case MemberJoined(invite_event_id=invite):
                uses = state.joined.setdefault(event.author, {})
                uses[invite] = min(order, uses.get(invite, order))

    def snapshot_state(self) -> bytes:
        """The state as JSON."""
        return msgspec.json.encode(self._state)

    def restore_state(self, state: bytes) -> None:
        """Replace the state."""
        self._state = msgspec.json.decode(state, type=_MembersState)

    @property
    def community_name(self) -> str:
        """The name given at the founding; empty before it is known."""
        return self._state.name

    @property
    def policy(self) -> CommunityPolicy:
        """The rules in force."""
        return self._state.policy

    def member(self, node_id: NodeID) -> Member | None:
        """The member by its earliest valid joining; the founder is an anchor from the founding on."""
        state = self._state
        if node_id == self._root and state.founded[0]:
            return Member(node_id, TrustLevel.ANCHOR.label, state.founded)
        best: Member | None = None
        for invite, order in state.joined.get(node_id, {}).items():
            invitee, level, invited = state.invites.get(invite, ("", "", order))
            if invitee == node_id and invited < order and (best is None or order < best.since):
                best = Member(node_id, level, order)
        return best

    def members(self) -> list[Member]:
        """All members, in order of joining."""
        nodes = {self._root, *self._state.joined}
        return sorted((found for node in nodes if (found := self.member(node))), key=lambda member: member.since)

    def trust(self, node_id: NodeID) -> TrustLevel:
        """How far a node is trusted."""
        found = self.member(node_id)
        return TrustLevel[found.level.upper()] if found else TrustLevel.UNKNOWN

    def invitation(self, event_id: str) -> tuple[NodeID, Order] | None:
        """Whom an invitation names, and when it was made."""
        found = self._state.invites.get(event_id)
        return (found[0], found[2]) if found else None

    def _set_policy(self, policy: CommunityPolicy, order: Order) -> None:
        if order >= self._state.policy_order:
            self._state.policy, self._state.policy_order = policy, order


class Document(Struct, frozen=True, gc=False):
    """A document that someone in the community has in a corpus."""

    corpus: str
    doc_cid: CID
    title: str
    language: str
    chunks: int
    author: NodeID
    order: Order


class DocumentsView:
    """Documents of the community's libraries, the last word on each by (lamport, event id) (M05)."""

    name: ClassVar[str] = "documents"
    kinds: ClassVar[tuple[type[Struct], ...]] = (DocumentIngested,)

    def __init__(self) -> None:
        self._documents: dict[str, dict[CID, Document]] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._documents = {}

    def apply(self, sealed: Sealed) -> None:
        """Take one event into account."""
        data = sealed.data
        if not isinstance(data, DocumentIngested):
            return
        author, order = sealed.event.author, order_of(sealed)
        name, language = intern(data.corpus), intern(data.language)
        found = Document(name, data.doc_cid, data.title, language, data.chunks, NodeID(intern(author)), order)
        corpus = self._documents.setdefault(name, {})
        known = corpus.get(data.doc_cid)
        if known is None or known.order < found.order:
            corpus[data.doc_cid] = found

    def snapshot_state(self) -> bytes:
        """The state as JSON."""
        return msgspec.json.encode([document for corpus in self._documents.values() for document in corpus.values()])

    def restore_state(self, state: bytes) -> None:
        """Replace the state."""
        documents = msgspec.json.decode(state, type=list[Document])
        self._documents = {}
        for document in documents:
            self._documents.setdefault(document.corpus, {})[document.doc_cid] = document

    def documents(self, corpus: str) -> list[Document]:
        """Documents of a corpus, in order of their events."""
        return sorted(self._documents.get(corpus, {}).values(), key=lambda document: document.order)

    def corpora(self) -> list[str]:
        """Names of all corpora."""
        return sorted(self._documents)


def order_of(sealed: Sealed | Draft) -> Order:
    """The place of an event in the order that all nodes agree on."""
    return (sealed.event.lamport, sealed.event.event_id, sealed.hash)
