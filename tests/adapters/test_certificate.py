"""The certificate names a key for ever, and the reader of certificates cannot be shown another one."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.adapters.certificate import make_caller_certificate, make_certificate, make_issuer_certificate
from hearthnet.base.errors import BadRequest
from hearthnet.wire.certificate import node_id_in
from hearthnet.wire.identity import KeyPair, node_id_of, short_id

KEY = KeyPair(bytes(range(32)))
PEM, SECRET = make_certificate(KEY)
DER = ssl.PEM_cert_to_DER_cert(PEM.decode())


def test_it_is_signed_by_the_node_key_and_never_expires():
    certificate = x509.load_der_x509_certificate(DER)
    certificate.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes)
    assert certificate.public_key().public_bytes_raw() == KEY.public
    assert certificate.not_valid_before_utc.year == 1970
    assert certificate.not_valid_after_utc.year == 9999
    name = short_id(KEY.node_id).removeprefix("ed25519:").lower() + ".hearthnet.local"
    assert certificate.subject.rfc4514_string() == f"CN={name}"


def test_the_same_key_gives_the_same_bytes():
    assert make_certificate(KEY) == (PEM, SECRET)


def test_the_reader_finds_the_key_that_tls_uses():
    assert node_id_in(DER) == KEY.node_id


def test_a_certificate_with_another_kind_of_key_is_refused():
    private = ec.generate_private_key(ec.SECP256R1())
    real = x509.load_der_x509_certificate(DER)
    other = (
        x509.CertificateBuilder(real.issuer, real.subject, private.public_key(), 1, real.not_valid_before_utc,
                                real.not_valid_after_utc)
        .sign(private, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )  # fmt: skip
    with pytest.raises(BadRequest):
        node_id_in(other)


def test_indefinite_lengths_which_tls_would_accept_are_refused():
    # the issuer gets an indefinite length and content that looks like the rest of another node's certificate
    victim = KeyPair(b"v" * 32)
    key_info = bytes.fromhex("302a300506032b6570032100") + victim.public
    head = bytes.fromhex("a003020102020101300506032b6570")
    fields = head + b"\x30\x80" + b"\x30\x00" * 2 + key_info + b"\x00\x00"
    inner = b"\x30" + bytes([len(fields)]) + fields
    forged = b"\x30" + bytes([len(inner)]) + inner
    with pytest.raises(BadRequest):
        node_id_in(forged)


@given(st.binary(max_size=300))
def test_garbage_is_refused(data):
    with pytest.raises(BadRequest):
        node_id_in(data)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_one_changed_byte_never_shows_a_key_that_is_not_there(at, value):
    changed = DER[:at] + bytes([value]) + DER[at + 1 :]
    try:
        found = node_id_in(changed)
    except BadRequest:
        return
    start = DER.index(KEY.public)
    assert found == node_id_of(changed[start : start + 32])


@given(st.integers(0, len(DER) - 1))
def test_a_cut_certificate_is_refused(size):
    with pytest.raises(BadRequest):
        node_id_in(DER[:size])


def test_what_a_caller_shows_carries_the_node_key_under_the_issuer_of_everybody():
    shown = x509.load_pem_x509_certificate(make_caller_certificate(KEY))
    issuer = x509.load_pem_x509_certificate(make_issuer_certificate())
    shown.verify_directly_issued_by(issuer)
    assert node_id_in(shown.public_bytes(serialization.Encoding.DER)) == KEY.node_id
    assert shown.not_valid_after_utc.year == 9999
    assert issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert make_caller_certificate(KEY) == make_caller_certificate(KEY)
