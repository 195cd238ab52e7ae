"""Whatever comes over the port for other nodes is answered with a code of the closed set, or closed; nothing hangs.

The node runs in a thread of its own over real TLS; every example is one connection with bytes that Hypothesis made,
many of them valid requests with one thing changed.
"""

import asyncio
import gzip
import itertools
import logging
import secrets
import socket
import threading

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hearthnet.adapters.tls_context import client_context
from hearthnet.base.errors import WIRE_CODES
from hearthnet.base.types import TrustLevel
from hearthnet.base.ulid import Ulids
from hearthnet.mesh.limits import Plan, Rate, RateLimits
from hearthnet.mesh.pubsub import SUBSCRIBE_PATH, PubSub
from hearthnet.web.connections import Bounds
from hearthnet.web.node_door import NODE_DOOR
from hearthnet.wire import canonical
from hearthnet.wire.exchange import EXCHANGE_NAME, EXCHANGE_VERSION, sign_exchange
from hearthnet.wire.frame import decode_ws
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.rpc import CallHead, sign_call
from hearthnet.wire.session_key import HELLO_PATH, OPEN_PATH
from hearthnet.wire.timestamp import format_time
from web.test_bus_api import ASK, COMMUNITY, Members, Node

A, B = KeyPair(b"a" * 32), KeyPair(b"b" * 32)
SYNC = "/sync/v2/reconcile"
PATHS = [
    "/bus/v1/call", "/manifest", "/community/manifest", "/health", "/ready", HELLO_PATH, OPEN_PATH, SUBSCRIBE_PATH, SYNC,
    "/nothing", "/../../etc/passwd", "/manifest?challenge=%00", "//", "/%ff", "/sync/v2/reconcile/",
]  # fmt: skip
NO_LIMIT = Plan(Rate(1e8, 1e9), Rate(1e8, 1e9))
# without the phase that explains: it parses syntax trees, which CPython 3.11 cannot do in two threads at once
FUZZ = settings(
    max_examples=60, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate, Phase.shrink]
)  # fmt: skip


class Hosted:
    """A node in a thread, and raw requests to it."""

    def __init__(self, folder):
        self.folder, self.up = folder, threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)
        self.thread.start()
        assert self.up.wait(15)

    async def run(self):
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        self.node = Node(b"b", self.folder, Members(A, B))
        self.node.bounds = Bounds(head_s=1.0, idle_s=1.0, sweep_s=0.05)
        self.node.bus._limits = RateLimits(NO_LIMIT)
        door = self.node.app[NODE_DOOR]
        self.node.app[NODE_DOOR] = msgspec.structs.replace(door, addresses=RateLimits(NO_LIMIT))
        door.server._limits = RateLimits(NO_LIMIT)
        door.server.pubsub = PubSub(secrets.token_bytes)
        door.server.serve(SUBSCRIBE_PATH, door.server.pubsub.answer)

        async def reconcile(sender, content):
            return content[::-1]

        door.server.serve(SYNC, reconcile, TrustLevel.MEMBER)
        async with self.node:
            self.port = self.node.peer.addresses[0].port
            self.up.set()
            await self.stop.wait()

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(15)
        assert not self.thread.is_alive()

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        return client_context(B.node_id).wrap_socket(plain)

    def send(self, data):
        """All that is answered to these bytes, up to the close."""
        with self.connect() as line:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR) if not data else None
            received = b""
            while part := line.recv(65_536):
                received += part
                if len(received) > 4_000_000:
                    raise AssertionError("an answer without end")
            return received


@pytest.fixture(scope="module")
def hosted(tmp_path_factory):
    hosted = Hosted(tmp_path_factory.mktemp("fuzz"))
    yield hosted
    hosted.close()


@pytest.fixture(autouse=True)
def no_unhandled_errors(caplog):
    yield
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


counter = itertools.count(1)
new_id = Ulids(lambda: 1_800_000_000.0, secrets.token_bytes).new


def call_headers(body=ASK, path="/bus/v1/call", content=None, **head):
    fields = {
        "capability": "rag.query", "version": "1.0", "sender": A.node_id, "community": COMMUNITY,
        "request_id": new_id(), "timestamp": format_time(1_800_000_000.0), "to": B.node_id,
    } | head  # fmt: skip
    if path == "/bus/v1/call":
        return sign_call(A, CallHead(**fields), body).headers()
    fields |= {"capability": EXCHANGE_NAME, "version": EXCHANGE_VERSION}
    return sign_exchange(A, CallHead(**fields), path, content or b"").headers()


