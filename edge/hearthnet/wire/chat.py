"""Direct messages as events: sealed for one node, acknowledged by it (M10, M23, decision 10).

Every member keeps and hands on the sealed event; only the recipient reads it. Clear are sender, recipient, time and
size. What is inside names sender, recipient and message again, so that a sealed text cannot be passed off in another
place. Encryption is Olm (3DH and double ratchet, see the ADR); its two message kinds are 0 (opens a session) and 1.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from hearthnet.base.errors import DecryptFailed
from hearthnet.wire import canonical
from hearthnet.wire.field import CidField, ClientIdField, CountField, NodeIdField, TimeField, UlidField

BODY_MAX_CHARS: Final = 8000
ATTACHMENTS_MAX: Final = 8
PREKEYS_MAX: Final = 200

_Key = Annotated[
    str, Meta(pattern="^[A-Za-z0-9+/]{43}$", max_length=43)
]  # X25519, base64 without padding as Olm has it
_Sealed = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$", max_length=60_000)]  # base64url without padding
_Body = Annotated[str, Meta(max_length=BODY_MAX_CHARS)]


class SealHeader(Struct, frozen=True, forbid_unknown_fields=True):
    """What the recipient needs to open a message."""

    kind: Annotated[int, Meta(ge=0, le=1)]
    identity_pubkey: _Key  # the sender's


class SealedBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The text, for one node only."""

    e2e: Literal[True]
    header: SealHeader
    ciphertext: _Sealed


class MessageSent(Struct, frozen=True, forbid_unknown_fields=True):
    """A message to one node; `client_id` makes sending it twice one message."""

    client_id: ClientIdField
    recipient: NodeIdField
    body: SealedBody


class MessageDelivered(Struct, frozen=True, forbid_unknown_fields=True):
    """The recipient has opened the message and keeps it."""

    target_event_id: UlidField
    delivered_at: TimeField


class MessageRead(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody of the recipient's household has seen it; only sent where the household wants that."""

    target_event_id: UlidField
    read_at: TimeField


class SignedPrekey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that many may open a session with; the event's signature covers it."""

    pubkey: _Key


class OneTimePrekey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key with which one named node may open one session: no server is there to hand out each key once."""

    node_id: NodeIdField
    pubkey: _Key


class PrekeysPublished(Struct, frozen=True, forbid_unknown_fields=True):
    """How sessions with the author are opened; the newest such event counts."""

    identity_pubkey: _Key
    signed_prekey: SignedPrekey
    one_time_prekeys: Annotated[tuple[OneTimePrekey, ...], Meta(max_length=PREKEYS_MAX)] = ()


class SessionBroken(Struct, frozen=True, forbid_unknown_fields=True):
    """The author could not open a message of `peer` and asks for it anew, in a new session."""

    peer: NodeIdField
    target_event_id: UlidField


class Attachment(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that belongs to a message: a blob of sealed bytes, and the key that opens it."""

    cid: CidField
    name: Annotated[str, Meta(min_length=1, max_length=120)]
    size_bytes: CountField = 0
    key: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$", max_length=43)] | Literal[""] = ""


class Letter(Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed."""

    sender: NodeIdField
    recipient: NodeIdField
    client_id: ClientIdField
    body: _Body
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=ATTACHMENTS_MAX)] = ()


def encode_letter(letter: Letter) -> bytes:
    """The bytes to seal."""
    return canonical.encode(letter)


def decode_letter(data: bytes, *, sender: str, sent: MessageSent) -> Letter:
    """The letter in an opened event; raises DecryptFailed when it was written for another event."""
    letter = canonical.decode_as(data, Letter)
    if (letter.sender, letter.recipient, letter.client_id) != (sender, sent.recipient, sent.client_id):
        raise DecryptFailed("what was sealed belongs to another message")
    return letter
