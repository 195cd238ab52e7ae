"""The table of event types: each name with the Struct of its data; a new type joins by one line (X02)."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from hearthnet.wire.canonical import JsonObject
from hearthnet.wire.chat import MessageDelivered, MessageRead, MessageSent, PrekeysPublished, SessionBroken
from hearthnet.wire.community import (
    CommunityCreated,
    MemberDemoted,
    MemberInvited,
    MemberJoined,
    MemberLeft,
    MemberPromoted,
    MemberRevoked,
    PolicyUpdated,
    RootSucceeded,
)
from hearthnet.wire.field import CidField, CountField
from hearthnet.wire.market import PostCreated, PostExpired, PostUpdated


class ManifestUpdated(Struct, frozen=True, forbid_unknown_fields=True):
    """A node tells what it offers; advisory, the manifest is a signed object of its own."""

    manifest: JsonObject


class CidAdvertised(Struct, frozen=True, forbid_unknown_fields=True):
    """The author holds a blob; the sizes of its chunks in order, one for a small blob, sum to its size."""

    cid: CidField
    sizes_bytes: Annotated[tuple[CountField, ...], Meta(min_length=1, max_length=4096)]


class CidUnpinned(Struct, frozen=True, forbid_unknown_fields=True):
    """The author no longer keeps a blob."""

    cid: CidField


class DocumentIngested(Struct, frozen=True, forbid_unknown_fields=True):
    """A document joined a corpus of the library."""

    corpus: Annotated[str, Meta(pattern="^[a-z0-9-]{1,64}$", max_length=64)]
    doc_cid: CidField
    title: Annotated[str, Meta(max_length=300)]
    language: Annotated[str, Meta(max_length=16)]
    chunks: CountField


EVENT_TYPES: Final[dict[str, type[Struct]]] = {
    "community.created": CommunityCreated,
    "community.member.invited": MemberInvited,
    "community.member.joined": MemberJoined,
    "community.member.promoted": MemberPromoted,
    "community.member.demoted": MemberDemoted,
    "community.member.revoked": MemberRevoked,
    "community.member.left": MemberLeft,
    "community.policy.updated": PolicyUpdated,
    "community.root.succeeded": RootSucceeded,
    "node.manifest.updated": ManifestUpdated,
    "file.cid.advertised": CidAdvertised,
    "file.cid.unpinned": CidUnpinned,
    "rag.document.ingested": DocumentIngested,
    "chat.message.sent": MessageSent,
    "chat.message.delivered": MessageDelivered,
    "chat.message.read": MessageRead,
    "e2e.prekeys.published": PrekeysPublished,
    "e2e.session.broken": SessionBroken,
    "market.post.created": PostCreated,
    "market.post.updated": PostUpdated,
    "market.post.expired": PostExpired,
}
