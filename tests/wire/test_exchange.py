"""A signed POST is bound to its path, its bytes, its receiver and its purpose."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base import errors
from hearthnet.base.types import CommunityID
from hearthnet.wire import canonical
from hearthnet.wire.exchange import EXCHANGE_NAME, EXCHANGE_VERSION, open_exchange, sign_exchange, verify_exchange
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.rpc import CallHead, open_call, sign_call, verify_call

ME, YOU, OTHER = KeyPair(b"m" * 32), KeyPair(b"y" * 32), KeyPair(b"o" * 32)
COMMUNITY = CommunityID(KeyPair(b"c" * 32).node_id)
PATH = "/sync/v2/reconcile"
HEAD = CallHead(
    capability=EXCHANGE_NAME, version=EXCHANGE_VERSION, request_id="01J0000000000000000000000A", sender=ME.node_id,
    community=COMMUNITY, timestamp="2026-01-01T00:00:00Z", to=YOU.node_id,
)  # fmt: skip


def received(headers, path=PATH, content=b"\x00data", receiver=YOU):
    call = open_exchange(headers.items(), path, content)
    verify_exchange(call, receiver=receiver.node_id)
    return call


@given(st.binary(max_size=200))
def test_what_was_signed_is_received(content):
    sent = sign_exchange(ME, HEAD, PATH, content)
    assert received(sent.headers(), content=content) == sent


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_other_bytes_are_refused(content, other):
    headers = sign_exchange(ME, HEAD, PATH, content).headers()
    if content != other:
        with pytest.raises(errors.InvalidSignature):
            received(headers, content=other)
    assert received(headers, content=content).head == HEAD


def test_another_path_and_another_receiver_are_refused():
    headers = sign_exchange(ME, HEAD, PATH, b"\x00data").headers()
    with pytest.raises(errors.InvalidSignature):
        received(headers, path="/sync/v2/other")
    with pytest.raises(errors.Unauthorized):
        received(headers, receiver=OTHER)
    for_nobody = sign_exchange(ME, msgspec.structs.replace(HEAD, to=""), PATH, b"\x00data").headers()
    with pytest.raises(errors.Unauthorized):
        received(for_nobody)


@pytest.mark.parametrize("name", ["Signature", "From", "To", "Request-Id", "Community", "Timestamp"])
def test_no_header_may_be_missing_or_changed(name):
    headers = sign_exchange(ME, HEAD, PATH, b"\x00data").headers()
    missing = {key: value for key, value in headers.items() if key != f"X-HearthNet-{name}"}
    with pytest.raises((errors.BadRequest, errors.InvalidSignature, errors.Unauthorized)):
        received(missing)
    changed = headers | {f"X-HearthNet-{name}": "01J0000000000000000000000B"}
    with pytest.raises((errors.BadRequest, errors.InvalidSignature)):
        received(changed)


def test_a_call_and_a_post_are_not_taken_for_each_other():
    post = sign_exchange(ME, HEAD, PATH, b"\x00data")
    as_call = open_call(post.headers().items(), canonical.encode(post.body))
    with pytest.raises(errors.InvalidSignature):
        verify_call(as_call, receiver=YOU.node_id)
    call = sign_call(ME, HEAD, post.body)
    with pytest.raises(errors.InvalidSignature):
        received(call.headers())
