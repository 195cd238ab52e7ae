"""The certificate of a node: self-signed with its own Ed25519 key, the same bytes every time (X01, decision 3).

It names a key, nothing else: who calls compares the key with the NodeID it wants. So it is valid from 1970 to 9999
and no clock, however wrong, can make it expire.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from blake3 import blake3

from hearthnet.base.errors import BadRequest
from hearthnet.wire.identity import node_id_of, short_id

if TYPE_CHECKING:
    from hearthnet.base.types import NodeID
    from hearthnet.wire.identity import KeyPair

_ALWAYS = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NEVER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)  # RFC 5280: no end
_ED25519_KEY = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo (RFC 8410) up to the key's 32 bytes
_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0  # DER tags


def make_certificate(key: KeyPair) -> tuple[bytes, bytes]:
    """Certificate and private key as PEM."""
    # ruff: noqa: PLC0415  8 MB that only the first start of a node needs
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    host = f"{short_id(key.node_id).removeprefix('ed25519:').lower()}.hearthnet.local"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(int.from_bytes(blake3(key.public).digest(16), "big") >> 1 or 1)
        .not_valid_before(_ALWAYS)
        .not_valid_after(_NEVER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, None)
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret


def node_id_in(certificate: bytes) -> NodeID:
    """The NodeID whose key a DER certificate carries; raises BadRequest for every other kind of certificate."""
    outer, _ = _element(certificate, 0, _SEQUENCE)
    fields, _ = _element(outer, 0, _SEQUENCE)
    _, at = _element(fields, 0, _VERSION)
    _, at = _element(fields, at, _INTEGER)
    for _ in range(4):  # signature algorithm, issuer, validity, subject
        _, at = _element(fields, at, _SEQUENCE)
    info = fields[at : at + len(_ED25519_KEY) + 32]
    if not info.startswith(_ED25519_KEY) or len(info) != len(_ED25519_KEY) + 32:
        raise BadRequest("the certificate carries no Ed25519 key")
    return node_id_of(info[len(_ED25519_KEY) :])


def _element(data: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """Content of the DER element at `at`, and where the next one begins; raises BadRequest.

    Strict, because TLS reads the same bytes: an indefinite length, which it would accept, could show us another key.
    """
    if len(data) < at + 2 or data[at] != tag:
        raise BadRequest("not a certificate")
    size, start = data[at + 1], at + 2
    if size >= 0x80:
        digits = data[start : start + (size & 0x7F)]
        size = int.from_bytes(digits)
        start += len(digits)
        if not digits or digits[0] == 0 or size < 0x80:
            raise BadRequest("the certificate is not in DER")
    if start + size > len(data):
        raise BadRequest("the certificate is cut off")
    return data[start : start + size], start + size
