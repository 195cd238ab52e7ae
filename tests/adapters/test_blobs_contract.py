"""What every blob store promises, asked of the real one and of its fake."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.adapters.blobs_dir import BlobStore
from hearthnet.adapters.blobs_fake import FakeBlobs
from hearthnet.adapters.disk import DiskSpace
from hearthnet.base.constants import CHUNK_SIZE_BYTES
from hearthnet.base.errors import BadRequest, DiskFull, HashMismatch, NotFound
from hearthnet.wire.cid import cid_of

BIG = b"".join(bytes([i]) * 100_000 for i in range(7))  # 700,000 bytes, three chunks


class StepClock:
    """Wall clock that a test moves."""

    def __init__(self):
        self.time = 1_900_000_000.0

    def now(self):
        return self.time


class SmallDisk:
    """A disk of one megabyte on which only blobs lie; the real store measures it."""

    total_bytes = 1_000_000

    def measure(self, root):
        used = sum(file.stat().st_size for file in root.rglob("*.bin"))
        return DiskSpace(self.total_bytes, self.total_bytes - used)


def open_blobs(kind, tmp_path, clock):
    if kind == "fake":
        return FakeBlobs(SmallDisk.total_bytes)
    return BlobStore(tmp_path / "blobs", clock, min_free_bytes=0, measure=SmallDisk().measure)


@pytest.fixture
def clock():
    return StepClock()


@pytest.fixture(params=["real", "fake"])
def blobs(request, tmp_path, clock):
    return open_blobs(request.param, tmp_path, clock)


async def put(blobs, data, expected=None, piece=65_536):
    async with blobs.writer(expected) as writer:
        for start in range(0, len(data), piece):
            await writer.write(data[start : start + piece])
        return await writer.commit()


async def get(blobs, cid):
    return b"".join([chunk async for chunk in blobs.read(cid)])


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE_BYTES - 1, CHUNK_SIZE_BYTES, CHUNK_SIZE_BYTES + 1, 700_000])
async def test_what_was_put_comes_back_under_the_hash_of_its_bytes(blobs, size):
    cid = await put(blobs, BIG[:size])
    assert cid == cid_of(BIG[:size])
    assert await get(blobs, cid) == BIG[:size]
    assert await blobs.size(cid) == size
    assert await blobs.has(cid)


@pytest.mark.parametrize("piece", [1000, CHUNK_SIZE_BYTES, 700_000])
async def test_the_size_of_the_written_pieces_does_not_matter(blobs, piece):
    assert await put(blobs, BIG, piece=piece) == cid_of(BIG)
    assert await get(blobs, cid_of(BIG)) == BIG


async def test_chunks_leave_one_at_a_time(blobs):
    cid = await put(blobs, BIG)
    sizes = [len(chunk) async for chunk in blobs.read(cid)]
    assert sizes == [CHUNK_SIZE_BYTES, CHUNK_SIZE_BYTES, 700_000 - 2 * CHUNK_SIZE_BYTES]


async def test_nothing_is_visible_before_commit_or_without_it(blobs):
    async with blobs.writer() as writer:
        await writer.write(BIG)
        assert await blobs.list() == []
    assert not await blobs.has(cid_of(BIG))
    with pytest.raises(NotFound):
        await blobs.size(cid_of(BIG))


async def test_a_writer_that_expects_another_blob_keeps_nothing(blobs):
    with pytest.raises(HashMismatch):
        await put(blobs, b"these bytes", expected=cid_of(b"others"))
    assert await blobs.list() == []
    assert await put(blobs, b"others", expected=cid_of(b"others")) == cid_of(b"others")


async def test_putting_the_same_bytes_twice_keeps_one(blobs):
    first, second = await put(blobs, BIG[:300_000]), await put(blobs, BIG[:300_000])
    assert first == second
    assert await blobs.list() == [first]


async def test_absent_blobs_are_not_found(blobs):
    absent = cid_of(b"absent")
    for ask in (blobs.size, blobs.manifest, blobs.chunk, lambda cid: get(blobs, cid)):
        with pytest.raises(NotFound):
            await ask(absent)
    assert not await blobs.has(absent)
    assert not await blobs.delete(absent)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "blake3:../../../../etc/passwd", "blake3:" + "A" * 64, "blake3:", ""]
)
async def test_names_that_are_no_content_id_reach_no_file(blobs, name):
    for ask in (blobs.has, blobs.size, blobs.manifest, blobs.chunk, blobs.delete, blobs.pin):
        with pytest.raises(BadRequest):
            await ask(name)
    with pytest.raises(BadRequest):
        await get(blobs, name)
    with pytest.raises(BadRequest):
        await put(blobs, b"x", expected=name)


async def test_the_manifest_answers_to_both_names_and_its_chunks_to_theirs(blobs):
    cid = await put(blobs, BIG)
    manifest = await blobs.manifest(cid)
    assert await blobs.manifest(manifest.cid) == manifest
    assert manifest.size_bytes == len(BIG)
    chunks = [await blobs.chunk(chunk) for chunk in manifest.chunks]
    assert b"".join(chunks) == BIG
    with pytest.raises(NotFound):
        await blobs.chunk(cid)  # the whole is not one of its chunks
    small = await put(blobs, b"small")
    assert await blobs.chunk(small) == b"small"
    assert (await blobs.manifest(small)).chunks == (small,)


async def test_an_id_of_the_whole_of_its_manifest_or_of_a_chunk_finds_the_blob(blobs):
    cid = await put(blobs, BIG)
    manifest = await blobs.manifest(cid)
    assert {await blobs.find(name) for name in (cid, manifest.cid, *manifest.chunks)} == {cid}
    with pytest.raises(NotFound):
        await blobs.find(cid_of(b"absent"))


async def test_a_chunk_shared_by_two_blobs_stays_when_one_goes(blobs):
    first, second = await put(blobs, BIG[:300_000]), await put(blobs, BIG[:300_000] + b"more")
    shared = (await blobs.manifest(first)).chunks[0]
    assert await blobs.chunk(shared) == BIG[:CHUNK_SIZE_BYTES]
    await blobs.delete(first)
    assert await blobs.chunk(shared) == BIG[:CHUNK_SIZE_BYTES]
    assert await blobs.find(shared) == second


async def test_a_removed_blob_takes_its_chunks_along(blobs):
    cid = await put(blobs, BIG)
    manifest = await blobs.manifest(cid)
    assert await blobs.chunk(manifest.chunks[1])
    assert await blobs.delete(cid)
    with pytest.raises(NotFound):
        await blobs.chunk(manifest.chunks[1])
    with pytest.raises(NotFound):
        await blobs.manifest(manifest.cid)


async def test_listing_by_prefix(blobs):
    cids = sorted([await put(blobs, bytes([i])) for i in range(40)])
    assert await blobs.list() == cids
    assert await blobs.list("blake3:") == cids
    assert await blobs.list(cids[7]) == [cids[7]]
    head = cids[7][:8]
    assert await blobs.list(head) == [cid for cid in cids if cid.startswith(head)]
    head = cids[7][:10]
    assert await blobs.list(head) == [cid for cid in cids if cid.startswith(head)]
    for nonsense in ("sha256:", "blake3:*", "blake3:../", "../"):
        assert await blobs.list(nonsense) == []


async def test_a_pinned_blob_cannot_be_deleted_until_released(blobs):
    cid = await put(blobs, b"keep")
    await blobs.pin(cid)
    assert not await blobs.delete(cid)
    await blobs.pin(cid, False)
    assert await blobs.delete(cid)
    assert not await blobs.has(cid)


async def test_garbage_goes_oldest_first_to_the_target_and_spares_the_pinned(blobs, clock):
    cids = []
    for number in range(9):
        cids.append(await put(blobs, bytes([number]) * 95_000))
        clock.time += 10_000
    await blobs.pin(cids[0])
    await get(blobs, cids[1])  # used again: now the youngest
    assert await blobs.collect_garbage() == 2 * 95_000  # 0.855 of the disk -> below 0.7
    assert await blobs.list() == sorted([cids[0], cids[1], *cids[4:]])
    assert await blobs.collect_garbage() == 0


async def test_room_shrinks_by_what_is_stored(blobs):
    before = await blobs.room()
    await put(blobs, BIG)
    assert before - await blobs.room() == len(BIG)


async def test_a_reader_that_leaves_early_leaves_the_store_usable(blobs):
    cid = await put(blobs, BIG)
    stream = blobs.read(cid)
    assert isinstance(stream, AsyncIterator)
    assert len(await anext(stream)) == CHUNK_SIZE_BYTES
    await stream.aclose()
    assert await get(blobs, cid) == BIG


async def test_a_cancelled_writer_leaves_nothing(blobs, tmp_path):
    started = asyncio.Event()

    async def endless():
        async with blobs.writer() as writer:
            for _ in itertools.count():
                await writer.write(b"x" * 1000)
                started.set()
                await asyncio.sleep(0)

    task = asyncio.ensure_future(endless())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await blobs.list() == []
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


@given(st.lists(st.binary(max_size=5000), max_size=8), st.integers(0, 300_000))
def test_any_pieces_give_the_hash_of_their_sum(tmp_path_factory, pieces, extra):
    async def check():
        blobs = open_blobs("real", tmp_path_factory.mktemp("b"), StepClock())
        whole = b"".join(pieces) + bytes(extra)
        async with blobs.writer() as writer:
            for piece in [*pieces, bytes(extra)]:
                await writer.write(piece)
            cid = await writer.commit()
        assert cid == cid_of(whole)
        assert await get(blobs, cid) == whole

    asyncio.run(check())


# ---- the fake's faults ----------------------------------------------------------------------------------------


async def test_the_fakes_full_disk_refuses_and_recovers():
    blobs = FakeBlobs()
    blobs.fill_disk(after_bytes=100)
    with pytest.raises(DiskFull):
        await put(blobs, bytes(101))
    assert await blobs.list() == []
    blobs.free_disk()
    assert blobs.history == [("stored", await put(blobs, bytes(101)))]


async def test_the_fakes_flipped_byte_is_noticed():
    blobs = FakeBlobs()
    cid = await put(blobs, BIG)
    blobs.flip_byte(cid, 600_000)
    stream = blobs.read(cid)
    assert await anext(stream) + await anext(stream) == BIG[: 2 * CHUNK_SIZE_BYTES]
    with pytest.raises(HashMismatch):
        await anext(stream)


def test_time_of_use_is_the_clocks_and_not_the_machines(tmp_path):
    clock = StepClock()
    blobs = open_blobs("real", tmp_path, clock)
    asyncio.run(put(blobs, b"x"))
    (file,) = (tmp_path / "blobs").rglob("*.bin")
    assert file.stat().st_mtime == clock.time != time.time()
