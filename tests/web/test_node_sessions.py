"""Sessions over real TLS: sealed calls, and what happens when one side forgets, lies or is years off."""

import secrets
from types import SimpleNamespace

import aiohttp
import pytest
from msgspec import json

from hearthnet.adapters.tls_context import client_context, prepare_files, server_context
from hearthnet.adapters.transport_tls import PeerClient
from hearthnet.base import errors
from hearthnet.base.types import CommunityID, TrustLevel
from hearthnet.base.ulid import Ulids
from hearthnet.web.node_door import NODE_DOOR
from hearthnet.web.serving import Listener
from hearthnet.wire import canonical
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.session import MAX_AGE_S, REST_S
from hearthnet.wire.session_key import HELLO_PATH, OPEN_PATH, SESSION_HEADER
from web.test_bus_api import ASK, COMMUNITY, TWENTY_YEARS_S, Members, Node

A, B = KeyPair(b"a" * 32), KeyPair(b"b" * 32)


class Sealing(Node):
    """A node that shows its certificate when it calls; `sealed` counts the requests of sessions that it got."""

    def __init__(self, seed, folder, members, **options):
        super().__init__(seed, folder, members, **options)
        prepare_files(self.folder, self.key)
        new_id = Ulids(self.clock.now, secrets.token_bytes).new
        community = options.get("community", COMMUNITY)
        self.client = PeerClient(self.key, community, self.clock, new_id, certificates=self.folder)
        self.requests, self.lie = [], {}

        async def count(request, response):
            self.requests.append(dict(request.headers))
            response.headers.update(self.lie)

        self.app.on_response_prepare.append(count)

    @property
    def sealed(self):
        return [headers[SESSION_HEADER] for headers in self.requests if SESSION_HEADER in headers]

    @property
    def desk(self):
        return self.app[NODE_DOOR].sessions


@pytest.fixture
async def village(tmp_path):
    members = Members(A, B)
    async with Sealing(b"a", tmp_path, members) as first, Sealing(b"b", tmp_path, members) as second:
        yield SimpleNamespace(a=first, b=second, members=members, folder=tmp_path)


async def test_calls_are_sealed_once_they_are_frequent(village):
    for _ in range(4):
        assert await village.a.ask(village.b) == "water"
    assert village.b.sealed == []
    assert await village.a.client.sessions.open(village.b.peer)  # it is being opened already
    for text in ("one", "two"):
        assert await village.a.ask(village.b, text) == text
    assert [header.split(".")[1] for header in village.b.sealed] == ["1", "2"]
    assert [call.caller.node_id for call in village.b.library.calls] == [A.node_id] * 6
    assert not any("X-HearthNet-Signature" in headers for headers in village.b.requests if SESSION_HEADER in headers)


async def test_a_caller_that_shows_no_certificate_signs(village):
    bare = PeerClient(A, COMMUNITY, village.a.clock, Ulids(village.a.clock.now, secrets.token_bytes).new)
    assert not await bare.sessions.open(village.b.peer)
    assert (await bare.call(village.b.peer, "rag.query", "1.0", ASK))["output"]["text"] == "water"
    await bare.close()
    assert village.b.sealed == []


async def test_a_stranger_gets_no_session_and_may_still_try_to_call(village):
    async with Sealing(b"x", village.folder, village.members) as stranger:
        assert not await stranger.client.sessions.open(village.b.peer)
        with pytest.raises(errors.Unauthorized):
            await stranger.ask(village.b)
    assert len(village.b.desk) == 0


async def test_a_member_that_is_removed_is_refused_in_its_open_session(village):
    assert await village.a.client.sessions.open(village.b.peer)
    village.members.removed.add(A.node_id)
    with pytest.raises(errors.Revoked):
        await village.a.ask(village.b)
    assert len(village.b.sealed) == 1


@pytest.mark.parametrize("offset_s", [TWENTY_YEARS_S, -TWENTY_YEARS_S, -1_800_000_000.0])
async def test_clocks_do_not_matter(tmp_path, offset_s):
    members = Members(A, B)
    wrong = Sealing(b"a", tmp_path, members, now=1_800_000_000.0 + offset_s)
    async with wrong, Sealing(b"b", tmp_path, members) as right:
        assert await wrong.client.sessions.open(right.peer)
        assert await right.client.sessions.open(wrong.peer)
        assert await wrong.ask(right, "out") == "out"
        assert await right.ask(wrong, "in") == "in"
        assert len(right.sealed) == len(wrong.sealed) == 1


async def test_a_restarted_server_is_called_on_without_a_person(village):
    assert await village.a.client.sessions.open(village.b.peer)
    assert await village.a.ask(village.b, "before") == "before"
    port = village.b.peer.addresses[0].port
    await village.b.listener.close()
    reborn = Sealing(b"b", village.folder, village.members)
    listener = Listener(reborn.app)
    await listener.open()
    await listener.listen("127.0.0.1", port, "transport.port", server_context(reborn.folder, reborn.key))
    assert await village.a.ask(village.b, "after") == "after"  # refused as lost, then signed
    assert await village.a.client.sessions.open(village.b.peer)
    assert await village.a.ask(village.b, "again") == "again"
    assert len(reborn.sealed) == 2
    assert [call.caller.node_id for call in reborn.library.calls] == [A.node_id, A.node_id]
    await reborn.client.close()
    await listener.close()
    await reborn.bus.close()


