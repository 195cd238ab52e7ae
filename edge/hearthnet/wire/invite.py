"""Signed invitations as text, link and QR code, and a fresh device's own card (M13, ADR 0013).

A *named* invitation is the specification's: it names the invitee, and its event is in the log already. A *bearer*
invitation carries a one-time secret instead: the inviter's box, and only that, counts its uses and then names the
newcomer in the log. The secret makes a key, and the newcomer signs its own id with it, so that nobody on the way can
use what was shown for another node. Both forms are one signed object, under 500 bytes.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final, Literal

import msgspec
from blake3 import blake3
from msgspec import Meta, Struct

from hearthnet.base.errors import BadRequest, HearthNetError, InviteeMismatch, InviteExpired, InviteInvalid
from hearthnet.base.types import CommunityID, NodeID, Signature
from hearthnet.wire import canonical
from hearthnet.wire.community import LevelField
from hearthnet.wire.field import CommunityField, NodeIdField, TimeField
from hearthnet.wire.identity import Domain, KeyPair, public_key_of, verify
from hearthnet.wire.manifest import Endpoint
from hearthnet.wire.signed_object import sign_object, verify_object
from hearthnet.wire.timestamp import parse_time

INVITE_MAX_BYTES: Final = 500  # of the JSON; as text a third more
SECRET_BYTES: Final = 16
_INVITE_SCHEME: Final = "hearthnet://v1/"
_IDENTITY_SCHEME: Final = "hearthnet-id://v1/"
_LINK: Final = re.compile(r"https?://[^\s#]{1,300}/join/?#([A-Za-z0-9_-]+)", re.ASCII)
_TEXT_MAX: Final = 2000
_FIX: Final = "scan or copy the whole invitation again, or ask for a new one"


class InviteBlob(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An invitation; `invitee_node_id` is empty in a bearer invitation, `secret` in a named one."""

    schema_version: Literal[1] | None = None
    community_id: CommunityField
    community_name: Annotated[str, Meta(min_length=1, max_length=80)]
    inviter_node_id: NodeIdField
    invitee_node_id: Annotated[NodeID, Meta(pattern="^(|ed25519:[A-Za-z0-9_-]{43})$", max_length=51)] = NodeID("")
    secret: Annotated[str, Meta(pattern="^(|[A-Za-z0-9_-]{22})$", max_length=22)] = ""
    initial_level: LevelField = "member"
    bootstrap_endpoints: Annotated[tuple[Endpoint, ...], Meta(min_length=1, max_length=4)]
    expires_at: TimeField
    signature: Signature = Signature("")

    @staticmethod
    def make_secret(random: bytes) -> str:
        """The text of a one-time secret from 16 random bytes."""
        return _text_of(random[:SECRET_BYTES])

    @property
    def bearer_key(self) -> KeyPair:
        """The one-time key of a bearer invitation; its id is how the inviter's box knows the invitation."""
        return KeyPair(blake3(_bytes_of(self.secret), derive_key_context="hearthnet 2026 invite key").digest())


class IdentityCard(Struct, frozen=True):
    """A fresh device shows who it is, so that it can be invited by name; nothing vouches for it but being there."""

    node_id_full: NodeIdField
    display_name: Annotated[str, Meta(max_length=80)]


def write_invite(key: KeyPair, invite: InviteBlob) -> str:
    """The signed invitation as `hearthnet://v1/...`; what does not fit into 500 bytes is left out.

    First endpoints beyond the first go, then the end of the community's name; the manifest tells both. Raises
    BadRequest when it still does not fit.
    """
    draft = msgspec.structs.replace(invite, schema_version=1, inviter_node_id=key.node_id)
    while (
        len(data := sign_object(key, Domain.INVITE, draft.community_id, msgspec.to_builtins(draft))) >= INVITE_MAX_BYTES
    ):
        if len(draft.bootstrap_endpoints) > 1:
            draft = msgspec.structs.replace(draft, bootstrap_endpoints=draft.bootstrap_endpoints[:-1])
        elif len(draft.community_name) > 1:
            draft = msgspec.structs.replace(draft, community_name=draft.community_name[:-1])
        else:
            raise BadRequest("the address is too long for an invitation", fix="use an IP address")
    return _INVITE_SCHEME + _text_of(data)


