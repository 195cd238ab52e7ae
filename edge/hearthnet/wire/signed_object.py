"""JSON objects that carry their own `signature` member: manifests now, invitations and tokens later (M01)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.base.errors import InvalidSignature
from hearthnet.base.types import CommunityID, NodeID, Signature
from hearthnet.wire import canonical
from hearthnet.wire.identity import Domain, KeyPair, verify

if TYPE_CHECKING:
    from hearthnet.wire.canonical import JsonObject


def sign_object(key: KeyPair, domain: Domain, community: CommunityID, fields: JsonObject) -> bytes:
    """The object's canonical bytes, its `signature` member covering all others; raises NotCanonical."""
    return canonical.encode({**fields, "signature": key.sign(domain, community, _unsigned(fields))})


def verify_object(fields: JsonObject, domain: Domain, community: CommunityID, signer: NodeID) -> None:
    """Raise InvalidSignature unless `signer` signed every other member of the object as it was decoded."""
    signature = fields.get("signature")
    if not isinstance(signature, str):
        raise InvalidSignature("the object carries no signature")
    verify(signer, domain, community, _unsigned(fields), Signature(signature))


def _unsigned(fields: JsonObject) -> bytes:
    return canonical.encode({name: value for name, value in fields.items() if name != "signature"})
