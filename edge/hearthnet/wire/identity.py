r"""Who signs: Ed25519 keys, their ids, and signatures that are valid in one place only (M01, decisions 1 and 2).

What is signed is `<domain>\n<community id>\n<canonical JSON>`: a signature made for an event is none for a call,
and one made in a community is none in another.
"""

from __future__ import annotations

import re
from base64 import b32encode, urlsafe_b64encode
from binascii import a2b_base64
from enum import Enum
from functools import lru_cache
from typing import ClassVar

from blake3 import blake3
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from hearthnet.base.errors import BadRequest, InvalidSignature, KeyFileError
from hearthnet.base.types import CommunityID, NodeID, ShortID, Signature

_PREFIX = "ed25519:"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_TEXT = re.compile(r"ed25519:[A-Za-z0-9_-]+", re.ASCII)
_NODE_ID_CHARS = len(_PREFIX) + 43
_SIGNATURE_CHARS = len(_PREFIX) + 86
_LAST_LETTERS = {_NODE_ID_CHARS: frozenset("AEIMQUYcgkosw048"), _SIGNATURE_CHARS: frozenset("AQgw")}


class Domain(Enum):
    """What a signature is made for."""

    def __init__(self, tag: str) -> None:
        self.prefix = f"{tag}\n".encode()  # kept: Enum.value is slow

    EVENT = "hearthnet/event/2"
    CALL = "hearthnet/rpc/1"
    REPLY = "hearthnet/rpc-reply/1"
    EXCHANGE = "hearthnet/exchange/1"
    SESSION = "hearthnet/session/1"
    NODE_MANIFEST = "hearthnet/node-manifest/1"
    COMMUNITY_MANIFEST = "hearthnet/community-manifest/1"
    SNAPSHOT = "hearthnet/snapshot/1"
    EXPORT = "hearthnet/export/1"
    CO_SIGNATURE = "hearthnet/co-signature/1"
    INVITE = "hearthnet/invite/1"
    INVITE_PROOF = "hearthnet/invite-proof/1"


class KeyPair:
    """The device key of a node; it never leaves the process and never shows in a message."""

    SEED_BYTES: ClassVar = 32
    __slots__ = ("_secret", "node_id", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != self.SEED_BYTES:
            raise KeyFileError(f"a key has {self.SEED_BYTES} bytes, not {len(seed)}")
        public, self._secret = crypto_sign_seed_keypair(seed)
        self.public = public
        self.node_id = node_id_of(public)

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes, for the key file only."""
        return self._secret[: self.SEED_BYTES]

    def sign(self, domain: Domain, community: CommunityID, body: bytes) -> Signature:
        """Sign canonical bytes for one domain in one community."""
        signed = crypto_sign(signing_input(domain, community, body), self._secret)
        return Signature(_to_text(signed[:crypto_sign_BYTES]))

    def derive(self, context: str) -> bytes:
        """32 secret bytes for one purpose, which tell nothing of the key (BLAKE3 key derivation)."""
        return blake3(self.seed, derive_key_context=f"hearthnet 2026 {context}").digest()

    def __repr__(self) -> str:
        return f"KeyPair({short_id(self.node_id)})"


def verify(node_id: NodeID, domain: Domain, community: CommunityID, body: bytes, signature: Signature) -> None:
    """Raise InvalidSignature unless `node_id` signed exactly this, for this domain and community."""
    try:
        raw = _from_text(signature, _SIGNATURE_CHARS)
        crypto_sign_open(raw + signing_input(domain, community, body), public_key_of(node_id))
    except BadRequest as error:
        raise InvalidSignature(error.detail) from error
    except BadSignatureError as error:
        raise InvalidSignature("the signature does not fit the signer and the content") from error


def signing_input(domain: Domain, community: CommunityID, body: bytes) -> bytes:
    """The bytes that are signed, and hashed for an event's identity."""
    return b"%b%b\n%b" % (domain.prefix, community.encode(), body)


def node_id_of(public: bytes) -> NodeID:
    """The full id of a 32 byte public key."""
    return NodeID(_to_text(public))


@lru_cache(maxsize=4096)
def public_key_of(node_id: NodeID) -> bytes:
    """The 32 bytes of a full id; raises BadRequest for every other form, also the short one."""
    return _from_text(node_id, _NODE_ID_CHARS)


def short_id(node_id: NodeID) -> ShortID:
    """The form for people, `ed25519:XXXX-XXXX-XXXX-XXXX` (80 bits); never valid on the wire."""
    letters = b32encode(public_key_of(node_id)[:10]).decode()
    return ShortID(_PREFIX + "-".join(letters[at : at + 4] for at in range(0, 16, 4)))


def _to_text(data: bytes) -> str:
    return _PREFIX + urlsafe_b64encode(data).decode().rstrip("=")


def _from_text(text: str, chars: int) -> bytes:
    if len(text) != chars or not _TEXT.fullmatch(text):
        raise BadRequest(f"not {_PREFIX} and {chars - len(_PREFIX)} base64url characters")
    if text[-1] not in _LAST_LETTERS[chars]:  # unused bits set: a second spelling of the same id
        raise BadRequest("base64url with unused bits set")
    return a2b_base64(text[len(_PREFIX) :].encode().translate(_STANDARD) + b"==")