def link_of(invite: str, address: str) -> str:
    """A link to the inviter's own box that a phone's camera opens; `address` like `http://192.168.1.2:7860`.

    The invitation stands behind the `#`: browsers do not send that, so that it crosses no wire in the clear.
    """
    return f"{address.rstrip('/')}/join#{invite.removeprefix(_INVITE_SCHEME)}"


def read_invite(text: str, *, reader: NodeID | None = None, now: float | None = None) -> InviteBlob:
    """An invitation from its text or link; raises InviteInvalid, InviteeMismatch, InviteExpired.

    `reader` must be the invitee of a named one. Expiry is asked only with `now`: a box without a clock leaves it to the
    inviter's box, which asks it in any case.
    """
    text = "".join(text.split())
    link = _LINK.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if link is None and not text.startswith(_INVITE_SCHEME):
        raise InviteInvalid("no invitation: neither hearthnet://v1/... nor a link to /join", fix=_FIX)
    try:
        fields = _fields_in(link[1] if link else text.removeprefix(_INVITE_SCHEME))
        invite = canonical.fit(fields, InviteBlob)
        if invite.schema_version != 1 or bool(invite.invitee_node_id) is bool(invite.secret):
            raise BadRequest("it names neither or both of invitee and secret, or is of another version")
        public_key_of(NodeID(invite.community_id))
        expires = parse_time(invite.expires_at)
        verify_object(fields, Domain.INVITE, invite.community_id, invite.inviter_node_id)
    except HearthNetError as error:
        raise InviteInvalid(f"the invitation is damaged: {error.detail}", fix=_FIX) from error
    if reader is not None and invite.invitee_node_id not in ("", reader):
        raise InviteeMismatch(
            "the invitation is for another device", fix="show the card of this device and ask for one"
        )
    if now is not None and now > expires:
        raise InviteExpired(f"the invitation ended at {invite.expires_at}", fix="ask for a new invitation")
    return invite


def prove_bearer(invite: InviteBlob, newcomer: NodeID) -> Signature:
    """The newcomer's proof that it holds the invitation, worth nothing for any other node."""
    return invite.bearer_key.sign(Domain.INVITE_PROOF, invite.community_id, _proven(newcomer))


def check_proof(bearer: NodeID, community: CommunityID, newcomer: NodeID, proof: Signature) -> None:
    """Raise InvalidSignature unless the holder of the one-time key `bearer` meant this newcomer."""
    verify(bearer, Domain.INVITE_PROOF, community, _proven(newcomer), proof)


def write_identity(card: IdentityCard) -> str:
    """The card as `hearthnet-id://v1/...`."""
    return _IDENTITY_SCHEME + _text_of(canonical.encode(card))


def read_identity(text: str) -> IdentityCard:
    """A device's card; raises InviteInvalid."""
    text = "".join(text.split())
    if not text.startswith(_IDENTITY_SCHEME):
        raise InviteInvalid("no device card: it begins with hearthnet-id://v1/", fix="scan the card of the new device")
    try:
        card = canonical.fit(_fields_in(text.removeprefix(_IDENTITY_SCHEME)), IdentityCard)
        public_key_of(card.node_id_full)
    except HearthNetError as error:
        raise InviteInvalid(
            f"the card is damaged: {error.detail}", fix="scan the card of the new device again"
        ) from error
    return card


def _proven(newcomer: NodeID) -> bytes:
    return canonical.encode({"node_id": newcomer})


def _fields_in(text: str) -> canonical.JsonObject:
    """The JSON object in base64url; raises BadRequest for a second spelling of it too."""
    fields = canonical.decode_canonical(_bytes_of(text), max_bytes=INVITE_MAX_BYTES)
    if not isinstance(fields, dict):
        raise BadRequest("not an object")
    return fields


def _text_of(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _bytes_of(text: str) -> bytes:
    if len(text) > _TEXT_MAX or not re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII):
        raise BadRequest("not base64url")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise BadRequest("cut off") from error
    if _text_of(data) != text:
        raise BadRequest("base64url with unused bits set")
    return data
