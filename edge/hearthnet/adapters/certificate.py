"""The certificates of a node, made of its own Ed25519 key, the same bytes every time (X01, decision 3).

It names a key, nothing else: who calls compares the key with the NodeID it wants. So it is valid from 1970 to 9999
and no clock, however wrong, can make it expire.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from blake3 import blake3

from hearthnet.wire.identity import short_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from hearthnet.wire.identity import KeyPair

_ALWAYS = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NEVER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)  # RFC 5280: no end
# Signs what nodes show when they call. Everybody can make this key: it proves nothing and is there only because a TLS
# server hands on no certificate without an issuer it knows. What proves is the node key in the certificate.
_EVERYBODY = blake3(b"hearthnet issuer of caller certificates, known to everybody").digest()
_ISSUER = "everybody.hearthnet.local"


def make_certificate(key: KeyPair) -> tuple[bytes, bytes]:
    """What a node is reached with, signed by itself: certificate and private key as PEM."""
    # ruff: noqa: PLC0415  8 MB that only the first start of a node needs
    from cryptography.hazmat.primitives import serialization

    private = _private_key(key.seed)
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    host = f"{short_id(key.node_id).removeprefix('ed25519:').lower()}.hearthnet.local"
    return _make(private, host, private, host), secret


def make_caller_certificate(key: KeyPair) -> bytes:
    """What a node shows when it calls, as PEM; the private key is the same."""
    host = f"{short_id(key.node_id).removeprefix('ed25519:').lower()}.hearthnet.local"
    return _make(_private_key(key.seed), host, _private_key(_EVERYBODY), _ISSUER)


def make_issuer_certificate() -> bytes:
    """The issuer of all callers' certificates, for the server's side, as PEM."""
    issuer = _private_key(_EVERYBODY)
    return _make(issuer, _ISSUER, issuer, _ISSUER, is_issuer=True)


def _private_key(seed: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed)


def _make(
    subject: Ed25519PrivateKey, host: str, issuer: Ed25519PrivateKey, issuer_host: str, *, is_issuer: bool = False
) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    public = subject.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(host))
        .issuer_name(name(issuer_host))
        .public_key(public)
        .serial_number(int.from_bytes(blake3(public.public_bytes_raw()).digest(16), "big") >> 1 or 1)
        .not_valid_before(_ALWAYS)
        .not_valid_after(_NEVER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_issuer, path_length=0 if is_issuer else None), critical=True)
        .sign(issuer, None)
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
