r"""How two nodes agree on a session key, and what is sealed with it (X01, decision 28).

    caller                                           server
    Hello {from, to, community, nonce, share}   ->
                                                <-   Offer {session, nonce, share}
    Opening {session, signature}                ->
                                                <-   Accepted {session, mac}

The signature of the caller covers all of it and the hashes of both certificates as each side saw them, so that it is
worth nothing on another connection. The server has proven its key in the pinned handshake; the MAC of `Accepted`
proves that both have the same key. Keys are BLAKE3 derived from the X25519 secret and the signed bytes, one for each
direction. A seal is a keyed BLAKE3 of 16 bytes over the number of words, the words, each with `\n`, and the content.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from blake3 import blake3
from msgspec import Meta, Struct
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError

from hearthnet.base.errors import BadRequest, InvalidSignature
from hearthnet.wire import canonical
from hearthnet.wire.field import CommunityField, NodeIdField

if TYPE_CHECKING:
    from collections.abc import Callable

NONCE_BYTES: Final = 32
SESSION_HEADER: Final = "X-HearthNet-Session"
SESSION_LOST: Final = "lost"  # this header of a reply when the server does not know the session
HELLO_PATH: Final = "/session/v1/hello"
OPEN_PATH: Final = "/session/v1/open"
SEAL_BYTES: Final = 16
_CALL_CONTEXT = "hearthnet session 1, caller to server"
_REPLY_CONTEXT = "hearthnet session 1, server to caller"

NonceField = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$", max_length=43)]
SessionField = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{22}$", max_length=22)]
SealField = Annotated[str, Meta(pattern="^[0-9a-f]{32}$", max_length=32)]


class Hello(Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """The caller asks for a session."""

    sender: NodeIdField
    to: NodeIdField
    community: CommunityField
    nonce: NonceField
    share: NonceField  # X25519 public key of this session
    version: Literal[1] = 1


class Offer(Struct, frozen=True, forbid_unknown_fields=True):
    """The server is willing."""

    session: SessionField
    nonce: NonceField
    share: NonceField


class Opening(Struct, frozen=True, forbid_unknown_fields=True):
    """The caller proves that it means both certificates and both nonces."""

    session: SessionField
    signature: Annotated[str, Meta(max_length=94)]


class Accepted(Struct, frozen=True, forbid_unknown_fields=True):
    """The server has the same key."""

    session: SessionField
    mac: SealField


class Certificates(Struct, frozen=True):
    """BLAKE3 of both certificates in DER, as hexadecimal digits."""

    caller: str
    server: str

    @classmethod
    def of(cls, caller: bytes, server: bytes) -> Certificates:
        """From the DER bytes."""
        return cls(blake3(caller).hexdigest(), blake3(server).hexdigest())


class Share:
    """One side's half of the agreement, for one session."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._secret = random_bytes(32)
        self.public = to_text(crypto_scalarmult_base(self._secret))

    def agree(self, other: str, signed: bytes) -> SessionKeys:
        """The keys of both directions; raises InvalidSignature for a share that makes every secret the same."""
        try:
            secret = crypto_scalarmult(self._secret, from_text(other))
        except (CryptoError, ValueError) as error:
            raise InvalidSignature("the share of the key is worthless") from error
        material = secret + signed
        return SessionKeys(
            blake3(material, derive_key_context=_CALL_CONTEXT).digest(),
            blake3(material, derive_key_context=_REPLY_CONTEXT).digest(),
        )


class SessionKeys(Struct, frozen=True):
    """32 bytes for each direction."""

    calls: bytes
    replies: bytes


def transcript(hello: Hello, offer: Offer, certificates: Certificates) -> bytes:
    """The bytes that the caller signs and both derive their keys from."""
    return canonical.encode(
        {
            "hello": msgspec.to_builtins(hello),
            "offer": msgspec.to_builtins(offer),
            "certificates": msgspec.to_builtins(certificates),
        }
    )


def seal(key: bytes, words: tuple[str, ...], content: bytes) -> str:
    """The MAC of a call or reply; raises BadRequest for words that could be read in two ways."""
    text = "\n".join(words)
    if text.count("\n") != len(words) - 1:
        raise BadRequest("a line break in a name")
    return blake3(f"{len(words)}\n{text}\n".encode() + content, key=key).hexdigest(SEAL_BYTES)


def verify_seal(key: bytes, words: tuple[str, ...], content: bytes, mac: str) -> None:
    """Raise InvalidSignature unless the MAC was made with this key for exactly this."""
    if not mac.isascii() or not hmac.compare_digest(seal(key, words, content), mac):
        raise InvalidSignature("the seal does not fit the session and the content")


def to_text(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def from_text(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
