"""Figures of sync between nodes, each beside an alternative in the same run (X02).

    python tests/bench/bench_mesh.py [--json] [--events 1000000] [--only ranges,index,logs]

ranges: what comparing two sets costs, beside sending the whole list of ids (32 bytes each). "recent" differences are the
newest keys, every other one missing on one side; "random" ones lie all over; half on each side but for "pull", where
one side lacks all. The times are processor time of both
sides; "longest" is what the costliest message takes of a node.
index: memory and time of the packed set, beside a sorted list of `bytes`, and reading it from SQLite.
logs: a newcomer gets a whole log from one partner over the network in memory, all checks on, beside PyNaCl checking the
same signatures in as many threads as there are cores.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import bisect
import gc
import itertools
import json
import os
import random
import resource
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge"), str(ROOT / "tests")]

from nacl.signing import VerifyKey  # noqa: E402

from hearthnet.adapters.clock import SystemClock  # noqa: E402
from hearthnet.adapters.network_fake import FakeNetwork, Link  # noqa: E402
from hearthnet.adapters.store_sqlite import SqliteStore  # noqa: E402
from hearthnet.adapters.transport_fake import FakeTransport  # noqa: E402
from hearthnet.adapters.verify_processes import VerifyProcesses  # noqa: E402
from hearthnet.base.config import Config  # noqa: E402
from hearthnet.base.metrics import Metrics  # noqa: E402
from hearthnet.base.trace import TraceRing  # noqa: E402
from hearthnet.mesh.bus import CapabilityBus  # noqa: E402
from hearthnet.mesh.event_rows import EVENTS_SCHEMA, KEPT_TYPES  # noqa: E402
from hearthnet.mesh.events import EventLog, create_community  # noqa: E402
from hearthnet.mesh.gossip import INTERVAL_S  # noqa: E402
from hearthnet.mesh.peer_server import MeshServer  # noqa: E402
from hearthnet.mesh.standing import Standing  # noqa: E402
from hearthnet.mesh.sync_client import SyncClient  # noqa: E402
from hearthnet.mesh.sync_index import SyncIndex  # noqa: E402
from hearthnet.mesh.sync_server import (  # noqa: E402
    EVENTS_PATH,
    FETCH_PATH,
    FRAME_BYTES,
    LARGE_FRAME_BYTES,
    RECONCILE_PATH,
    SyncServer,
)
from hearthnet.mesh.sync_session import SPLIT  # noqa: E402
from hearthnet.mesh.views import DocumentsView  # noqa: E402
from hearthnet.ports import Peer  # noqa: E402
from hearthnet.wire.cid import cid_of  # noqa: E402
from hearthnet.wire.community import MemberInvited, MemberJoined  # noqa: E402
from hearthnet.wire.event_types import DocumentIngested  # noqa: E402
from hearthnet.wire.identity import KeyPair, public_key_of  # noqa: E402
from hearthnet.wire.ordered_keys import OrderedKeys  # noqa: E402
from hearthnet.wire.reconcile import Initiator, Split, respond  # noqa: E402

BARS = {
    "in_step_bytes": 400, "in_step_ms": 2.0, "recent_bytes_per_id": 40.0, "recent_round_trips": 4,
    "bytes_per_event": 100.0, "logs_ratio": 0.65,
}  # fmt: skip
CASES = [(0, "-"), (100, "recent"), (1000, "recent"), (10_000, "recent"), (1000, "random"), (10_000, "random")]


def make_keys(count, draw):
    return sorted((number // 3).to_bytes(8) + draw.randbytes(32) for number in range(count))


# ---- ranges ---------------------------------------------------------------------------------------------------------


def converse(ours, theirs, split):
    """Round trips, bytes, seconds of both sides, longest single answer, differences found."""
    began = time.process_time()
    initiator = Initiator(ours, frame_limit=FRAME_BYTES, split=split)
    message, trips, size, longest = initiator.begin(), 0, 0, 0.0
    while message is not None:
        asked = time.process_time()
        answer = respond(
            theirs, message, frame_limit=LARGE_FRAME_BYTES if len(message) > FRAME_BYTES // 2 else FRAME_BYTES
        )
        answered = time.process_time()
        trips, size = trips + 1, size + len(message) + len(answer)
        initiator.frame_limit = LARGE_FRAME_BYTES if len(answer) > FRAME_BYTES // 2 else FRAME_BYTES
        message = initiator.proceed(answer)
        longest = max(longest, answered - asked, time.process_time() - answered)
    return {
        "round_trips": trips, "bytes": size, "ms": 1000 * (time.process_time() - began), "longest_ms": 1000 * longest,
        "found": initiator.found,
    }  # fmt: skip


def differ(keys, count, place, draw):
    """Two sets that lack half of `count` keys each."""
    at = range(len(keys) - count, len(keys)) if place == "recent" else sorted(draw.sample(range(len(keys)), count))
    missing = [keys[number] for number in at]
    ours, theirs = set(missing[::2]), set(missing[1::2])
    return (
        OrderedKeys(b"".join(key for key in keys if key not in ours)),
        OrderedKeys(b"".join(key for key in keys if key not in theirs)),
    )


def measure_ranges(counts, draw):
    rows = []
    for count in counts:
        keys = make_keys(count, draw)
        for differences, place in CASES:
            ours, theirs = differ(keys, differences, place, draw)
            for name, split in (("ours", SPLIT), ("reference", Split())):
                found = min((converse(ours, theirs, split) for _ in range(5)), key=lambda turn: turn["ms"])
                assert found.pop("found") == differences
                rows.append({"events": count, "differences": differences, "place": place, "split": name, **found,
                             "per_id": found["bytes"] / max(differences, 1), "of_id_list": found["bytes"] / (32 * count)})  # fmt: skip
            if (differences, place) == (1000, "recent"):
                whole, without = OrderedKeys(b"".join(keys)), OrderedKeys(b"".join(keys[:-1000]))
                found = min((converse(without, whole, SPLIT) for _ in range(5)), key=lambda turn: turn["ms"])
                assert found.pop("found") == differences
                rows.append({"events": count, "differences": 1000, "place": "pull", "split": "ours", **found,
                             "per_id": found["bytes"] / 1000, "of_id_list": found["bytes"] / (32 * count)})  # fmt: skip
    return rows


def show_ranges(rows):
    print("events     differences     by         trips      bytes   per id   of all ids      ms  longest ms")
    for row in rows:
        print(
            f"{row['events']:<10,} {row['differences']:>6,} {row['place']:<8} {row['split']:<9} {row['round_trips']:>5}"
            f" {row['bytes']:>11,} {row['per_id']:>8.1f} {row['of_id_list']:>11.4f}x {row['ms']:>8.2f} {row['longest_ms']:>8.2f}"
        )


# ---- index ----------------------------------------------------------------------------------------------------------


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def in_child(work):
    """The result of `work` in a process of its own, whose memory nothing else has used."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return json.load(pipe)


