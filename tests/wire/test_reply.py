"""Signed replies and error bodies (X01)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import (
    WIRE_CODES,
    BadRequest,
    InternalError,
    InvalidSignature,
    RateLimited,
    SchemaMismatch,
)
from hearthnet.wire import canonical
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.reply import ErrorBody, ReplyHead, needs_verified_reply, open_reply, sign_reply, verify_reply

KEY, OTHER = KeyPair(bytes(range(32))), KeyPair(bytes(32))
ULID = "01HZX3M7Q8N5V2K4T6W9YB0CDE"
HEAD = ReplyHead(request_id=ULID, sender=KEY.node_id, timestamp="2026-11-21T06:13:00Z", epoch="A" * 22)
BODY = {"output": {"chunks": []}, "meta": {"ms": 1.5}}
REPLY = sign_reply(KEY, OTHER.node_id, HEAD, 200, BODY)


def carried(reply, **changes):
    headers = {**reply.headers(), **{f"X-HearthNet-{name}": value for name, value in changes.items()}}
    return (
        [(name, value) for name, value in headers.items() if value is not None],
        reply.status,
        canonical.encode(reply.body),
    )


@given(st.dictionaries(st.text("abc"), st.floats(-1, 1)), st.integers(200, 599))
def test_a_reply_survives_the_wire_and_verifies(body, status):
    reply = open_reply(*carried(sign_reply(KEY, OTHER.node_id, HEAD, status, body)))
    verify_reply(reply, OTHER.node_id, sender=KEY.node_id, request_id=ULID)
    assert (reply.head, reply.status, reply.body) == (HEAD, status, body)


@pytest.mark.parametrize(
    "change",
    [{"status": 500}, {"form": b"{}"}, {"head": msgspec.structs.replace(HEAD, epoch="B" * 22)}, {"signature": ""}],
)
def test_nothing_of_a_reply_can_be_changed(change):
    with pytest.raises(InvalidSignature):
        verify_reply(msgspec.structs.replace(REPLY, **change), OTHER.node_id, sender=KEY.node_id, request_id=ULID)


def test_another_body_on_the_wire_is_refused():
    headers, status, content = carried(REPLY)
    verify_reply(open_reply(headers, status, content), OTHER.node_id, sender=KEY.node_id, request_id=ULID)
    with pytest.raises(InvalidSignature):
        verify_reply(open_reply(headers, status, b"{}"), OTHER.node_id, sender=KEY.node_id, request_id=ULID)


@pytest.mark.parametrize(
    ("community", "sender", "request_id"),
    [
        (KEY.node_id, KEY.node_id, ULID),
        (OTHER.node_id, OTHER.node_id, ULID),
        (OTHER.node_id, KEY.node_id, ULID[:-1] + "F"),
    ],
)
def test_a_reply_answers_one_call_of_one_node_in_one_community(community, sender, request_id):
    with pytest.raises(InvalidSignature):
        verify_reply(REPLY, community, sender=sender, request_id=request_id)


@pytest.mark.parametrize("changes", [{"Epoch": None}, {"From": "me"}, {"Request-Id": "1"}])
def test_a_reply_without_its_headers_is_refused(changes):
    with pytest.raises(SchemaMismatch):
        open_reply(*carried(REPLY, **changes))


def test_an_unsigned_reply_can_be_read_but_not_verified():
    reply = open_reply(*carried(REPLY, Signature=None))
    assert reply.body == BODY
    with pytest.raises(InvalidSignature):
        verify_reply(reply, OTHER.node_id, sender=KEY.node_id, request_id=ULID)


def test_replies_that_change_the_community_must_be_verified():
    verified = ["market.post", "community.invite", "community.revoke", "rag.ingest", "market.expire", "chat.send"]
    assert all(map(needs_verified_reply, verified))
    assert not any(map(needs_verified_reply, ["rag.query", "llm.chat", "market.list", "chat.history"]))


@pytest.mark.parametrize("kind", WIRE_CODES.values())
def test_every_error_crosses_the_wire_as_itself(kind):
    told = canonical.decode_as(canonical.encode(ErrorBody.of(kind("what happened", fix="do this"))), ErrorBody)
    raised = told.to_error()
    assert (type(raised), raised.detail, told.fix) == (kind, "what happened", "do this")


def test_an_error_body_has_the_specifications_form():
    assert msgspec.to_builtins(ErrorBody.of(RateLimited("slow down", retry_after_ms=250))) == {
        "error": "rate_limited", "message": "slow down", "retry_after_ms": 250,
    }  # fmt: skip


def test_errors_of_other_versions_are_still_errors():
    told = canonical.decode_as(b'{"error":"shard_unavailable","alt_nodes":["x"],"later":1}', ErrorBody)
    assert isinstance(told.to_error(), InternalError)
    with pytest.raises(BadRequest):
        canonical.decode_as(b'{"message":"no code"}', ErrorBody)
