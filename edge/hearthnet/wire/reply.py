"""Signed replies and the error body (X01, contract "Errors")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.errors import HearthNetError, InvalidSignature, error_from_wire
from hearthnet.base.types import CommunityID, NodeID, Signature
from hearthnet.wire import canonical
from hearthnet.wire.field import CountField, EpochField, NodeIdField, TimeField, UlidField
from hearthnet.wire.identity import Domain, KeyPair, verify
from hearthnet.wire.rpc import HEADER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEADER_NAMES = {"request_id": "Request-Id", "from": "From", "timestamp": "Timestamp", "epoch": "Epoch"}
_FIELD_OF = {f"{HEADER_PREFIX}{name}".lower(): field for field, name in _HEADER_NAMES.items()}
_SIGNATURE_HEADER = f"{HEADER_PREFIX}Signature"
_VERIFIED_VERBS = (".post", ".invite", ".revoke", ".ingest", ".expire")


class ReplyHead(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """Which call is answered, by whom; `epoch` is what the caller puts into its next call (decision 26)."""

    request_id: UlidField
    sender: NodeIdField
    timestamp: TimeField
    epoch: EpochField


class _SignedFields(Struct, frozen=True, rename={"sender": "from"}):
    """What is signed behind the body, which sorts before all of it."""

    epoch: str
    sender: NodeID
    request_id: str
    status: int
    timestamp: str


class SignedReply(Struct, frozen=True):
    """A reply with its HTTP status; `body` is {output, meta} or an error body, `form` its canonical bytes."""

    head: ReplyHead
    status: int
    body: Any
    signature: Signature
    form: bytes

    def headers(self) -> dict[str, str]:
        """The HTTP headers that carry head and signature."""
        fields = msgspec.to_builtins(self.head)
        return {
            **{f"{HEADER_PREFIX}{name}": fields[field] for field, name in _HEADER_NAMES.items()},
            _SIGNATURE_HEADER: self.signature,
        }

    def signed(self) -> bytes:
        """The canonical bytes under the signature."""
        head = self.head
        fields = _SignedFields(head.epoch, head.sender, head.request_id, self.status, head.timestamp)
        return b'{"body":%b,%b' % (self.form, canonical.encode_plain(fields)[1:])


def sign_reply(
    key: KeyPair, community: CommunityID, head: ReplyHead, status: int, body: Any, form: bytes = b""
) -> SignedReply:
    """Sign a reply; `head.sender` must be the key's id, `form` the body's canonical bytes. Raises NotCanonical."""
    reply = SignedReply(head, status, body, Signature(""), form or canonical.encode(body))
    return msgspec.structs.replace(reply, signature=key.sign(Domain.REPLY, community, reply.signed()))


def open_reply(headers: Iterable[tuple[str, str]], status: int, content: bytes) -> SignedReply:
    """Read a reply without believing it yet; raises BadRequest."""
    named = {name.lower(): value for name, value in headers}
    fields = {field: named[name] for name, field in _FIELD_OF.items() if name in named}
    signature = Signature(named.get(_SIGNATURE_HEADER.lower(), ""))
    body, form = canonical.decode_with_form(content)
    return SignedReply(canonical.fit(fields, ReplyHead), status, body, signature, form)


def verify_reply(reply: SignedReply, community: CommunityID, *, sender: NodeID, request_id: str) -> None:
    """Raise InvalidSignature unless `sender` signed exactly this as the answer to that request."""
    if reply.head.sender != sender or reply.head.request_id != request_id:
        raise InvalidSignature("the reply belongs to another call or node")
    verify(sender, Domain.REPLY, community, reply.signed(), reply.signature)


def needs_verified_reply(capability: str) -> bool:
    """Whether a caller must refuse an unsigned reply, because it changes what the community holds."""
    return capability == "chat.send" or capability.endswith(_VERIFIED_VERBS)


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """The body of every reply that failed; members this node does not know are ignored."""

    error: Annotated[str, Meta(max_length=64)]
    message: str = ""
    fix: str = ""
    retry_after_ms: CountField | None = None
    alt_capabilities: tuple[str, ...] = ()
    alt_nodes: tuple[str, ...] = ()
    schema_hash_expected: str = ""

    @classmethod
    def of(cls, error: HearthNetError) -> ErrorBody:
        """What the caller is told about an error."""
        return cls(error.code, error.detail, error.fix, error.retry_after_ms)

    def to_error(self) -> HearthNetError:
        """The error to raise on the calling side."""
        return error_from_wire(self.error, self.message, self.retry_after_ms)
