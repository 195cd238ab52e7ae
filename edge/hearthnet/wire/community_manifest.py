"""A community's own description, derived from its log and signed by its root key or an anchor (M01)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.errors import BadRequest, InvalidSignature
from hearthnet.base.types import Signature
from hearthnet.wire import canonical
from hearthnet.wire.community import CommunityPolicy, LevelField
from hearthnet.wire.field import CommunityField, CountField, NodeIdField, TimeField
from hearthnet.wire.identity import Domain, KeyPair
from hearthnet.wire.signed_object import sign_object, verify_object

if TYPE_CHECKING:
    from collections.abc import Collection

    from hearthnet.base.types import NodeID


class Member(Struct, frozen=True):
    """One who belongs."""

    node_id: NodeIdField
    level: LevelField
    added_at: TimeField
    added_by: NodeIdField


class RevokedMember(Struct, frozen=True):
    """One who belonged."""

    node_id: NodeIdField
    revoked_at: TimeField


class CommunityManifest(Struct, frozen=True, kw_only=True):
    """The state of a community at `head_lamport`; `signed_by` names the signer, which the specification leaves open."""

    version: Literal[1] = 1
    community_id: CommunityField
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    root_key: NodeIdField
    created_at: TimeField
    lamport_at_creation: CountField
    policy: CommunityPolicy
    members: tuple[Member, ...]
    revoked: tuple[RevokedMember, ...] = ()
    head_lamport: CountField
    signed_by: NodeIdField
    signature: Signature = Signature("")


def sign_community_manifest(key: KeyPair, manifest: CommunityManifest) -> bytes:
    """The signed bytes; `manifest.signed_by` becomes the key's id."""
    draft = msgspec.structs.replace(manifest, signed_by=key.node_id)
    return sign_object(key, Domain.COMMUNITY_MANIFEST, manifest.community_id, msgspec.to_builtins(draft))


def open_community_manifest(data: bytes, *, anchors: Collection[NodeID] = ()) -> CommunityManifest:
    """A manifest signed by the root key, or by one of the anchors that the reader found by replaying the log.

    The members it lists vouch for nothing: whoever signs could list itself. Raises BadRequest, InvalidSignature.
    """
    fields = canonical.decode(data)
    manifest = canonical.fit(fields, CommunityManifest)
    if str(manifest.root_key) != str(manifest.community_id):
        raise BadRequest("the root key is not the community's")
    if manifest.signed_by != manifest.root_key and manifest.signed_by not in anchors:
        raise InvalidSignature("signed by neither the root key nor a known anchor")
    verify_object(fields, Domain.COMMUNITY_MANIFEST, manifest.community_id, manifest.signed_by)
    return manifest