def measure_index(count, folder):
    path = folder / "index.sqlite"
    asyncio.run(_make_rows(path, count))

    def load():
        async def run():
            store = SqliteStore.open(path, EVENTS_SCHEMA)
            index = SyncIndex(store, "")
            await store.query("SELECT count(*) FROM names")
            gc.collect()
            before, began = resident_bytes(), time.perf_counter()
            await index.load()
            took = time.perf_counter() - began
            gc.collect()
            used = resident_bytes() - before
            figures = {"load_s": took, "bytes_per_event": used / count, **_time_changes(index.keys, count)}
            await store.close()
            return figures

        return asyncio.run(run())

    def plain():
        bare = sqlite3.connect(path)
        gc.collect()
        before, began = resident_bytes(), time.perf_counter()
        keys = [
            lamport.to_bytes(8) + hash_
            for lamport, hash_ in bare.execute("SELECT lamport, hash FROM events ORDER BY lamport, hash")
        ]
        took = time.perf_counter() - began
        used = resident_bytes() - before
        began = time.perf_counter()
        for number in range(1000):
            bisect.insort(keys, (number * count // 3000).to_bytes(8) + os.urandom(32))
        return {
            "list_load_s": took,
            "list_bytes_per_event": used / count,
            "list_late_us": (time.perf_counter() - began) * 1000,
        }

    return {**in_child(load), **in_child(plain)}


async def _make_rows(path, count):
    store = SqliteStore.open(path, EVENTS_SCHEMA)

    def fill(tx):
        rows = ((os.urandom(32), number // 3, "x", 1, 0, number, 1, 0, b"x" * 400) for number in range(count))
        tx.execute("INSERT INTO names VALUES (1, 'x')")
        tx.executemany(
            "INSERT INTO events (hash, lamport, event_id, author, author_epoch, author_seq, event_type, received_at, wire)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            list(rows),
        )

    await store.transact(fill)
    await store.close()


def _time_changes(keys, count):
    def timed(work, times):
        began = time.perf_counter()
        for number in range(times):
            work(number)
        return (time.perf_counter() - began) / times

    newest = timed(lambda number: keys.add((count + number).to_bytes(8) + os.urandom(32)), 1000)
    late = timed(lambda number: keys.add((number * count // 3000).to_bytes(8) + os.urandom(32)), 1000)

    def check(number):
        keys.add((count + 2000 + number).to_bytes(8) + os.urandom(32))  # nothing is remembered from the last time
        message = Initiator(keys, split=SPLIT).begin()
        assert len(message) + len(respond(keys, message)) <= BARS["in_step_bytes"]

    return {"newest_us": newest * 1e6, "late_us": late * 1e6, "in_step_ms": timed(check, 50) * 1e3}


def show_index(figures):
    print(
        f"read {figures['count']:,} keys from SQLite    {figures['load_s']:.2f} s, a list of bytes {figures['list_load_s']:.2f} s"
    )
    print(
        f"memory an event              {figures['bytes_per_event']:.1f} B, bar {BARS['bytes_per_event']:.0f}; a list of bytes {figures['list_bytes_per_event']:.1f} B"
    )
    print(f"one more, newest             {figures['newest_us']:.1f} us")
    print(f"one more, late               {figures['late_us']:.1f} us, into a list {figures['list_late_us']:.1f} us")
    print(
        f"in-step check, both sides    {figures['in_step_ms']:.2f} ms, bar {BARS['in_step_ms']} ms, right after a change"
    )


# ---- logs -----------------------------------------------------------------------------------------------------------

FOUNDER, NEWCOMER = KeyPair(bytes([1]) * 32), KeyPair(bytes([2]) * 32)
COMMUNITY = FOUNDER.node_id


class Node:
    """A whole log with its sync on a disk of its own."""

    ids = itertools.count(1)

    def __init__(self, network, clock, key, folder, bulk=None):
        folder.mkdir()
        self.store = SqliteStore.open(folder / "events.sqlite", EVENTS_SCHEMA)
        self.log = EventLog(self.store, key, COMMUNITY, clock, os.urandom, views=[DocumentsView()], bulk=bulk)
        self.index = SyncIndex(self.store, COMMUNITY)
        self.network, self.clock, self.key = network, clock, key

    async def start(self):
        await self.log.open()
        self.log.subscribe(self.index.note)
        await self.index.load()
        bus = CapabilityBus(self.key.node_id, self.clock, Config().bus, TraceRing(), Metrics())
        server = MeshServer(bus, self.log, self.clock)
        standing = Standing(self.clock)
        serves = SyncServer(self.log, self.index, standing)
        server.serve(RECONCILE_PATH, serves.reconcile)
        server.serve(FETCH_PATH, serves.fetch)
        server.serve(EVENTS_PATH, serves.receive)
        transport = FakeTransport(
            self.network, self.key.node_id, COMMUNITY, lambda: f"01HZX3M7Q8{next(self.ids):016}", server
        )
        self.client = SyncClient(self.log, self.index, transport, self.clock, standing)
        self.peer = Peer(self.key.node_id, (transport.address,))

    async def close(self):
        await self.log.close()
        await self.store.close()


async def measure_logs(count, folder):
    clock = SystemClock()
    network = FakeNetwork(clock, link=Link(delay_s=0.0))
    bulk = VerifyProcesses()
    old = Node(network, clock, FOUNDER, folder / f"old{count}")
    new = Node(network, clock, NEWCOMER, folder / f"new{count}", bulk)
    await old.start()
    await create_community(old.log, "Bench")
    invitation = await old.log.append(MemberInvited(NEWCOMER.node_id, "New", "member", "2040-01-01T00:00:00Z"))
    for start in range(0, count, 1000):
        await old.log.append_all([
            DocumentIngested("personal", cid_of(b"%d" % number), f"Notes on water in the cellar, part {number}", "en", 12)
            for number in range(start, start + 1000)
        ])  # fmt: skip
    await new.start()
    acts = [sealed.wire async for page in old.log.history.by_types(KEPT_TYPES) for sealed in page]
    await new.log.receive(acts)
    joined = await new.log.append(MemberJoined(invitation.event.event_id, {}))
    await old.log.receive([joined.wire])
    signed = await _signatures(old, min(count, 10_000))
    verify_s = _verify(signed)
    began = time.perf_counter()
    result = await new.client.sync(old.peer)
    sync_s = time.perf_counter() - began
    assert result.complete
    assert result.pulled == count
    verify_s = min(verify_s, _verify(signed))
    rate, limit = count / sync_s, len(signed) / verify_s
    again = await new.client.sync(old.peer)
    bulk.close()
    await new.close()
    await old.close()
    network.deadlines.close()
    return {"events": count, "seconds": sync_s, "rate": rate, "verify_rate": limit, "ratio": rate / limit,
            "bytes_per_event": (result.sent_bytes + result.received_bytes) / count, "legs": result.legs,
            "idle_bytes_per_hour": (again.sent_bytes + again.received_bytes) * 3600 / INTERVAL_S}  # fmt: skip


async def _signatures(node, count):
    from hearthnet.mesh.event_history import Position
    from hearthnet.wire.event import _unsigned
    from hearthnet.wire.identity import Domain, signing_input

    page, _ = await node.log.history.page(Position(), count)
    return [
        (VerifyKey(public_key_of(sealed.event.author)), signing_input(Domain.EVENT, COMMUNITY, _unsigned(sealed.event, sealed.wire)),
         base64.urlsafe_b64decode(sealed.event.signature[8:] + "==")) for sealed in page
    ]  # fmt: skip


def _verify(signed):
    """Seconds that bare PyNaCl takes, on all cores."""
    cores = os.cpu_count() or 1

    def check(part):
        for key, message, signature in part:
            key.verify(message, signature)

    with ThreadPoolExecutor(cores) as pool:
        began = time.perf_counter()
        list(pool.map(check, [signed[core::cores] for core in range(cores)]))
        return time.perf_counter() - began


def show_logs(rows):
    for row in rows:
        verdict = "met" if row["ratio"] >= BARS["logs_ratio"] else "MISSED"
        print(
            f"{row['events']:>8,} cold events {row['seconds']:7.2f} s {row['rate']:8,.0f} /s, PyNaCl alone {row['verify_rate']:,.0f} /s:"
            f" {row['ratio']:.2f}x, bar {BARS['logs_ratio']}: {verdict}; {row['bytes_per_event']:.0f} B an event on the wire"
        )
    print(
        f"gossip with nothing new      {rows[-1]['idle_bytes_per_hour']:,.0f} B an hour (contents, every {INTERVAL_S:.0f} s)"
    )


def verdicts(found):
    """Whether each bar that was measured is met."""
    checks = {}
    for row in found.get("ranges", ()):
        if row["split"] == "ours" and row["differences"] == 0:
            checks[f"in step {row['events']}"] = (
                row["bytes"] <= BARS["in_step_bytes"] and row["ms"] <= BARS["in_step_ms"]
            )
        if row["split"] == "ours" and row["differences"] == 1000 and row["place"] in ("recent", "pull"):
            checks[f"{row['place']} {row['events']}"] = (
                row["per_id"] <= BARS["recent_bytes_per_id"] and row["round_trips"] <= BARS["recent_round_trips"]
            )
    if "index" in found:
        checks["memory"] = found["index"]["bytes_per_event"] <= BARS["bytes_per_event"]
        checks["in step after a change"] = found["index"]["in_step_ms"] <= BARS["in_step_ms"]
    for row in found.get("logs", ()):
        checks[f"logs {row['events']}"] = row["ratio"] >= BARS["logs_ratio"]
    return checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--logs", type=int, default=100_000)
    parser.add_argument("--only", default="ranges,index,logs")
    options = parser.parse_args()
    parts, found = options.only.split(","), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "index" in parts:
            found["index"] = {"count": options.events, **measure_index(options.events, folder)}
        if "ranges" in parts:
            found["ranges"] = measure_ranges((options.events // 10, options.events), random.Random(1))
        if "logs" in parts:
            found["logs"] = [asyncio.run(measure_logs(count, folder)) for count in (options.logs // 10, options.logs)]
    checks = verdicts(found)
    if options.json:
        print(json.dumps({"bench": "mesh", **found, "bars": BARS, "checks": checks, "met": all(checks.values())}))
    else:
        for part, show in (("ranges", show_ranges), ("index", show_index), ("logs", show_logs)):
            if part in found:
                show(found[part])
        print("; ".join(f"{check}: {'met' if met else 'MISSED'}" for check, met in checks.items()))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
