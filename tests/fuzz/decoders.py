"""Every decoder of bytes from outside with real samples: one table for Hypothesis and for atheris.

A decoder may read its input or refuse it with a HearthNetError; everything else that it raises is a fault.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hearthnet.adapters.certificate import make_certificate
from hearthnet.adapters.engines.pipe import Cancel, FrameReader, Start, encode_frame, pack
from hearthnet.base.errors import HearthNetError
from hearthnet.base.log import sanitise
from hearthnet.base.ulid import is_ulid, ulid_time_s
from hearthnet.wire import canonical
from hearthnet.wire.certificate import node_id_in
from hearthnet.wire.cid import parse_cid, read_blob_manifest
from hearthnet.wire.community_manifest import open_community_manifest
from hearthnet.wire.event import open_event, verify_event
from hearthnet.wire.frame import SseDecoder, decode_ws
from hearthnet.wire.identity import KeyPair, public_key_of, short_id
from hearthnet.wire.manifest import open_node_manifest
from hearthnet.wire.negentropy import decode_message as decode_negentropy
from hearthnet.wire.negentropy import encode_message as encode_negentropy
from hearthnet.wire.ordered_keys import OrderedKeys
from hearthnet.wire.reconcile import FRAME_MIN_BYTES, Initiator, respond
from hearthnet.wire.reply import ErrorBody, open_reply, verify_reply
from hearthnet.wire.rpc import open_call, open_envelope, verify_call
from hearthnet.wire.session import CallerSession, Sealed
from hearthnet.wire.session_desk import SessionDesk
from hearthnet.wire.session_key import Certificates, Hello, Offer, transcript
from hearthnet.wire.stream_message import decode_message
from hearthnet.wire.sync_message import (
    EventsReceipt,
    RejectedReason,
    decode_events,
    decode_receipt,
    encode_events,
    encode_receipt,
    key_of_wire,
)
from hearthnet.wire.timestamp import format_time, parse_time
from hearthnet.wire.topic import Subscription, check_audience

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


class Decoder(NamedTuple):
    """What is fuzzed, and what it accepts."""

    read: Callable[[bytes], object]
    samples: list[bytes]


def outcome(decoder: Decoder, data: bytes) -> str:
    """`read` or `refused`; every other exception passes through and fails the run."""
    try:
        decoder.read(data)
    except HearthNetError:
        return "refused"
    return "read"


def _load(name, *path):
    found = json.loads((VECTORS / f"{name}.json").read_text(encoding="ascii"))
    for part in path:
        found = found[part]
    return found


def _wires(name, part, key="wire_hex"):
    return [bytes.fromhex(case[key]) for case in _load(name, part)]


def _text(data):
    return data.decode("utf-8", "replace")


def _headers(data):
    """Lines of `name: value`, an empty line, the body."""
    head, _, body = data.partition(b"\n\n")
    pairs = [tuple(line.split(": ", 1)) for line in _text(head).split("\n") if ": " in line]
    return pairs, body


def _as_headers(part):
    return [
        f"Status: {case.get('status')}\n".encode()
        + "\n".join(f"{name}: {value}" for name, value in case["headers"].items()).encode()
        + b"\n\n"
        + bytes.fromhex(case["body_hex"])
        for case in _load("rpc", part)
    ]


def _read_canonical(data):
    value = canonical.decode(data)
    again = canonical.encode(value)
    assert canonical.decode_canonical(again) == value
    assert canonical.encode(canonical.decode(again)) == again


def _read_event(data):
    sealed = open_event(data)
    verify_event(sealed)
    assert sealed.wire == data


def _read_call(data):
    call = open_call(*_headers(data))
    verify_call(call, receiver=call.head.community)
    assert open_envelope(call.envelope(), call.signature) == call


def _read_reply(data):
    pairs, body = _headers(data)
    reply = open_reply(pairs, 429 if ("Status", "429") in pairs else 200, body)
    verify_reply(reply, reply.head.sender, sender=reply.head.sender, request_id=reply.head.request_id)


def _read_time(data):
    text = _text(data)
    assert format_time(parse_time(text)) == text


def _read_ulid(data):
    if is_ulid(_text(data)):
        assert ulid_time_s(_text(data)) >= 0


def _read_line(data):
    clean = sanitise(data.decode("utf-8", "surrogateescape"), 80)
    assert len(clean) <= 80
    assert clean.isprintable() or not any(ord(char) < 32 for char in clean)
    clean.encode()


def _read_sse(data):
    decoder = SseDecoder()
    for at in range(0, len(data), 7):
        decoder.feed(data[at : at + 7])
    decoder.finish()


def _read_pipe(data):
    FrameReader().feed(data)


def _read_events_body(data):
    """The events in it come out as they went in, and their keys can be named."""
    body = decode_events(data)
    again = decode_events(encode_events(body.community_id, body.wires, body.forgotten_keys))
    assert (again.wires, again.forgotten) == (body.wires, body.forgotten)
    assert {len(key_of_wire(wire, body.community_id)) for wire in body.wires} <= {40}


def _bodies():
    first = json.loads(_wires("event", "chain")[0])
    return [encode_events(first["community_id"], _wires("event", "chain"), [bytes(40), b"\xff" * 40])]


def _turns(case):
    rounds = next(found["rounds"] for found in _load("negentropy-v1", "cases") if found["name"] == case)
    return [bytes.fromhex(turn[side]) for turn in rounds for side in ("client", "server")]


_KEYS = OrderedKeys(b"".join(time.to_bytes(8) + time.to_bytes(32) for time in range(900, 1100)))


def _read_reconcile(data):
    """Whatever is asked and answered, the next message is short, and a message has one form."""
    assert len(respond(_KEYS, data, frame_limit=FRAME_MIN_BYTES)) <= FRAME_MIN_BYTES
    initiator = Initiator(_KEYS, frame_limit=FRAME_MIN_BYTES, most=10)
    answer = initiator.proceed(data)
    assert answer is None or len(answer) <= FRAME_MIN_BYTES
    assert len(initiator.have) <= 20
    ranges = decode_negentropy(data)
    assert decode_negentropy(encode_negentropy(ranges)) == ranges


def _read_sealed(data):
    text = _text(data)
    assert Sealed.parse(Sealed.parse(text).text()) == Sealed.parse(text)


def _read_hello(data):
    hello = canonical.decode_as(data, Hello)
    desk = SessionDesk(hello.to, bytes)
    offer = desk.offer(hello, hello.sender, Certificates("", ""), 0.0)
    assert transcript(hello, offer, Certificates("", ""))


def _read_offer(data):
    """A caller signs whatever share is a point, and agrees on a key."""
    caller = CallerSession(
        KeyPair(bytes(32)), KeyPair(bytes(32)).node_id, KeyPair(bytes(32)).node_id, lambda size: b"1" * size
    )
    caller.hello()
    assert caller.offered(canonical.decode_as(data, Offer), Certificates("", "")).signature


def _read_subscription(data):
    check_audience(canonical.decode_as(data, Subscription).topic, KeyPair(bytes(32)).node_id)


DECODERS = {
    "canonical": Decoder(_read_canonical, [case["json"].encode() for case in _load("canonical", "cases")]),
    "blob manifest": Decoder(read_blob_manifest, _wires("cid", "manifests")),
    "cid": Decoder(lambda data: parse_cid(_text(data)), [case["cid"].encode() for case in _load("cid", "contents")]),
    "node id": Decoder(
        lambda data: short_id(public_key_of(_text(data)) and _text(data)),
        [key["node_id"].encode() for key in _load("identity", "keys")],
    ),
    "event": Decoder(_read_event, _wires("event", "chain")),
    "call": Decoder(_read_call, _as_headers("calls")),
    "reply": Decoder(_read_reply, _as_headers("replies")),
    "error body": Decoder(
        lambda data: canonical.decode_as(data, ErrorBody).to_error(), [b'{"error":"timeout","retry_after_ms":5}']
    ),
    "node manifest": Decoder(lambda data: open_node_manifest(data, now=None), _wires("manifest", "node")),
    "community manifest": Decoder(open_community_manifest, _wires("manifest", "community")),
    "event stream": Decoder(_read_sse, _wires("frame", "stream", "sse_hex")),
    "socket frame": Decoder(decode_ws, _wires("frame", "stream", "ws_hex")),
    "socket message": Decoder(decode_message, _wires("frame", "stream_messages", "ws_hex")),
    "engine pipe": Decoder(_read_pipe, [encode_frame(Cancel(7)), encode_frame(Start(pack({"model": "x"})))]),
    "reconcile": Decoder(_read_reconcile, _turns("same-timestamp")),
    "events body": Decoder(_read_events_body, _bodies()),
    "events receipt": Decoder(
        decode_receipt, [encode_receipt(EventsReceipt(3, 1, (RejectedReason("", "not an event"),), 9))]
    ),
    "session header": Decoder(
        _read_sealed, [_load("session", "call_header").encode(), _load("session", "reply_header").encode()]
    ),
    "session hello": Decoder(_read_hello, [canonical.encode(_load("session", "hello"))]),
    "session offer": Decoder(_read_offer, [canonical.encode(_load("session", "offer"))]),
    "certificate": Decoder(node_id_in, [ssl.PEM_cert_to_DER_cert(make_certificate(KeyPair(bytes(32)))[0].decode())]),
    "subscription": Decoder(_read_subscription, [b'{"topic":"marketplace.post.created","last_seq":3,"timeout":5}']),
    "time": Decoder(_read_time, [b"2026-11-21T06:13:00Z"]),
    "ulid": Decoder(_read_ulid, [b"01HZX3M7Q8N5V2K4T6W9YB0CDE"]),
    "log line": Decoder(_read_line, [b"\x1b[31mred\x1b[0m", "a\u202eb".encode()]),
}
