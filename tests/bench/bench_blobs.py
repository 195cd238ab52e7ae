"""Figures of the blob store, each beside its alternative in the same run (M07).

    python tests/bench/bench_blobs.py [--json] [--mib 256]

put: hash, write, sync and rename against blake3 + file write + fsync alone; get: checked chunks against file read +
blake3 alone. The two sides take turns; the ratio compares the fastest of each.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge")]

from blake3 import blake3  # noqa: E402

from hearthnet.adapters.blobs_dir import BlobStore  # noqa: E402
from hearthnet.adapters.clock import SystemClock  # noqa: E402

TURNS = 7
PIECE = 1_048_576
BAR = 0.7


async def put(blobs, pieces):
    async with blobs.writer() as writer:
        for piece in pieces:
            await writer.write(piece)
        return await writer.commit()


async def get(blobs, cid):
    size = 0
    async for chunk in blobs.read(cid):
        size += len(chunk)
    return size


def write_bare(path, pieces):
    digest = blake3()
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
        os.fsync(file.fileno())
    return digest.hexdigest()


def read_bare(path):
    digest = blake3()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


async def run(folder, mib):
    block = [os.urandom(PIECE) for _ in range(16)]
    figures = {"put": ([], []), "get": ([], [])}

    def note(name, side, began):
        figures[name][side].append(mib / (time.perf_counter() - began))

    for turn in range(TURNS):
        block[0] = os.urandom(PIECE)  # another blob each turn
        pieces = [block[index % 16] for index in range(mib)]
        blobs = BlobStore(folder / "blobs", SystemClock(), min_free_bytes=0, gc_threshold=1.0)
        bare = folder / "bare"
        began = time.perf_counter()
        cid = await put(blobs, pieces)
        note("put", 0, began)
        began = time.perf_counter()
        digest = write_bare(bare, pieces)
        note("put", 1, began)
        assert cid == f"blake3:{digest}", turn
        began = time.perf_counter()
        assert await get(blobs, cid) == mib * PIECE
        note("get", 0, began)
        began = time.perf_counter()
        assert read_bare(bare) == digest
        note("get", 1, began)
        await blobs.delete(cid)
        bare.unlink()
    return [compare(f"{name} {mib} MiB / {what}", *figures[name]) for name, what in
            (("put", "blake3 + file write + fsync"), ("get", "file read + blake3"))]  # fmt: skip


def compare(name, ours, others):
    ratio = max(ours) / max(others)
    median = statistics.median(mine / other for mine, other in zip(ours, others, strict=True))
    return {
        "name": name, "ours": round(max(ours)), "alternative": round(max(others)), "unit": " MiB/s",
        "ratio": round(ratio, 2), "median_ratio": round(median, 2), "bar": BAR, "ok": ratio >= BAR,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--folder", help="where the files go; a real disk, or the figures mean nothing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        results = asyncio.run(run(Path(folder), args.mib))
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        for line in results:
            verdict = "ok" if line["ok"] else "BELOW"
            print(f"{line['name']}\n    {line['ours']}{line['unit']} against {line['alternative']}{line['unit']}:"
                  f" {line['ratio']} (median of turns {line['median_ratio']}, bar {line['bar']}) {verdict}")  # fmt: skip
    return 0 if all(line["ok"] for line in results) else 1


if __name__ == "__main__":
    sys.exit(main())
