"""Signed calls: what is signed, where it is carried, and what is refused (X01)."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import BadRequest, InvalidSignature, SchemaMismatch, Unauthorized
from hearthnet.wire import canonical
from hearthnet.wire.identity import Domain, KeyPair
from hearthnet.wire.rpc import CallHead, SignedCall, open_call, open_envelope, sign_call, verify_call

KEY, OTHER = KeyPair(bytes(range(32))), KeyPair(bytes(32))
HEAD = CallHead(
    capability="rag.query", version="1.0", request_id="01HZX3M7Q8N5V2K4T6W9YB0CDE", sender=KEY.node_id, community=KEY.node_id,
    timestamp="2026-11-21T06:13:00Z", epoch="A" * 22, to=OTHER.node_id,
)  # fmt: skip
BODY = {"params": {"corpus": "system"}, "input": {"query": "Wasser", "k": 5, "weight": 0.5}}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BODIES = st.fixed_dictionaries(
    {"params": st.dictionaries(TEXT, TEXT), "input": st.dictionaries(TEXT, TEXT | st.floats(-9, 9))}
)


def carried(call, **changes):
    """The call as a server sees it, with headers replaced, added or (None) left out."""
    headers = {**call.headers(), **changes}
    return [(name, value) for name, value in headers.items() if value is not None], canonical.encode(call.body)


@given(BODIES, st.sampled_from(["", HEAD.epoch]), st.sampled_from(["", HEAD.to]))
def test_a_call_survives_headers_and_envelope_and_verifies(body, epoch, to):
    call = sign_call(KEY, msgspec.structs.replace(HEAD, epoch=epoch, to=to), body)
    by_http = open_call(*carried(call))
    by_socket = open_envelope(canonical.decode(canonical.encode(call.envelope())), call.signature)
    assert by_http == by_socket == call
    verify_call(by_http, receiver=OTHER.node_id)


def test_the_signed_object_is_the_specifications():
    call = sign_call(KEY, msgspec.structs.replace(HEAD, epoch="", to=""), BODY)
    assert call.envelope() == {
        "capability": "rag.query", "version": "1.0", "request_id": HEAD.request_id, "from": KEY.node_id, "community": KEY.node_id,
        "timestamp": "2026-11-21T06:13:00Z", "body": BODY,
    }  # fmt: skip
    assert call.signature == KEY.sign(Domain.CALL, KEY.node_id, canonical.encode(call.envelope()))
    assert call.headers() == {
        "X-HearthNet-Capability": "rag.query", "X-HearthNet-Capability-Version": "1.0", "X-HearthNet-Request-Id": HEAD.request_id,
        "X-HearthNet-From": KEY.node_id, "X-HearthNet-Community": KEY.node_id, "X-HearthNet-Timestamp": "2026-11-21T06:13:00Z",
        "X-HearthNet-Signature": call.signature,
    }  # fmt: skip


def test_the_body_may_be_spelled_in_any_way():
    call = sign_call(KEY, HEAD, BODY)
    headers, _ = carried(call)
    opened = open_call([(name.upper(), value) for name, value in headers], json.dumps(BODY, indent=2).encode())
    verify_call(opened, receiver=OTHER.node_id)
    assert opened == call


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Capability", "rag.ingest"), ("Capability-Version", "1.1"), ("Request-Id", "01HZX3M7Q8N5V2K4T6W9YB0CDF"),
        ("From", OTHER.node_id), ("Community", OTHER.node_id), ("Timestamp", "2026-11-21T06:13:01Z"), ("Epoch", "B" * 22),
        ("Epoch", None), ("To", KEY.node_id), ("To", None), ("Signature", KEY.sign(Domain.REPLY, KEY.node_id, b"{}")),
    ],
)  # fmt: skip
def test_no_header_can_be_changed_after_signing(name, value):
    opened = open_call(*carried(sign_call(KEY, HEAD, BODY), **{f"X-HearthNet-{name}": value}))
    with pytest.raises(InvalidSignature):
        verify_call(opened, receiver=OTHER.node_id)


def test_the_body_cannot_be_changed_after_signing():
    headers = sign_call(KEY, HEAD, BODY).headers().items()
    verify_call(open_call(headers, canonical.encode(BODY)), receiver=OTHER.node_id)
    with pytest.raises(InvalidSignature):
        verify_call(open_call(headers, canonical.encode({**BODY, "more": 1})), receiver=OTHER.node_id)
    envelope = {**sign_call(KEY, HEAD, BODY).envelope(), "body": {**BODY, "more": 1}}
    with pytest.raises(InvalidSignature):
        verify_call(open_envelope(envelope, sign_call(KEY, HEAD, BODY).signature), receiver=OTHER.node_id)


def test_a_call_signed_for_another_node_is_refused():
    with pytest.raises(Unauthorized):
        verify_call(sign_call(KEY, HEAD, BODY), receiver=KEY.node_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"Capability": None}, {"Capability": "Rag.Query"}, {"Capability": "rag"}, {"Capability-Version": "1"},
        {"Request-Id": "1"}, {"From": "ed25519:AAAA-BBBB-CCCC-DDDD"}, {"Community": "here"}, {"Timestamp": "now"},
        {"Epoch": "short"}, {"To": "me"}, {"From": None},
    ],
)  # fmt: skip
def test_a_malformed_or_missing_header_is_refused(changes):
    call = sign_call(KEY, HEAD, BODY)
    with pytest.raises(SchemaMismatch):
        open_call(*carried(call, **{f"X-HearthNet-{name}": value for name, value in changes.items()}))


def test_a_header_that_stands_twice_is_refused():
    headers, content = carried(sign_call(KEY, HEAD, BODY))
    with pytest.raises(BadRequest, match="twice"):
        open_call([*headers, ("x-hearthnet-from", OTHER.node_id)], content)
    with pytest.raises(BadRequest, match="twice"):
        open_call([*headers, headers[-1]], content)


@pytest.mark.parametrize("signature", [None, "", "x" * 95])
def test_an_unsigned_call_is_refused(signature):
    with pytest.raises(InvalidSignature):
        open_call(*carried(sign_call(KEY, HEAD, BODY), **{"X-HearthNet-Signature": signature}))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"a":1,"a":2}', b"\xff"])
def test_a_body_that_is_no_object_is_refused(content):
    headers, _ = carried(sign_call(KEY, HEAD, BODY))
    with pytest.raises(BadRequest):
        open_call(headers, content)
    with pytest.raises(BadRequest):
        open_envelope({"capability": "rag.query"}, "x")


def test_unrelated_headers_are_nobodys_business():
    headers, content = carried(sign_call(KEY, HEAD, BODY))
    assert isinstance(open_call([*headers, ("Accept", "*/*"), ("Accept", "text/html")], content), SignedCall)