def request_bytes(method, path, headers, content):
    lines = [f"{method} {path} HTTP/1.1", "Host: b", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + content


def check_answer(answer):
    """(status, decoded body); raises unless the answer is HTTP with a code of the closed set."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), answer[:100]
    status = int(head.split()[1])
    if status >= 400 and body and b"application/json" in head.lower():
        error = msgspec.json.decode(body)
        assert error["error"] in WIRE_CODES
        assert len(body) < 5000
    return status, body


@FUZZ
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]),
    st.sampled_from(PATHS),
    st.dictionaries(
        st.sampled_from([f"X-HearthNet-{name}" for name in (
            "Capability", "Capability-Version", "Request-Id", "From", "Community", "Timestamp", "Epoch", "To", "Signature",
            "Session",
        )] + ["Content-Type", "Accept", "Upgrade", "Content-Encoding"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), max_size=5,
    ),
    st.binary(max_size=300) | st.just(canonical.encode(ASK)),
)  # fmt: skip
def test_any_request_is_answered_or_refused(hosted, method, path, headers, content):
    status, _ = check_answer(hosted.send(request_bytes(method, path, headers, content)))
    assert 200 <= status < 500


@FUZZ
@given(st.data())
def test_a_valid_request_with_one_thing_changed_is_refused_or_means_the_same(hosted, data):
    path = data.draw(st.sampled_from(["/bus/v1/call", SYNC]))
    content = canonical.encode(ASK)
    headers = call_headers(path=path, content=content)
    before = len(hosted.node.library.calls)
    what = data.draw(st.sampled_from(["drop", "change", "swap case", "content", "path", "nothing"]))
    name = data.draw(st.sampled_from(sorted(headers)))
    if what == "drop":
        del headers[name]
    elif what == "change":
        value, at = headers[name], data.draw(st.integers(0, len(headers[name]) - 1))
        letter = data.draw(st.sampled_from("AZaz09-_:.T "))
        headers[name] = value[:at] + letter + value[at + 1 :]
        what = "nothing" if headers[name].strip() == value else what
    elif what == "swap case":
        headers = {key.swapcase(): value for key, value in headers.items()}
        what = "nothing"  # names of headers have no case
    elif what == "content":
        at = data.draw(st.integers(0, len(content) - 1))
        changed = content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :]
        what, content = ("nothing" if changed == content else what), changed
    elif what == "path":
        path = {"/bus/v1/call": SYNC, SYNC: "/bus/v1/call"}[path]
    status, body = check_answer(hosted.send(request_bytes("POST", path, headers, content)))
    if what == "nothing":
        assert status == 200
        assert path == "/bus/v1/call" or body == content[::-1]
    else:
        assert status in (400, 401, 410)
        assert len(hosted.node.library.calls) == before


@settings(FUZZ, max_examples=20)  # each may wait for the second in which a head is due
@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_bytes_that_are_no_request_end_the_connection(hosted, data):
    answer = hosted.send(data + b"\r\n\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.")


@FUZZ
@given(st.lists(st.sampled_from(
    ['{"type":"ack","upto":1}', '{"type":"ack","upto":99}', '{"type":"cancel"}', "{}", "null", "call", "",
     '{"type":"tool_result","tool_call_id":"x","body":{}}', '{"type":"call","envelope":{"body":{}},"signature":"x"}']
) | st.text(max_size=40), max_size=4))  # fmt: skip
def test_messages_on_a_socket_end_with_at_most_one_terminal_frame(hosted, texts):
    def wire_form(text):
        if text != "call":
            return text
        fields = {
            "capability": "llm.chat", "version": "1.0", "sender": A.node_id, "community": COMMUNITY,
            "request_id": new_id(), "timestamp": format_time(1_800_000_000.0),
        }  # fmt: skip
        call = sign_call(A, CallHead(**fields), ASK)
        return canonical.encode({"type": "call", "envelope": call.envelope(), "signature": call.signature}).decode()

    async def talk():
        url, tls = f"https://127.0.0.1:{hosted.port}/bus/v1/call", client_context(B.node_id)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=tls, protocols=("hearthnet-bus.v2",)) as socket,
        ):
            for text in ["call", *texts] if next(counter) % 2 else [*texts, "{}"]:
                if not socket.closed:
                    await socket.send_str(wire_form(text))
            async with asyncio.timeout(15):
                return [decode_ws(item.data.encode()) async for item in socket if item.type is aiohttp.WSMsgType.TEXT]

    frames = asyncio.run_coroutine_threadsafe(talk(), hosted.loop).result(20)
    terminal = [frame for frame in frames if frame.is_terminal]
    assert len(terminal) <= 1
    assert terminal == frames[-1:] or frames == []
    assert all(frame.data["error"] in WIRE_CODES for frame in terminal if frame.event == "error")


def test_a_body_that_grows_when_it_is_unpacked_is_refused(hosted):
    bomb = gzip.compress(b"0" * 50_000_000)
    headers = call_headers() | {"Content-Encoding": "gzip"}
    status, body = check_answer(hosted.send(request_bytes("POST", "/bus/v1/call", headers, bomb)))
    assert (status, msgspec.json.decode(body)["error"]) in ((413, "bad_request"), (400, "bad_request"))


@pytest.mark.parametrize("length", ["-1", "1e3", "x"])
def test_a_length_that_lies_is_refused(hosted, length):
    data = f"POST {SYNC} HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n".encode() + b"abc"
    status, _ = check_answer(hosted.send(data))
    assert status in (400, 413)


def test_endless_headers_are_refused(hosted):
    many = "".join(f"X-{number}: {'y' * 1000}\r\n" for number in range(200))
    data = f"GET /health HTTP/1.1\r\nHost: b\r\n{many}\r\n".encode()
    status, _ = check_answer(hosted.send(data))
    assert status == 400


def test_the_node_still_answers_after_all_of_this(hosted):
    headers = call_headers(path=SYNC, content=b"hello")
    status, body = check_answer(hosted.send(request_bytes("POST", SYNC, headers, b"hello")))
    assert (status, body) == (200, b"olleh")
