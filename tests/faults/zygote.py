"""Starts children by fork, so that a test can kill many real processes a second; run as a script.

Reads lines `workload folder seed`; answers `pid N` and passes on the child's lines, one for each thing that the child
was told is stored. After the child's death it says `dead`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
from pathlib import Path

from hearthnet.adapters.blobs_dir import BlobStore
from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.events import EventLog, create_community
from hearthnet.mesh.views import DocumentsView
from hearthnet.ports import Migration
from mesh.log_world import COMMUNITY, FOUNDER, document

NOTES = (Migration("notes", 1, "CREATE TABLE notes (id TEXT PRIMARY KEY, text BLOB)"),)
BLOB_BYTES = (0, 1000, 262_144, 600_000)


def tell(text):
    os.write(1, f"{text}\n".encode())


async def transact(folder, seed):
    """Rows in groups, each row told as soon as it is acknowledged."""
    store = SqliteStore.open(folder / "node.sqlite", NOTES)

    async def insert(name):
        await store.transact(
            lambda tx: tx.execute("INSERT INTO notes VALUES (?, ?)", (name, random.randbytes(random.randrange(3000))))
        )
        tell(name)

    for number in range(100_000):
        await asyncio.gather(*[insert(f"{seed}-{number}-{part}") for part in range(random.randrange(1, 8))])


async def append(folder, seed):
    """Own events, alone and together."""
    store = SqliteStore.open(folder / "events.sqlite", EVENTS_SCHEMA)
    log = EventLog(store, FOUNDER, COMMUNITY, SystemClock(), os.urandom, views=[DocumentsView()])
    opened = await log.open()
    if opened.events == 0:
        tell((await create_community(log, "Our street")).hash)

    async def add(number):
        tell((await log.append(document(number))).hash)

    for number in range(0, 1_000_000, 10):
        await asyncio.gather(*[add(seed * 1_000_000 + number + part) for part in range(random.randrange(1, 8))])


async def put(folder, seed):
    """Blobs of several sizes, some of them pinned."""
    blobs = BlobStore(folder / "blobs", SystemClock(), min_free_bytes=0)
    while True:
        async with blobs.writer() as writer:
            size = random.choice(BLOB_BYTES)
            for _ in range(0, size, 100_000):
                await writer.write(random.randbytes(min(size, 100_000)))
            cid = await writer.commit()
        tell(cid)
        if random.random() < 0.3:
            await blobs.pin(cid)
            tell(f"pinned {cid}")


def main():
    gc.freeze()
    for line in sys.stdin:
        name, folder, seed = line.split()
        pid = os.fork()
        if pid == 0:
            random.seed(int(seed))
            asyncio.run(globals()[name](Path(folder), int(seed)))
            os._exit(0)
        tell(f"pid {pid}")
        os.waitpid(pid, 0)
        tell("dead")


if __name__ == "__main__":
    main()
