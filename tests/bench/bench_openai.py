"""Tokens per second through `/v1` with `hearthnet/<model>` beside the engine's own server, in the same run.

    python tests/bench/bench_openai.py [--json] [--rounds 5] [--tokens 96]

Both ways lead to the same child process with the same model; the second way leaves out the node. Bars (issue 2,
section 6): at least 0.95x of the engine's own server for 1 and for 8 users, and 8 users at least 1.4x of 1.

The rounds are taken in turns and the best of each kind counts, because a busy machine only ever takes time away.
Beside it stands what no neighbour can disturb: CPU milliseconds a token, of the engine and of the node.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

SHARE_BAR, GAIN_BAR, USERS = 0.95, 1.4, 8
TOPICS = ("a lighthouse", "a bakery", "a winter", "a river", "an old radio", "a garden", "a train", "a small town")


async def serve() -> None:
    """The child: a whole node with its pages, and where its engine listens, as one line of JSON."""
    from hearthnet.adapters.engines import family
    from hearthnet.base.config import Config, TransportSection, UiSection
    from hearthnet.base.paths import resolve_paths
    from hearthnet.node import Node
    from hearthnet.startup import Startup

    opened: list[family.EngineFamily] = []
    make = family.open_engines
    family.open_engines = lambda *parts: opened.append(make(*parts)) or opened[-1]
    config = Config(ui=UiSection(port=0), transport=TransportSection(enabled=False))
    startup = Startup(resolve_paths({"HEARTHNET_HOME": str(Path(os.environ["HEARTHNET_HOME"]))}), config)
    await startup.open()
    node = Node(startup)
    await node.start()
    model = opened[0].models()[0].name
    engine = opened[0]._local_engines()[model]
    async with engine.address() as address:
        place = {
            "node": f"http://127.0.0.1:{startup.ui_port}", "engine": address.url, "key": address.key, "model": model,
            "engine_pid": engine.status().pid,
        }  # fmt: skip
        print(json.dumps(place), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await node.stop()


class Count(NamedTuple):
    """Tokens of one answer, by the server's own count."""

    read: int
    written: int


async def ask(http: aiohttp.ClientSession, url: str, key: str, model: str, tokens: int, number: int) -> Count:
    """One streamed answer. The system message keeps both templates from adding one of their own."""
    story = f"Write a long story about {TOPICS[number % len(TOPICS)]}. Chapter {number}."
    body = {
        "model": model, "max_tokens": tokens, "temperature": 0.8, "seed": number,
        "messages": [{"role": "system", "content": "You tell stories."}, {"role": "user", "content": story}],
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    async with http.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}) as reply:
        assert reply.status == 200, await reply.text()
        async for line in reply.content:
            if line.startswith(b"data: {") and b'"usage":{' in line:
                usage = json.loads(line[6:])["usage"]
    return Count(usage["prompt_tokens"], usage["completion_tokens"])


async def settle(http: aiohttp.ClientSession, node: str) -> None:
    """Wait until a fresh home has taken in the handbook; it would take a core from both ways."""
    body = {"params": {"corpus": "system"}, "input": {"query": "water"}}
    for _ in range(240):
        async with http.post(f"{node}/v1/call/rag.query@1.0", json=body) as reply:
            if reply.status == 200 and (await reply.json())["meta"]["pending"] == 0:
                return
        await asyncio.sleep(1)


class Round(NamedTuple):
    """One round of one way: tokens a second, and CPU milliseconds a token of engine and node."""

    speed: float
    engine_ms: float
    node_ms: float


async def measure(place: dict[str, Any], pid: int, rounds: int, tokens: int) -> dict[str, Any]:
    """The best rounds, taken in turns, and how they relate."""
    ways = {
        "node": (place["node"], "none", f"hearthnet/{place['model']}"),
        "engine": (place["engine"], place["key"], place["model"]),
    }
    found: dict[str, list[Round]] = {f"{way}_{users}": [] for way in ways for users in (1, USERS)}
    number = 0
    # the engine's server closes kept connections as it likes: a connection each, for both ways
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=300)) as http:
        await settle(http, place["node"])
        warm = [await asyncio.gather(*(ask(http, *way, 4, user) for user in range(USERS))) for way in ways.values()]
        if [count.read for count in warm[0]] != [count.read for count in warm[1]]:
            print(f"the two ways do not read the same: {warm}", file=sys.stderr)
        for turn in range(rounds):
            for users in (1, USERS):
                for name in sorted(ways, reverse=bool(turn % 2)):
                    number += users
                    before, began = (cpu_seconds(place["engine_pid"]), cpu_seconds(pid)), time.monotonic()
                    asked = (ask(http, *ways[name], tokens, number + user) for user in range(users))
                    written = sum(count.written for count in await asyncio.gather(*asked))
                    took = time.monotonic() - began
                    engine, node = cpu_seconds(place["engine_pid"]) - before[0], cpu_seconds(pid) - before[1]
                    found[f"{name}_{users}"].append(
                        Round(written / took, 1000 * engine / written, 1000 * node / written)
                    )
    best = {name: max(kept, key=lambda one: one.speed).speed for name, kept in found.items()}
    figures: dict[str, Any] = {name: round(speed, 1) for name, speed in best.items()}
    for users in (1, USERS):
        kept = found[f"node_{users}"]
        figures[f"share_{users}"] = round(best[f"node_{users}"] / best[f"engine_{users}"], 3)
        figures[f"cpu_engine_ms_{users}"] = round(statistics.median(one.engine_ms for one in kept), 2)
        figures[f"cpu_node_ms_{users}"] = round(statistics.median(one.node_ms for one in kept), 3)
    figures["gain"] = round(best[f"node_{USERS}"] / best["node_1"], 3)
    return figures


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=96)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    with tempfile.TemporaryDirectory() as home:
        child = subprocess.Popen(
            [sys.executable, __file__, "--serve"], env={**os.environ, "HEARTHNET_HOME": home},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            if not line:
                raise SystemExit("the node did not start; is a model installed (make setup)?")
            figures = asyncio.run(measure(json.loads(line), child.pid, options.rounds, options.tokens))
        finally:
            child.stdin.close()
            child.wait(timeout=30)
    met = min(figures["share_1"], figures["share_8"]) >= SHARE_BAR and figures["gain"] >= GAIN_BAR
    if options.json:
        print(json.dumps({"bench": "openai", **figures, "bar": [SHARE_BAR, GAIN_BAR], "met": met}))
        return 0 if met else 1
    for users in (1, USERS):
        node, engine = figures[f"node_{users}"], figures[f"engine_{users}"]
        share = figures[f"share_{users}"]
        print(
            f"{users} user(s): /v1 {node:6.1f}, engine's server {engine:6.1f} tokens/s: {share:.2f}x, bar {SHARE_BAR}x"
        )
        cpu = figures[f"cpu_engine_ms_{users}"], figures[f"cpu_node_ms_{users}"]
        print(f"           CPU a token: engine {cpu[0]:.2f} ms, node {cpu[1]:.3f} ms")
    print(f"8 users / 1 user {figures['gain']:.2f}x, bar {GAIN_BAR}x: {'all met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
