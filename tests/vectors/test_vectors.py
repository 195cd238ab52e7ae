"""The golden vectors: reproduced by our code, and confirmed by libraries that know nothing of it."""

import base64
import json
import struct
from pathlib import Path

import pytest
import rfc8785
from blake3 import blake3
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from hearthnet.base.errors import HearthNetError
from hearthnet.wire import canonical
from hearthnet.wire.cid import read_blob_manifest
from hearthnet.wire.community_manifest import open_community_manifest
from hearthnet.wire.event import open_event, verify_event
from hearthnet.wire.frame import SseDecoder, StreamFrame, decode_ws
from hearthnet.wire.identity import public_key_of
from hearthnet.wire.manifest import open_node_manifest
from hearthnet.wire.reply import open_reply, verify_reply
from hearthnet.wire.rpc import open_call, verify_call
from hearthnet.wire.stream_message import decode_message, encode_message
from vectors.make_vectors import FILES, text_of

HERE = Path(__file__).parent


def load(name):
    return json.loads((HERE / f"{name}.json").read_text(encoding="ascii"))


def from_base64(text):
    return base64.urlsafe_b64decode(text.removeprefix("ed25519:") + "==")


def check_signature(signer, signed_hex, signature):
    """With PyNaCl alone; raises BadSignatureError."""
    VerifyKey(from_base64(signer)).verify(bytes.fromhex(signed_hex), from_base64(signature))


def split_signed(signed_hex):
    domain, community, body = bytes.fromhex(signed_hex).split(b"\n", 2)
    return domain.decode(), community.decode(), json.loads(body), body


@pytest.mark.parametrize("name", FILES)
def test_our_code_still_writes_the_same_bytes(name):
    assert (HERE / f"{name}.json").read_text(encoding="ascii") == text_of(name)


# ---- confirmed by other libraries ----------------------------------------------------------------------------


def test_canonical_forms_agree_with_the_standard_and_an_independent_library():
    vectors = load("canonical")
    for case in vectors["cases"]:
        assert rfc8785.dumps(json.loads(case["json"])).hex() == case["canonical_hex"], case["name"]
    standard = vectors["independent"]
    for number in standard["numbers"]:
        value = struct.unpack(">d", bytes.fromhex(number["ieee754"]))[0]
        assert canonical.encode(value).decode() == number["text"]
        assert canonical.decode(number["text"].encode()) == value
    assert (
        canonical.encode(canonical.decode(standard["object"]["json"].encode())).hex()
        == standard["object"]["canonical_hex"]
    )
    ordered = json.loads(canonical.encode(canonical.decode(standard["keys"]["json"].encode())))
    assert list(ordered.values()) == standard["keys"]["values_in_order"]


def test_ids_and_signatures_agree_with_pynacl_and_the_standard():
    vectors = load("identity")
    for key in vectors["keys"]:
        public = bytes(SigningKey(bytes.fromhex(key["seed_hex"])).verify_key)
        assert public.hex() == key["public_hex"]
        assert from_base64(key["node_id"]) == public
        letters = base64.b32encode(public[:10]).decode()
        assert key["short_id"].removeprefix("ed25519:").replace("-", "") == letters
    for case in vectors["signatures"]:
        signed = f"{case['domain']}\n{case['community_id']}\n".encode() + bytes.fromhex(case["body_hex"])
        assert signed.hex() == case["signed_hex"]
        assert SigningKey(bytes.fromhex(case["seed_hex"])).sign(signed).signature == from_base64(case["signature"])
    for case in vectors["independent"]["ed25519"]:
        key = SigningKey(bytes.fromhex(case["secret_hex"]))
        assert bytes(key.verify_key).hex() == case["public_hex"]
        assert key.sign(bytes.fromhex(case["message_hex"])).signature.hex() == case["signature_hex"]


def test_content_ids_agree_with_blake3_and_its_published_vectors():
    vectors = load("cid")
    for case in vectors["contents"]:
        assert f"blake3:{blake3(bytes.fromhex(case['hex'])).hexdigest()}" == case["cid"]
    for case in vectors["manifests"]:
        assert f"blake3:{blake3(bytes.fromhex(case['hashed_hex'])).hexdigest()}" == case["cid"]
        assert read_blob_manifest(bytes.fromhex(case["wire_hex"])).cid == case["cid"]
    for case in vectors["independent"]["blake3"]:
        data = bytes(at % 251 for at in range(case["input_len"]))
        assert blake3(data).hexdigest() == case["hash"]


