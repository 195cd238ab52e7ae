"""A really full disk under the event log: nothing acknowledged is lost, and it goes on when space returns."""

from __future__ import annotations

import asyncio
import os

import pytest

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.base.errors import DiskFull
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.events import EventLog, create_community
from hearthnet.mesh.snapshots import Snapshots
from hearthnet.mesh.views import DocumentsView
from mesh.log_world import COMMUNITY, FOUNDER, document


async def open_log(folder):
    store = SqliteStore.open(folder / "events.sqlite", EVENTS_SCHEMA)
    snapshots = Snapshots(folder / "snapshots", FOUNDER, COMMUNITY)
    log = EventLog(store, FOUNDER, COMMUNITY, FakeClock(), os.urandom, views=[DocumentsView()], snapshots=snapshots)
    await log.open()
    return store, log


async def append_until_full(log):
    kept = []
    for start in range(0, 100_000, 20):
        outcomes = await asyncio.gather(
            *[log.append(document(start + number)) for number in range(20)], return_exceptions=True
        )
        kept += [item.hash for item in outcomes if not isinstance(item, BaseException)]
        if {type(item) for item in outcomes} == {DiskFull}:
            return kept
    raise AssertionError("the disk never filled")


async def test_appends_on_a_full_disk(small_disk):
    disk = small_disk(1536)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    store, log = await open_log(disk)
    await create_community(log, "Our street")
    kept = await append_until_full(log)
    assert len(kept) > 100
    ballast.unlink()
    kept.append((await log.append(document(999_999))).hash)
    await log.close()
    await store.close()

    store, log = await open_log(disk)
    assert await log.history.verify_all(FOUNDER.node_id) == len(kept) + 1
    stored = {sealed.hash async for page in log.history.by_type("rag.document.ingested") for sealed in page}
    assert stored == set(kept)
    await log.close()
    await store.close()


async def test_a_snapshot_that_does_not_fit_leaves_the_one_before(small_disk, tmp_path):
    disk = small_disk(64)
    (tmp_path / "snapshots").symlink_to(disk)
    store, log = await open_log(tmp_path)
    await create_community(log, "Our street")
    assert await log.snapshot()
    await asyncio.gather(*[log.append(document(number)) for number in range(500)])
    with pytest.raises(DiskFull):
        await log.snapshot()
    assert len(list(disk.iterdir())) == 1
    await log.close()
    await store.close()
    store, log = await open_log(tmp_path)
    assert await log.history.size() == 501
    await log.close()
    await store.close()
