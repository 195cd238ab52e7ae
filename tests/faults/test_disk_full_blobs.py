"""A really full disk under the blob folder."""

from __future__ import annotations

import os

import pytest

from hearthnet.adapters.blobs_dir import BlobStore
from hearthnet.base.errors import DiskFull
from hearthnet.wire.cid import cid_of


class FixedTime:
    def now(self):
        return 1_800_000_000.0


async def put(blobs, data):
    async with blobs.writer() as writer:
        for start in range(0, len(data), 100_000):
            await writer.write(data[start : start + 100_000])
        return await writer.commit()


async def test_a_blob_that_does_not_fit_leaves_nothing_and_the_others_stay(small_disk):
    disk = small_disk(4096)
    blobs = BlobStore(disk, FixedTime(), min_free_bytes=0, gc_threshold=1.0)
    kept = os.urandom(1_000_000)
    await put(blobs, kept)
    before = await blobs.room()
    for _ in range(3):
        with pytest.raises(DiskFull) as caught:
            await put(blobs, os.urandom(6_000_000))
        assert caught.value.fix
    assert await blobs.room() == before
    assert await blobs.list() == [cid_of(kept)]
    assert b"".join([chunk async for chunk in blobs.read(cid_of(kept))]) == kept


async def test_a_writer_that_meets_the_end_of_the_disk_itself_works_again_when_space_returns(small_disk):
    disk = small_disk(4096)
    blobs = BlobStore(disk / "blobs", FixedTime(), min_free_bytes=0, gc_threshold=1.0, measure=lambda _: VAST)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    data = os.urandom(3_000_000)
    with pytest.raises(DiskFull):
        await put(blobs, data)
    assert await blobs.list() == []
    ballast.unlink()
    assert await put(blobs, data) == cid_of(data)


class VAST:
    """Space as a wrong measurement would report it: only the disk itself says that it is full."""

    total_bytes = 1 << 40
    free_bytes = 1 << 40
    used = 0.0
