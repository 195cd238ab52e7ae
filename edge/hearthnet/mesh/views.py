"""Materialised views: what the events add up to, kept in memory (X02, M05).

A view gives the same state whatever order its events arrive in, and applying an event twice changes nothing. So a
late event needs no replay, and a snapshot can be continued by the events that arrived after it.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from hearthnet.base.types import CID, NodeID
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
