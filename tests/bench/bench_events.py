"""Figures of the event log, each beside its alternative in the same run (X02).

    python tests/bench/bench_events.py [--json] [--events 100000] [--only append,batched,receive,scale]

The two sides take short turns, each turn of one right after one of the other. The ratio is the median of the ratios of
such neighbours: a moment in which others use the machine or its disk hits both sides of a pair, and a lucky turn of one
side, which decided the ratio of the fastest turns, counts no more than any other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge"), str(ROOT / "tests")]

from nacl.signing import SigningKey, VerifyKey  # noqa: E402

from hearthnet.adapters.clock import SystemClock  # noqa: E402
from hearthnet.adapters.store_sqlite import SqliteStore  # noqa: E402
from hearthnet.adapters.verify_processes import VerifyProcesses  # noqa: E402
from hearthnet.mesh.event_history import Position  # noqa: E402
from hearthnet.mesh.event_rows import EVENTS_SCHEMA  # noqa: E402
from hearthnet.mesh.events import EventLog, create_community  # noqa: E402
from hearthnet.mesh.snapshots import Snapshots  # noqa: E402
from hearthnet.mesh.views import DocumentsView  # noqa: E402
from hearthnet.wire.cid import cid_of  # noqa: E402
from hearthnet.wire.event_types import CidUnpinned, DocumentIngested  # noqa: E402
from hearthnet.wire.identity import Domain, KeyPair, signing_input  # noqa: E402

FOUNDER = KeyPair(bytes([1]) * 32)
READER = KeyPair(bytes([2]) * 32)
COMMUNITY = FOUNDER.node_id
PAIRS, SINGLE = 61, 20
BATCH_PAIRS, BATCH = 25, 1000
RECEIVE_PAIRS, RECEIVE, FIRST = 9, 24_000, 4_100


def document(number):
    title = f"Notes on water in the cellar, part {number}"
    return DocumentIngested("personal", cid_of(b"%d" % number), title, "en", 12)


@asynccontextmanager
async def open_log(folder, key=FOUNDER, found=True, bulk=None):
    store = SqliteStore.open(folder / "events.sqlite", EVENTS_SCHEMA)
    snapshots = Snapshots(folder / "snapshots", key, COMMUNITY)
    log = EventLog(
        store, key, COMMUNITY, SystemClock(), os.urandom, views=[DocumentsView()], snapshots=snapshots, bulk=bulk
    )
    opened = await log.open()
    if found and opened.events == 0:
        await create_community(log, "Bench")
    try:
        yield log
    finally:
        await log.close()
        await store.close()


def open_bare(folder):
    bare = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute("PRAGMA synchronous=FULL")
    bare.execute("CREATE TABLE IF NOT EXISTS t (hash BLOB PRIMARY KEY, wire BLOB)")
    return bare


async def all_wires(log):
    wires, position = [], Position()
    while True:
        page, position = await log.history.page(position)
        if not page:
            return wires
        wires += [sealed.wire for sealed in page]


def compare(name, bar, ours, others, unit="/s", **more):
    ratios = [mine / other for mine, other in zip(ours, others, strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    return {
        "name": name, "ours": round(statistics.median(ours)), "alternative": round(statistics.median(others)),
        "unit": unit, "ratio": round(ratio, 2), "middle_half": [round(low, 2), round(high, 2)],
        "of_fastest": round(max(ours) / max(others), 2), "bar": bar, "ok": ratio >= bar, **more,
    }  # fmt: skip


async def bench_append(folder):
    ours, others = [], []
    bare = open_bare(folder)
    async with open_log(folder) as log:
        sample = (await log.append(document(0))).wire
        number = 1
        for _ in range(PAIRS):
            began = time.perf_counter()
            for _ in range(SINGLE):
                await log.append(document(number))
                number += 1
            ours.append(SINGLE / (time.perf_counter() - began))
            began = time.perf_counter()
            for _ in range(SINGLE):
                bare.execute("BEGIN IMMEDIATE")
                bare.execute("INSERT INTO t VALUES (?, ?)", (os.urandom(32), sample))
                bare.execute("COMMIT")
            others.append(SINGLE / (time.perf_counter() - began))
    bare.close()
    return compare("append, signed, durable, one at a time / bare FULL commit of the same bytes", 0.6, ours, others)


async def bench_batched(folder):
    ours, others = [], []
    bare = open_bare(folder)
    signer = SigningKey(bytes([1]) * 32)
    async with open_log(folder) as log:
        sample = (await log.append(document(0))).wire
        number = 1
        for _ in range(BATCH_PAIRS):
            documents = [document(number + index) for index in range(BATCH)]
            number += BATCH
            began = time.perf_counter()
            await log.append_all(documents)
            ours.append(BATCH / (time.perf_counter() - began))
            began = time.perf_counter()
            rows = [(os.urandom(32), signer.sign(sample).message) for _ in range(BATCH)]
            bare.execute("BEGIN IMMEDIATE")
            bare.executemany("INSERT INTO t VALUES (?, ?)", rows)
            bare.execute("COMMIT")
            others.append(BATCH / (time.perf_counter() - began))
        began = time.perf_counter()
        documents = [document(number + index) for index in range(3 * BATCH)]
        await asyncio.gather(*[log.append(data) for data in documents])
        concurrent = round(len(documents) / (time.perf_counter() - began))
    bare.close()
    return compare(
        f"append, {BATCH} together / raw sign + bare insert of {BATCH}", 0.7, ours, others, concurrent_calls=concurrent
    )


async def bench_receive(folder):
    (folder / "a").mkdir()
    async with open_log(folder / "a") as log:
        for start in range(0, RECEIVE, BATCH):
            await log.append_all([document(start + index) for index in range(BATCH)])
        wires = await all_wires(log)
        page, _ = await log.history.page(Position(), RECEIVE)
    key = VerifyKey(FOUNDER.public)
    signed = [signed_parts(sealed) for sealed in page]
    cores = os.cpu_count() or 1

    def verify(part):
        for message, signature in part:
            key.verify(message, signature)

    ours, others = [], []
    for turn in range(RECEIVE_PAIRS):
        async with open_log(folder / str(turn), READER, found=False, bulk=VerifyProcesses()) as log:
            await log.receive(wires[:FIRST])  # a sync is many deliveries: the helpers start with the first, then stay
            began = time.perf_counter()
            receipt = await log.receive(wires[FIRST:])
            ours.append(receipt.accepted / (time.perf_counter() - began))
            assert receipt.accepted == len(wires) - FIRST, receipt
        with ThreadPoolExecutor(cores) as pool:
            began = time.perf_counter()
            list(pool.map(verify, [signed[index::cores] for index in range(cores)]))
            others.append(len(signed) / (time.perf_counter() - began))
    return compare(f"verified receive / raw PyNaCl verification on {cores} cores", 0.65, ours, others)


def signed_parts(sealed):
    from base64 import urlsafe_b64decode

    fields = json.loads(sealed.wire)
    signature = urlsafe_b64decode(fields.pop("signature").removeprefix("ed25519:") + "==")
    body = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return signing_input(Domain.EVENT, COMMUNITY, body), signature


async def bench_scale(folder, events):
    """Half of the events concern a view, half do not."""
    figures = []
    done = 0
    for size in sorted({max(1000, events // 100), max(1000, events // 10), events}):
        async with open_log(folder) as log:
            began = time.perf_counter()
            while done < size:
                count = min(BATCH, size - done)
                await log.append_all(
                    [document(done + i) if i % 2 else CidUnpinned(cid_of(b"%d" % i)) for i in range(count)]
                )
                done += count
            wrote = time.perf_counter() - began
            began = time.perf_counter()
            applied = await log.rebuild()
            rebuilt = time.perf_counter() - began
            await log.snapshot()
        del log  # one set of views in memory at a time
        began = time.perf_counter()
        store = SqliteStore.open(folder / "events.sqlite", EVENTS_SCHEMA)
        file_opened = time.perf_counter() - began
        snapshots = Snapshots(folder / "snapshots", FOUNDER, COMMUNITY)
        log = EventLog(
            store, FOUNDER, COMMUNITY, SystemClock(), os.urandom, views=[DocumentsView()], snapshots=snapshots
        )
        began = time.perf_counter()
        opened = await log.open()
        log_opened = time.perf_counter() - began
        began = time.perf_counter()
        appended = await log.append(document(done))
        figures.append({
            "events": opened.events, "file_mb": round((folder / "events.sqlite").stat().st_size / 1e6),
            "wrote_s": round(wrote, 2), "open_file_with_check_s": round(file_opened, 3),
            "open_log_with_head_and_snapshot_s": round(log_opened, 3), "replayed": opened.replayed,
            "first_append_ms": round((time.perf_counter() - began) * 1e3, 2),
            "rebuild_views_s": round(rebuilt, 2), "applied": applied,
            "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        })  # fmt: skip
        done += 1 if appended else 0
        await log.close()
        await store.close()
        del log
    return {"name": "open, verify head, rebuild views", "sizes": figures, "ok": True}


async def run(args):
    results = []
    benches = {"append": bench_append, "batched": bench_batched, "receive": bench_receive}
    for name, bench in benches.items():
        if not args.only or name in args.only:
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                results.append(await bench(Path(folder)))
    if not args.only or "scale" in args.only:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            results.append(await bench_scale(Path(folder), args.events))
    return results


def show(result):
    if "sizes" in result:
        print(result["name"])
        for line in result["sizes"]:
            print("   ", ", ".join(f"{key} {value}" for key, value in line.items()))
        return
    verdict = "ok" if result["ok"] else "BELOW"
    print(f"{result['name']}\n    {result['ours']}{result['unit']} against {result['alternative']}{result['unit']}:"
          f" {result['ratio']} (half of the pairs {result['middle_half'][0]} to {result['middle_half'][1]},"
          f" fastest turns {result['of_fastest']}, bar {result['bar']}) {verdict}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--folder", help="where the files go; a real disk, or the figures mean nothing")
    args = parser.parse_args()
    results = asyncio.run(run(args))
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        for result in results:
            show(result)
    return 0 if all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
