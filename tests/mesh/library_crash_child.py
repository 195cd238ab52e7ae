"""Ingests documents until it is killed; prints the number of each when it is acknowledged.

python library_crash_child.py HOME FIRST
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge"), str(ROOT / "tests")]

from hearthnet.adapters.blobs_dir import BlobStore  # noqa: E402  paths first
from hearthnet.adapters.clock import SystemClock  # noqa: E402
from hearthnet.adapters.engines.fake import FakeEngines  # noqa: E402
from hearthnet.adapters.readers.fake import FakeReader  # noqa: E402
from hearthnet.adapters.store_sqlite import SqliteStore  # noqa: E402
from hearthnet.adapters.vectors_fake import FakeVectors  # noqa: E402
from hearthnet.base.config import Config, RagSection  # noqa: E402
from hearthnet.capabilities.rag import CorpusParams, IngestInput, Library  # noqa: E402
from hearthnet.mesh.library_schema import MIGRATIONS  # noqa: E402
from hearthnet.mesh.services import Services  # noqa: E402
from hearthnet.mesh.supervisor import Supervisor  # noqa: E402
from mesh.library_world import OWN  # noqa: E402


def text_of(number: int) -> str:
    """Ninety pages, each found by a word of its own."""
    return "\f".join(f"Document marker{number}x page sheet{number}x{page} tells of pumps." for page in range(90))


async def main(home: Path, first: int) -> None:
    (home / "library" / "cards").mkdir(parents=True, exist_ok=True)
    store = SqliteStore.open(home / "node.sqlite", MIGRATIONS)
    blobs, tasks = BlobStore(home / "blobs", SystemClock(), min_free_bytes=0, gc_threshold=1.0), Supervisor()
    parts = dict.fromkeys(Services.__struct_fields__)
    parts |= {
        "config": Config(rag=RagSection(library_dir=str(home / "library"))), "clock": SystemClock(), "store": store,
        "blobs": blobs, "engines": FakeEngines(), "spawn": tasks.spawn, "reader": FakeReader(), "vectors": FakeVectors,
    }  # fmt: skip
    library = Library(Services(**parts))
    await library.start()
    print("started", flush=True)
    for number in range(first, first + 10_000):
        async with blobs.writer() as writer:
            await writer.write(text_of(number).encode())
            cid = await writer.commit()
        await library.ingest(OWN, CorpusParams("street"), IngestInput(cid))
        print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
