"""Subscriptions between nodes over TLS: long poll by GET and by POST, and the web socket."""

import asyncio
import secrets
from types import SimpleNamespace

import aiohttp
import pytest
from msgspec import json

from hearthnet.adapters.tls_context import client_context
from hearthnet.base import errors
from hearthnet.base.types import CommunityID
from hearthnet.base.ulid import Ulids
from hearthnet.mesh.pubsub import SUBSCRIBE_PATH, PubSub
from hearthnet.web.node_door import NODE_DOOR
from hearthnet.wire import canonical
from hearthnet.wire.exchange import EXCHANGE_NAME, EXCHANGE_VERSION, sign_exchange
from hearthnet.wire.identity import KeyPair, short_id
from hearthnet.wire.rpc import CallHead
from hearthnet.wire.timestamp import format_time
from web.test_bus_api import COMMUNITY, Members, Node

A, B = KeyPair(b"a" * 32), KeyPair(b"b" * 32)
POST = "marketplace.post.created"


@pytest.fixture
async def village(tmp_path):
    members = Members(A, B)
    async with Node(b"a", tmp_path, members) as first, Node(b"b", tmp_path, members) as second:
        pubsub = PubSub(secrets.token_bytes)
        server = second.app[NODE_DOOR].server
        server.pubsub = pubsub
        server.serve(SUBSCRIBE_PATH, pubsub.answer)
        yield SimpleNamespace(a=first, b=second, members=members, pubsub=pubsub)


def signed(village, query, *, key=A, **head):
    """URL and headers of a signed GET."""
    path = f"{SUBSCRIBE_PATH}?{query}"
    fields = {
        "capability": EXCHANGE_NAME, "version": EXCHANGE_VERSION, "sender": key.node_id, "community": COMMUNITY,
        "request_id": Ulids(village.b.clock.now, secrets.token_bytes).new(), "to": B.node_id,
        "timestamp": format_time(village.b.clock.now()),
    } | head  # fmt: skip
    return village.b.url + path, sign_exchange(key, CallHead(**fields), path, b"").headers()


async def get(village, query, **options):
    """Status and body of one long poll."""
    url, headers = signed(village, query, **options)
    tls = client_context(B.node_id)
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=tls) as response:
        return response.status, json.decode(await response.read())


async def ask(village, **fields):
    """One long poll by POST, as nodes of this kind do it."""
    content = canonical.encode({"topic": POST, **fields})
    return json.decode(await village.a.client.request(village.b.peer, SUBSCRIBE_PATH, content))


async def until(condition):
    """Wait for what another task is about to do."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never happened")


async def test_a_long_poll_hears_what_is_told_while_it_waits(village):
    waiting = asyncio.create_task(get(village, f"topic={POST}&timeout=10"))
    await until(lambda: village.pubsub._waiting)
    village.pubsub.publish(POST, {"n": 1})
    assert await waiting == (200, {"topic": POST, "seq": 1, "data": {"n": 1}, "boot": village.pubsub.boot})
    village.pubsub.publish(POST, {"n": 2})
    assert (await get(village, f"topic={POST}&last_seq=1"))[1]["data"] == {"n": 2}
    assert (await ask(village, last_seq=1))["data"] == {"n": 2}


async def test_nothing_in_time_says_so(village):
    status, body = await get(village, f"topic={POST}&timeout=0")
    assert (status, body["timeout"], body["seq"]) == (200, True, 0)
    assert (await ask(village, timeout=0))["timeout"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("topic=no.such", "bad_request"),
        ("timeout=1", "schema_mismatch"),
        (f"topic={POST}&last_seq=-1", "schema_mismatch"),
        (f"topic={POST}&last_seq=x", "schema_mismatch"),
        (f"topic={POST}&timeout=99", "schema_mismatch"),
        (f"topic={POST}&colour=red", "schema_mismatch"),
        ("topic=emergency.mode.changed", "not_found"),
        (f"topic=chat.message.{short_id(B.node_id)}", "unauthorized"),
    ],
)
async def test_a_subscription_that_is_none_is_refused(village, query, code):
    assert (await get(village, query))[1]["error"] == code


async def test_topics_are_for_members(village):
    assert (await get(village, f"topic={POST}", key=KeyPair(b"x" * 32)))[1]["error"] == "unauthorized"
    elsewhere = CommunityID(KeyPair(b"z" * 32).node_id)
    assert (await get(village, f"topic={POST}", community=elsewhere))[1]["error"] == "unauthorized"
    village.members.removed.add(A.node_id)
    assert (await get(village, f"topic={POST}"))[1]["error"] == "revoked"
    with pytest.raises(errors.Revoked):
        await ask(village)


async def test_the_query_is_signed(village):
    _, headers = signed(village, f"topic={POST}&timeout=0")
    tls, url = client_context(B.node_id), f"{village.b.url}{SUBSCRIBE_PATH}?topic={POST}&timeout=1"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=tls) as response:
        assert json.decode(await response.read())["error"] == "invalid_signature"


async def socket_of(session, village, query, **options):
    url, headers = signed(village, query, **options)
    return await session.ws_connect(url, headers=headers, ssl=client_context(B.node_id))


async def test_a_socket_gets_every_message_and_resumes_by_number(village):
    async with aiohttp.ClientSession() as session:
        village.pubsub.publish(POST, {"n": 1})
        socket = await socket_of(session, village, f"topic={POST}")  # only what comes now
        village.pubsub.publish(POST, {"n": 2})
        village.pubsub.publish(POST, {"n": 3})
        found = [json.decode((await socket.receive(timeout=10)).data) for _ in range(2)]
        assert [(item["seq"], item["data"]["n"]) for item in found] == [(2, 2), (3, 3)]
        await socket.close()
        village.pubsub.publish(POST, {"n": 4})
        again = await socket_of(session, village, f"topic={POST}&last_seq=3&boot={village.pubsub.boot}")
        assert json.decode((await again.receive(timeout=10)).data)["data"] == {"n": 4}
        await again.close()
    await until(lambda: not village.pubsub._waiting)


async def test_a_socket_is_for_members_too(village):
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await socket_of(session, village, f"topic={POST}", key=KeyPair(b"x" * 32))
    assert raised.value.status == 401


async def test_a_subscriber_that_talks_too_much_is_let_go(village):
    async with aiohttp.ClientSession() as session:
        socket = await socket_of(session, village, f"topic={POST}")
        await socket.send_str("x" * 2000)
        message = await socket.receive(timeout=10)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_node_without_topics_says_so(village):
    village.b.app[NODE_DOOR].server.pubsub = None
    assert (await get(village, f"topic={POST}"))[1]["error"] == "not_found"