async def test_a_session_is_renewed_when_it_gets_old(village):
    assert await village.a.client.sessions.open(village.b.peer)
    await village.a.ask(village.b)
    await village.a.clock.advance(MAX_AGE_S * 0.8)
    await village.b.clock.advance(MAX_AGE_S * 0.8)
    assert await village.a.client.sessions.open(village.b.peer)
    await village.a.ask(village.b)
    first, second = (header.split(".")[0] for header in village.b.sealed)
    assert first != second


async def test_a_server_that_forgot_early_is_answered_with_a_signature(village):
    assert await village.a.client.sessions.open(village.b.peer)
    await village.b.clock.advance(MAX_AGE_S + 1)  # only its time has passed
    assert await village.a.ask(village.b) == "water"
    assert len(village.b.library.calls) == 1


async def test_after_a_refusal_calls_are_signed_for_a_minute(village):
    village.members.levels[A.node_id] = TrustLevel.UNKNOWN
    assert not await village.a.client.sessions.open(village.b.peer)
    village.members.levels[A.node_id] = TrustLevel.MEMBER
    assert not await village.a.client.sessions.open(village.b.peer)
    assert await village.a.ask(village.b) == "water"
    await village.a.clock.advance(REST_S)
    assert await village.a.client.sessions.open(village.b.peer)


async def raw(village, headers, content=None, path="/bus/v1/call"):
    """One request as it stands; (status, error code, headers)."""
    content = canonical.encode(ASK) if content is None else content
    tls = client_context(B.node_id)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{village.b.url}{path}", data=content, headers=headers, ssl=tls) as response,
    ):
        body = await response.read()
        return response.status, json.decode(body).get("error"), response.headers


async def sealed_request(village):
    """The headers of a call that was sealed and answered."""
    assert await village.a.client.sessions.open(village.b.peer)
    await village.a.ask(village.b)
    return {name: value for name, value in village.b.requests[-1].items() if name.startswith("X-HearthNet-")}


async def test_a_sealed_call_that_is_sent_again_is_refused(village):
    headers = await sealed_request(village)
    status, code, _ = await raw(village, headers)
    assert (status, code) == (410, "expired")
    assert len(village.b.library.calls) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda h: h | {"X-HearthNet-Capability": "llm.chat"}, "invalid_signature"),
        (lambda h: h | {"X-HearthNet-Request-Id": "01J0000000000000000000000A"}, "invalid_signature"),
        (lambda h: h | {"X-HearthNet-Request-Id": "x"}, "schema_mismatch"),
        (lambda h: {k: v for k, v in h.items() if k != "X-HearthNet-Request-Id"}, "schema_mismatch"),
        (lambda h: h | {SESSION_HEADER: h[SESSION_HEADER][:-1] + "x"}, "invalid_signature"),
        (lambda h: h | {SESSION_HEADER: h[SESSION_HEADER].replace(".1.", ".2.")}, "invalid_signature"),
        (lambda h: h | {SESSION_HEADER: "A" * 22 + ".1." + "0" * 32}, "expired"),
        (lambda h: h | {SESSION_HEADER: "nonsense"}, "bad_request"),
    ],
)  # fmt: skip
async def test_a_sealed_call_that_was_changed_is_refused(village, change, code):
    headers = await sealed_request(village)
    assert (await raw(village, change(headers)))[1] == code
    assert (await raw(village, headers, content=b'{"input":{"query":"fire"}}'))[1] == "invalid_signature"
    assert len(village.b.library.calls) == 1


async def test_a_seal_for_a_call_is_none_for_an_endpoint(village):
    headers = await sealed_request(village)
    assert (await raw(village, headers, path="/sync/v2/reconcile"))[1] == "invalid_signature"


@pytest.mark.parametrize("path", [HELLO_PATH, OPEN_PATH])
@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"x" * 2000, b'{"session":"' + b"A" * 22 + b'","signature":""}']
)
async def test_garbage_opens_nothing(village, path, content):
    status, code, _ = await raw(village, {}, content=content, path=path)
    assert (status, code) in (
        (400, "bad_request"), (400, "schema_mismatch"), (410, "expired"), (413, "bad_request")
    )  # fmt: skip
    assert len(village.b.desk) == 0


async def test_a_reply_with_another_seal_is_not_believed(village):
    assert await village.a.client.sessions.open(village.b.peer)
    village.b.lie = {SESSION_HEADER: "A" * 22 + ".1." + "0" * 32}
    with pytest.raises(errors.InvalidSignature):
        await village.a.ask(village.b)


async def test_sealed_calls_and_signed_ones_keep_their_errors(village):
    assert await village.a.client.sessions.open(village.b.peer)
    with pytest.raises(errors.SchemaMismatch, match="colour"):
        await village.a.client.call(village.b.peer, "rag.query", "1.0", {"input": {"colour": 1}})
    with pytest.raises(errors.NotFound):
        await village.a.client.call(village.b.peer, "rag.nothing", "1.0", ASK)
    assert len(village.b.sealed) == 2


async def test_another_community_has_no_sessions_here(village):
    elsewhere = CommunityID(KeyPair(b"z" * 32).node_id)
    async with Sealing(b"a", village.folder, village.members, community=elsewhere) as guest:
        assert not await guest.client.sessions.open(village.b.peer)
