"""What a community agrees on and who belongs to it, as event data (M01, X02, decisions 8 and 27).

Every act names by `after` the newest acts that its author knew, so that all acts form a graph whose arrows nobody can
move afterwards: what an author was allowed to do is judged by its causal past (ADR 0010, `wire/membership.py`).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from hearthnet.base.types import Signature
from hearthnet.wire.canonical import JsonObject
from hearthnet.wire.field import CidField, CountField, NodeIdField, TimeField, UlidField

FRONTIER_MAX: Final = 32  # acts that one act names at most; the next one takes up the rest
CO_SIGNERS_MAX: Final = 100

LevelField = Literal["member", "trusted", "anchor"]
ReasonField = Literal["compromised", "inactive", "policy_violation", "other"]

_Quorum = Annotated[int, Meta(ge=1, le=CO_SIGNERS_MAX)]
_Name = Annotated[str, Meta(min_length=1, max_length=80)]
_After = Annotated[tuple[CidField, ...], Meta(max_length=FRONTIER_MAX)]
_SignatureField = Annotated[Signature, Meta(pattern="^ed25519:[A-Za-z0-9_-]{86}$", max_length=94)]


class CommunityPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """The rules of a community; the v3 groups stay as they came until the module that reads them types them."""

    min_signatures_to_invite: _Quorum = 1
    min_signatures_to_promote: _Quorum = 1
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


class KnownHead(Struct, frozen=True, forbid_unknown_fields=True):
    """The last event of a node's chain that whoever acts on it knows; number 0 = none."""

    author_epoch: CountField = 0
    author_seq: CountField = 0
    hash: Annotated[str, Meta(pattern="^(|blake3:[0-9a-f]{64})$", max_length=71)] = ""


class CoSigner(Struct, frozen=True, forbid_unknown_fields=True):
    """A member who agreed: its signature covers all other fields of the act (`wire/co_signature.py`)."""

    node_id: NodeIdField
    signature: _SignatureField


_CoSigners = Annotated[tuple[CoSigner, ...], Meta(max_length=CO_SIGNERS_MAX)]


class CommunityCreated(Struct, frozen=True, forbid_unknown_fields=True):
    """The first event of a community, by its founder, whose key is the community's root key."""

    name: _Name
    founder_node_id: NodeIdField
    policy: CommunityPolicy
    after: _After = ()


class MemberInvited(Struct, frozen=True, forbid_unknown_fields=True):
    """A member vouches for a newcomer."""

    invitee_node_id: NodeIdField
    display_name: Annotated[str, Meta(max_length=80)]
    initial_level: LevelField
    expires_at: TimeField
    after: _After = ()
    co_signers: _CoSigners = ()


class MemberJoined(Struct, frozen=True, forbid_unknown_fields=True):
    """The newcomer accepts; `node_manifest` is a signed object of its own."""

    invite_event_id: UlidField
    node_manifest: JsonObject
    after: _After = ()


class MemberPromoted(Struct, frozen=True, forbid_unknown_fields=True):
    """A member is trusted more."""

    target_node_id: NodeIdField
    new_level: Literal["trusted", "anchor"]
    target_head: KnownHead
    expires_at: TimeField
    after: _After = ()
    co_signers: _CoSigners = ()


class MemberDemoted(Struct, frozen=True, forbid_unknown_fields=True):
    """A member is trusted less; one may also step back oneself."""

    target_node_id: NodeIdField
    new_level: Literal["member", "trusted"]
    reason: ReasonField
    target_head: KnownHead
    expires_at: TimeField
    after: _After = ()
    co_signers: _CoSigners = ()


class MemberRevoked(Struct, frozen=True, forbid_unknown_fields=True):
    """A member is removed: what it wrote beyond `target_head` is void, whatever time it claims."""

    target_node_id: NodeIdField
    reason: ReasonField
    target_head: KnownHead
    expires_at: TimeField
    after: _After = ()
    co_signers: _CoSigners = ()


class MemberLeft(Struct, frozen=True, forbid_unknown_fields=True):
    """A member goes; who comes back needs a new invitation."""

    after: _After = ()


class PolicyUpdated(Struct, frozen=True, forbid_unknown_fields=True):
    """The root key, or its successor, replaces the rules."""

    policy: CommunityPolicy
    after: _After = ()


class RootSucceeded(Struct, frozen=True, forbid_unknown_fields=True):
    """An anchor takes over from the root key: handed over by it, or named by the majority of the anchors."""

    successor_node_id: NodeIdField
    reason: Literal["handed_over", "lost", "compromised"]
    expires_at: TimeField
    after: _After = ()
    co_signers: _CoSigners = ()
