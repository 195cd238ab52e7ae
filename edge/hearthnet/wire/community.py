"""What a community agrees on and who belongs to it, as event data (M01, X02)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from hearthnet.wire.canonical import JsonObject
from hearthnet.wire.field import CountField, NodeIdField, TimeField, UlidField

LevelField = Literal["member", "trusted", "anchor"]

_Quorum = Annotated[int, Meta(ge=1, le=100)]
_Name = Annotated[str, Meta(min_length=1, max_length=80)]


class CommunityPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """The rules of a community; the v3 groups stay as they came until the module that reads them types them."""

    min_signatures_to_invite: _Quorum = 1
    min_signatures_to_demote: _Quorum = 3
    min_signatures_to_revoke: _Quorum = 3
    min_signatures_to_federate: _Quorum = 3
    capability_token_ttl_seconds: CountField = 86_400
    federation_enabled: bool = True
    default_member_can_invite: bool = True
    research: JsonObject = {}
    fedlearn: JsonObject = {}
    civdef: JsonObject = {}
    evidence: JsonObject = {}


class CommunityCreated(Struct, frozen=True, forbid_unknown_fields=True):
    """The first event of a community, by its founder, whose key is the community's root key."""

    name: _Name
    founder_node_id: NodeIdField
    policy: CommunityPolicy


class MemberInvited(Struct, frozen=True, forbid_unknown_fields=True):
    """A member vouches for a newcomer."""

    invitee_node_id: NodeIdField
    display_name: Annotated[str, Meta(max_length=80)]
    initial_level: LevelField
    expires_at: TimeField


class MemberJoined(Struct, frozen=True, forbid_unknown_fields=True):
    """The newcomer accepts; `node_manifest` is a signed object of its own."""

    invite_event_id: UlidField
    node_manifest: JsonObject


class PolicyUpdated(Struct, frozen=True, forbid_unknown_fields=True):
    """The root key replaces the rules."""

    policy: CommunityPolicy
