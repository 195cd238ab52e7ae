"""Keys, ids and signatures that are valid for one purpose in one community (M01)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey

from hearthnet.base.errors import BadRequest, InvalidSignature, KeyFileError
from hearthnet.wire.identity import Domain, KeyPair, node_id_of, public_key_of, short_id, signing_input, verify

KEY = KeyPair(bytes(range(32)))
OTHER = KeyPair(bytes(32))
HOME = KEY.node_id


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.sampled_from(Domain))
def test_signatures_verify_and_agree_with_plain_pynacl(seed, body, domain):
    key = KeyPair(seed)
    signature = key.sign(domain, HOME, body)
    verify(key.node_id, domain, HOME, body, signature)
    reference = SigningKey(seed)
    assert bytes(reference.verify_key) == key.public == public_key_of(key.node_id)
    assert VerifyKey(key.public).verify(reference.sign(signing_input(domain, HOME, body)))
    assert key.seed == seed


@pytest.mark.parametrize(
    ("node_id", "domain", "community", "body"),
    [
        (OTHER.node_id, Domain.EVENT, HOME, b"{}"),
        (KEY.node_id, Domain.CALL, HOME, b"{}"),
        (KEY.node_id, Domain.EVENT, OTHER.node_id, b"{}"),
        (KEY.node_id, Domain.EVENT, HOME, b"[]"),
        ("ed25519:" + "A" * 43, Domain.EVENT, HOME, b"{}"),
    ],
)
def test_a_signature_is_valid_nowhere_else(node_id, domain, community, body):
    signature = KEY.sign(Domain.EVENT, HOME, b"{}")
    with pytest.raises(InvalidSignature):
        verify(node_id, domain, community, body, signature)


@pytest.mark.parametrize(
    "signature", ["", "ed25519:", "ed25519:" + "A" * 85, "ed25519:" + "A" * 86, "ed25519:" + "!" * 86, "x" * 94],
)  # fmt: skip
def test_an_empty_or_malformed_signature_never_verifies(signature):
    with pytest.raises(InvalidSignature):
        verify(KEY.node_id, Domain.EVENT, HOME, b"{}", signature)


def test_a_second_spelling_of_a_signature_is_refused():
    signature = KEY.sign(Domain.EVENT, HOME, b"{}")
    last = {"A": "B", "Q": "R", "g": "h", "w": "x"}[signature[-1]]  # sets one of the four unused bits
    with pytest.raises(InvalidSignature):
        verify(KEY.node_id, Domain.EVENT, HOME, b"{}", signature[:-1] + last)


@given(st.binary(min_size=32, max_size=32))
def test_ids_have_43_characters_and_read_back(public):
    node_id = node_id_of(public)
    assert len(node_id) == len("ed25519:") + 43
    assert public_key_of(node_id) == public


@pytest.mark.parametrize(
    "text", ["", KEY.node_id[:-1], KEY.node_id + "A", KEY.node_id[8:], short_id(KEY.node_id), KEY.node_id[:-1] + "=",
             KEY.node_id[:-1] + "\n", "ed25519:" + "é" * 43, "ed25519:" + "A" * 42 + "B"],
)  # fmt: skip
def test_no_other_form_is_an_id(text):
    with pytest.raises(BadRequest):
        public_key_of(text)


def test_the_short_form_shows_ten_bytes():
    assert short_id(node_id_of(bytes(32))) == "ed25519:AAAA-AAAA-AAAA-AAAA"
    assert short_id(node_id_of(bytes(10) + b"\xff" * 22)) == "ed25519:AAAA-AAAA-AAAA-AAAA"
    assert short_id(node_id_of(bytes(9) + b"\xff" * 23)) != "ed25519:AAAA-AAAA-AAAA-AAAA"


def test_a_key_never_shows_its_secret():
    assert repr(KEY) == f"KeyPair({short_id(KEY.node_id)})"
    assert not hasattr(KEY, "__dict__")


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_seed_of_another_length_is_no_key(seed):
    with pytest.raises(KeyFileError):
        KeyPair(seed)
