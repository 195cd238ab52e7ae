"""Signed calls between nodes, as HTTP headers with a body or as one envelope (X01, decisions 2 and 26).

Signed is the canonical object {capability, version, request_id, from, community, timestamp, body} with two optional
members: `epoch`, issued by the receiver, makes the call fresh without clocks; `to` binds it to one receiver. A call
with neither, as the bare specification has it, is accepted within 60 s by any node that it reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.errors import BadRequest, InvalidSignature, Unauthorized
from hearthnet.base.types import NodeID, Signature
from hearthnet.wire import canonical
from hearthnet.wire.canonical import JsonObject
from hearthnet.wire.field import CommunityField, EpochField, NodeIdField, TimeField, UlidField
from hearthnet.wire.identity import Domain, KeyPair, verify

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADER_PREFIX = "X-HearthNet-"
_SIGNATURE_MAX_CHARS = 94

_HEADER_NAMES = {
    "capability": "Capability",
    "version": "Capability-Version",
    "request_id": "Request-Id",
    "from": "From",
    "community": "Community",
    "timestamp": "Timestamp",
    "epoch": "Epoch",
    "to": "To",
}
_SIGNATURE_HEADER = f"{HEADER_PREFIX}Signature"
_NAMED = {**{f"{HEADER_PREFIX}{name}": field for field, name in _HEADER_NAMES.items()}, _SIGNATURE_HEADER: "signature"}
_FIELD_OF = {name.lower(): field for name, field in _NAMED.items()}


class CallHead(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename={"sender": "from"}
):
    """Who calls what, when, and where."""

    capability: Annotated[str, Meta(pattern=r"^[a-z_]+(\.[a-z_]+)+$", max_length=96)]
    version: Annotated[str, Meta(pattern=r"^\d{1,4}\.\d{1,4}$", max_length=9)]
    request_id: UlidField
    sender: NodeIdField
    community: CommunityField
    timestamp: TimeField
    epoch: EpochField = ""
    to: NodeIdField = NodeID("")


class SignedCall(Struct, frozen=True):
    """A call with its signature; `body` is {params, input}, `form` its canonical bytes."""

    head: CallHead
    body: JsonObject
    signature: Signature
    form: bytes

    def headers(self) -> dict[str, str]:
        """The HTTP headers that carry head and signature."""
        fields = msgspec.to_builtins(self.head)
        named = {f"{HEADER_PREFIX}{name}": fields[field] for field, name in _HEADER_NAMES.items() if field in fields}
        return {**named, _SIGNATURE_HEADER: self.signature}

    def envelope(self) -> JsonObject:
        """The signed object, as a web socket carries it."""
        return {**msgspec.to_builtins(self.head), "body": self.body}

    def signed(self) -> bytes:
        """The canonical bytes under the signature; `body` sorts before every field of the head."""
        return b'{"body":%b,%b' % (self.form, canonical.encode_plain(self.head)[1:])


def sign_call(key: KeyPair, head: CallHead, body: JsonObject, form: bytes = b"") -> SignedCall:
    """Sign a call; `head.sender` must be the key's id, `form` the body's bytes if known. Raises NotCanonical."""
    form = form or canonical.encode(body)
    call = SignedCall(head, body, Signature(""), form)
    return SignedCall(head, body, key.sign(Domain.CALL, head.community, call.signed()), form)


def open_call(headers: Iterable[tuple[str, str]], content: bytes) -> SignedCall:
    """Read a call's headers and JSON body, without believing them yet; raises BadRequest, InvalidSignature."""
    fields, signature = read_headers(headers)
    body, form = canonical.decode_with_form(content)
    return _opened({**fields, "body": body}, signature, form)


def read_headers(headers: Iterable[tuple[str, str]]) -> tuple[dict[str, str], str]:
    """The fields of the head and the signature, neither checked yet; raises BadRequest for one that stands twice."""
    fields: dict[str, str] = {}
    for name, value in headers:
        field = _NAMED.get(name) or _FIELD_OF.get(name.lower())
        if field is None:
            continue
        if field in fields:
            raise BadRequest(f"the header {name} stands twice")
        fields[field] = value
    signature = fields.pop("signature", "")
    return fields, signature


def open_envelope(envelope: JsonObject, signature: str) -> SignedCall:
    """Read a call from a web socket's first message; raises BadRequest, InvalidSignature."""
    return _opened(dict(envelope), signature)


def verify_call(call: SignedCall, *, receiver: NodeID) -> None:
    """Raise unless the sender signed exactly this and meant `receiver`; freshness is `replay.ReplayGuard`'s."""
    verify(call.head.sender, Domain.CALL, call.head.community, call.signed(), call.signature)
    if call.head.to not in ("", receiver):
        raise Unauthorized("the call was signed for another node")


def _opened(fields: JsonObject, signature: str, form: bytes = b"") -> SignedCall:
    body = fields.pop("body", None)
    if not isinstance(body, dict):
        raise BadRequest("the body is not an object", fix='send {"params": {...}, "input": {...}}')
    if not signature or len(signature) > _SIGNATURE_MAX_CHARS:
        raise InvalidSignature("the call carries no signature")
    return SignedCall(canonical.fit(fields, CallHead), body, Signature(signature), form or canonical.encode(body))
