"""A child for tests: does as it is told, including dying and hanging. Started by path, not imported by tests."""

from __future__ import annotations

import os
import resource
import sys
import time

import msgspec

from hearthnet.adapters.engines.guest import Guest, Operation, serve
from hearthnet.adapters.engines.pipe import pack
from hearthnet.base.errors import BadRequest, Unavailable


def load(options):
    wish = msgspec.msgpack.decode(options)
    if wish == "refuse":
        raise Unavailable("the model is wrong")
    if wish == "crash":
        sys.stderr.write("the library says: no such instruction\n")
        os._exit(9)
    if wish == "hang":
        time.sleep(1000)
    print("a library that prints to standard output")
    return Guest(pack(facts()), {name: Operation(lane, run) for name, (lane, run) in OPERATIONS.items()})


def facts():
    return {
        "nice": os.nice(0),
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "environ": dict(os.environ),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    }


def echo(body):
    yield None
    return pack(msgspec.msgpack.decode(body))


def count(body):
    for number in range(msgspec.msgpack.decode(body)):
        yield pack(number)
    return pack("end")


def steps(body):
    """As many short steps as asked; the result is how many were done."""
    total = msgspec.msgpack.decode(body)
    for _ in range(total):
        time.sleep(0.002)
        yield None
    return pack(total)


def refuse(body):
    yield None
    raise BadRequest("not like this")


def crash(body):
    yield pack("one")
    raise RuntimeError("the library failed")


def hang(body):
    yield None
    time.sleep(1000)
    return pack(None)


def grow(body):
    yield None
    return pack(len(bytearray(8 << 30)))


OPERATIONS = {
    "echo": ("main", echo),
    "count": ("main", count),
    "steps": ("main", steps),
    "aside": ("other", echo),
    "refuse": ("main", refuse),
    "crash": ("main", crash),
    "hang": ("main", hang),
    "grow": ("main", grow),
}

if __name__ == "__main__":
    serve(load)
