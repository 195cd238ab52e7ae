"""The child that checks events: packed lists of bytes in, packed verdicts out, until the input ends (X02)."""

from __future__ import annotations

import sys

import msgspec

from hearthnet.base.errors import HearthNetError
from hearthnet.ports import EventVerdict
from hearthnet.wire.event import open_and_verify, open_event


def main() -> None:
    """Answer until the input ends."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    read = msgspec.msgpack.Decoder(list[bytes]).decode
    pack = msgspec.msgpack.Encoder().encode
    while len(header := source.read(4)) == 4:
        wires = read(source.read(int.from_bytes(header)))
        reply = pack([judge(wire) for wire in wires])
        target.write(len(reply).to_bytes(4) + reply)
        target.flush()


def judge(wire: bytes) -> EventVerdict:
    """Form, data and signature of one event."""
    try:
        return EventVerdict(open_and_verify(wire).hash)
    except HearthNetError as error:
        return EventVerdict("", _event_id(wire), error.code, error.detail)


def _event_id(wire: bytes) -> str:
    try:
        return open_event(wire).event.event_id
    except HearthNetError:
        return ""


if __name__ == "__main__":
    main()