def test_events_agree_with_other_libraries_and_form_a_chain():
    prev = None
    for number, case in enumerate(load("event")["chain"], start=1):
        fields = case["fields"]
        assert rfc8785.dumps(fields).hex() == case["wire_hex"]
        domain, community, unsigned, body = split_signed(case["signed_hex"])
        assert (domain, community) == ("hearthnet/event/2", fields["community_id"])
        assert {**unsigned, "signature": fields["signature"]} == fields
        assert rfc8785.dumps(unsigned) == body
        assert f"blake3:{blake3(bytes.fromhex(case['signed_hex'])).hexdigest()}" == case["hash"]
        check_signature(fields["author"], case["signed_hex"], fields["signature"])
        assert (fields["author_seq"], fields.get("prev")) == (number, prev)
        prev = case["hash"]


def test_co_signatures_agree_with_pynacl():
    for case in load("event")["co_signatures"]:
        domain, community, agreed, body = split_signed(case["signed_hex"])
        assert (domain, community) == ("hearthnet/co-signature/1", case["community_id"])
        assert rfc8785.dumps(agreed) == body
        assert "co_signers" not in agreed
        check_signature(case["signer"], case["signed_hex"], case["signature"])


def test_calls_and_replies_agree_with_pynacl():
    vectors = load("rpc")
    for case in vectors["calls"]:
        headers = {name.removeprefix("X-HearthNet-"): value for name, value in case["headers"].items()}
        _, community, envelope, _ = split_signed(case["signed_hex"])
        check_signature(headers["From"], case["signed_hex"], headers["Signature"])
        assert community == headers["Community"] == envelope["community"]
        assert rfc8785.dumps(envelope["body"]).hex() == case["body_hex"]
    for case in vectors["replies"]:
        headers = {name.removeprefix("X-HearthNet-"): value for name, value in case["headers"].items()}
        check_signature(headers["From"], case["signed_hex"], headers["Signature"])
        assert split_signed(case["signed_hex"])[2]["status"] == case["status"]


def test_manifests_agree_with_other_libraries():
    for case in [*load("manifest")["node"], *load("manifest")["community"]]:
        assert rfc8785.dumps(case["fields"]).hex() == case["wire_hex"]
        assert {**split_signed(case["signed_hex"])[2], "signature": case["fields"]["signature"]} == case["fields"]
        check_signature(case["signer"], case["signed_hex"], case["fields"]["signature"])


def test_a_changed_vector_does_not_verify():
    case = load("event")["chain"][0]
    with pytest.raises(BadSignatureError):
        check_signature(case["fields"]["author"], case["signed_hex"][:-2] + "00", case["fields"]["signature"])


# ---- read by our code ----------------------------------------------------------------------------------------


def test_our_readers_accept_every_vector():
    for case in load("event")["chain"]:
        sealed = open_event(bytes.fromhex(case["wire_hex"]))
        verify_event(sealed)
        assert sealed.hash == case["hash"]
    for case in load("rpc")["calls"]:
        call = open_call(case["headers"].items(), bytes.fromhex(case["body_hex"]))
        verify_call(call, receiver=call.head.community)
        assert call.headers() == case["headers"]
    for case in load("rpc")["replies"]:
        reply = open_reply(case["headers"].items(), case["status"], bytes.fromhex(case["body_hex"]))
        verify_reply(reply, case["community_id"], sender=reply.head.sender, request_id=reply.head.request_id)
        assert reply.headers() == case["headers"]
    assert (
        open_node_manifest(bytes.fromhex(load("manifest")["node"][0]["wire_hex"]), now=None).display_name
        == "Kirchgasse 4"
    )
    assert open_community_manifest(bytes.fromhex(load("manifest")["community"][0]["wire_hex"])).name == "Kirchgasse"


def test_our_decoders_read_every_frame():
    vectors = load("frame")
    for case in vectors["stream"]:
        frame = StreamFrame(case["event"], case["data"], case["seq"])
        assert (
            SseDecoder().feed(bytes.fromhex(case["sse_hex"])) == [frame] == [decode_ws(bytes.fromhex(case["ws_hex"]))]
        )
    for case in vectors["stream_messages"]:
        assert rfc8785.dumps(case["fields"]).hex() == case["ws_hex"]
        assert encode_message(decode_message(bytes.fromhex(case["ws_hex"]))).hex() == case["ws_hex"]


def test_our_readers_refuse_what_must_be_refused():
    def read_event(data):
        verify_event(open_event(data))

    refused = [
        *((canonical.decode, case["hex"]) for case in load("canonical")["refused"]),
        *((read_event, case["hex"]) for case in load("event")["refused"]),
    ]
    for read, data in refused:
        with pytest.raises(HearthNetError):
            read(bytes.fromhex(data))
    for text in load("identity")["not_node_ids"]:
        with pytest.raises(HearthNetError):
            public_key_of(text)
