"""Whose key a certificate carries, read from its DER form (X01, decision 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.base.errors import BadRequest
from hearthnet.wire.identity import node_id_of

if TYPE_CHECKING:
    from hearthnet.base.types import NodeID

_ED25519_KEY = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo (RFC 8410) up to the key's 32 bytes
_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0  # DER tags


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
