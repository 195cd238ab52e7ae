"""A local call over the capability bus beside the bare floor, in the same run.

    python tests/bench/bench_bus.py [--json] [--calls 20000] [--rounds 9]

Floor: msgspec decode, `asyncio.timeout`, await of the handler, msgspec encode. The bus adds routing, trust, rate limit,
validation of request and reply, a deadline that cancels, concurrency, health, trace and metrics: the one path that
every call takes. Its limits are raised for this run, because no caller may make so many calls; they are still applied.
Bar (issue 2, section 6): at least 0.45x of the floor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from msgspec import Struct

from hearthnet.adapters.clock import SystemClock
from hearthnet.base.config import BusSection
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import Span, TraceRing
from hearthnet.base.types import NodeID, TraceID, TrustLevel
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Call, Caller, NoParams, capability
from hearthnet.mesh.limits import Plan, Rate
from hearthnet.mesh.replies import encode_reply

BAR = 0.45
BODY = b'{"params":{},"input":{"query":"is it safe to run a generator in the cellar","k":5}}'
WIDE = Plan(Rate(1e8, 1e9), Rate(1e8, 1e9))


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    query: str
    k: int = 5


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    rank: int


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    params: NoParams
    input: Question


class Word(Struct, frozen=True, tag="token", tag_field="event"):
    text: str


class Done(Struct, frozen=True, tag="done", tag_field="event"):
    count: int


class Library:
    @capability("rag.query@1.0", trust=TrustLevel.MEMBER, timeout_s=10, max_concurrent=4)
    async def query(self, call: Call, params: NoParams, request: Question) -> Answer:
        return Answer(request.query, request.k)


class Talker:
    @capability("llm.chat@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=8)
    async def chat(self, call: Call, params: NoParams, request: Question) -> AsyncIterator[Word | Done]:
        for _ in range(100):
            yield Word("water ")
        yield Done(100)


async def per_second(work: Callable[[], Awaitable[object]], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        await work()
    return count / (time.perf_counter() - started)


async def measure(calls: int, rounds: int) -> dict[str, float]:
    library = Library()
    decode, encode = msgspec.json.Decoder(Request).decode, msgspec.json.Encoder().encode
    bus = CapabilityBus(
        NodeID("ed25519:" + "A" * 43), SystemClock(), BusSection(), TraceRing(), Metrics(), limits=WIDE, own_limits=WIDE
    )  # fmt: skip
    bus.register(library)
    bus.register(Talker())
    caller = Caller(None, TrustLevel.SELF, "bench")

    call = Call(caller, TraceID("0" * 26), 0.0, Span("bench", 0.0))

    async def floor() -> bytes:
        request = decode(BODY)
        async with asyncio.timeout(10):
            reply = await library.query(call, request.params, request.input)
        return encode(reply)

    async def over_the_bus() -> bytes:
        return encode_reply(await bus.handle_call("rag.query@1.0", BODY, caller=caller))

    async def inner_call() -> Answer:
        reply: Answer = await bus.call("rag.query@1.0", None, Question("water"), caller=caller)
        return reply

    async def stream() -> None:
        async for _ in bus.handle_stream("llm.chat@1.0", BODY, caller=caller):
            pass

    figures: dict[str, list[float]] = {"floor": [], "bus": [], "inner": [], "frames": []}
    for _ in range(rounds):  # taken in turns, so that a busy moment hits all of them
        figures["floor"].append(await per_second(floor, calls))
        figures["bus"].append(await per_second(over_the_bus, calls))
        figures["inner"].append(await per_second(inner_call, calls))
        figures["frames"].append(101 * await per_second(stream, max(1, calls // 200)))
    await bus.close()
    ratio = statistics.median(b / f for b, f in zip(figures["bus"], figures["floor"], strict=True))
    return {name: statistics.median(values) for name, values in figures.items()} | {"ratio": ratio}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    figures = asyncio.run(measure(options.calls, options.rounds))
    met = figures["ratio"] >= BAR
    if options.json:
        print(
            json.dumps(
                {"bench": "bus", **{key: round(value, 3) for key, value in figures.items()}, "bar": BAR, "met": met}
            )
        )
    else:
        print(f"floor: decode, asyncio.timeout, handler, encode   {figures['floor']:>10,.0f} /s")
        print(f"bus: bytes in, checked call, reply bytes out      {figures['bus']:>10,.0f} /s")
        print(f"bus: call of another capability, structs          {figures['inner']:>10,.0f} /s")
        print(f"bus: frames of a stream of 101                    {figures['frames']:>10,.0f} /s")
        print(f"bus / floor  {figures['ratio']:.2f}x, bar {BAR}x: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
