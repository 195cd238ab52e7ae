"""Damage, crashes and a full disk under the blob folder."""

from __future__ import annotations

import os

import pytest

from hearthnet.adapters.blobs_dir import BlobStore
from hearthnet.adapters.disk import DiskSpace
from hearthnet.base.constants import CHUNK_SIZE_BYTES
from hearthnet.base.errors import DiskFull, HashMismatch, NotFound
from hearthnet.wire.cid import cid_of

BIG = os.urandom(5 * CHUNK_SIZE_BYTES + 17)


class SystemTime:
    def now(self):
        return 1_800_000_000.0


def open_blobs(tmp_path, **options):
    return BlobStore(tmp_path / "blobs", SystemTime(), min_free_bytes=options.pop("min_free_bytes", 0), **options)


async def put(blobs, data):
    async with blobs.writer() as writer:
        await writer.write(data)
        return await writer.commit()


async def read_until_fault(blobs, cid):
    """The bytes given out before the damage was found; fails when it never is."""
    got, stream = b"", blobs.read(cid)
    while True:
        try:
            got += await anext(stream)
        except HashMismatch:
            return got


def bin_of(tmp_path, cid):
    digits = cid.removeprefix("blake3:")
    return tmp_path / "blobs" / digits[:2] / f"{digits[2:]}.bin"


async def test_the_layout_is_the_specifications(tmp_path):
    blobs = open_blobs(tmp_path)
    cid = await put(blobs, BIG)
    assert bin_of(tmp_path, cid).read_bytes() == BIG
    assert bin_of(tmp_path, cid).with_suffix(".manifest.json").exists()
    await blobs.pin(cid)
    assert (tmp_path / "blobs/pinned.txt").read_text() == f"{cid}\n"


@pytest.mark.parametrize("chunk", [0, 3, 5])
async def test_a_flipped_byte_stops_the_stream_before_its_chunk(tmp_path, chunk):
    blobs = open_blobs(tmp_path)
    cid = await put(blobs, BIG)
    with bin_of(tmp_path, cid).open("r+b") as file:
        file.seek(chunk * CHUNK_SIZE_BYTES + 5)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    got = await read_until_fault(blobs, cid)
    assert BIG.startswith(got)
    assert len(got) <= chunk * CHUNK_SIZE_BYTES


@pytest.mark.parametrize("size", [0, 1000, CHUNK_SIZE_BYTES, 3 * CHUNK_SIZE_BYTES])
async def test_a_truncated_blob_gives_out_nothing(tmp_path, size):
    blobs = open_blobs(tmp_path)
    cid = await put(blobs, BIG)
    os.truncate(bin_of(tmp_path, cid), size)
    assert await read_until_fault(blobs, cid) == b""


async def test_a_chunk_damaged_in_one_blob_is_read_from_another(tmp_path):
    blobs = open_blobs(tmp_path)
    cid = await put(blobs, BIG)
    other = await put(blobs, BIG + b"more")
    chunk = (await blobs.manifest(cid)).chunks[2]
    for damaged in (cid, other):
        with bin_of(tmp_path, damaged).open("r+b") as file:
            file.seek(2 * CHUNK_SIZE_BYTES)
            file.write(b"garbage")
        if damaged == cid:
            assert await blobs.chunk(chunk) == BIG[2 * CHUNK_SIZE_BYTES : 3 * CHUNK_SIZE_BYTES]
    with pytest.raises(HashMismatch):
        await blobs.chunk(chunk)


async def test_swapped_files_give_out_nothing(tmp_path):
    blobs = open_blobs(tmp_path)
    mine, other = await put(blobs, BIG), await put(blobs, BIG[::-1])
    for suffix in (".bin", ".manifest.json"):
        bin_of(tmp_path, other).with_suffix(suffix).replace(bin_of(tmp_path, mine).with_suffix(suffix))
    assert await read_until_fault(blobs, mine) == b""


@pytest.mark.parametrize("damage", [b"", b"{", b'{"content": 1}', b'{"content": "\xff"}', None])
async def test_a_lost_or_torn_chunk_list_is_made_again(tmp_path, damage):
    blobs = open_blobs(tmp_path)
    cid = await put(blobs, BIG)
    manifest = await blobs.manifest(cid)
    file = bin_of(tmp_path, cid).with_suffix(".manifest.json")
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    assert b"".join([chunk async for chunk in blobs.read(cid)]) == BIG
    assert await blobs.manifest(cid) == manifest
    assert cid in file.read_text()


async def test_putting_a_damaged_blob_again_mends_it(tmp_path):
    blobs = open_blobs(tmp_path)
    cid = await put(blobs, BIG)
    os.truncate(bin_of(tmp_path, cid), 10)
    await put(blobs, BIG)
    assert b"".join([chunk async for chunk in blobs.read(cid)]) == BIG


async def test_a_restart_finds_blobs_pins_and_no_leftover_parts(tmp_path):
    blobs = open_blobs(tmp_path)
    cid = await put(blobs, BIG)
    await blobs.pin(cid)
    (tmp_path / "blobs/.parts/leftover").write_bytes(b"half a blob")
    again = open_blobs(tmp_path)
    assert await again.list() == [cid]
    assert not await again.delete(cid)
    assert list((tmp_path / "blobs/.parts").iterdir()) == []
    assert (await again.manifest(cid)).cid == (await blobs.manifest(cid)).cid


async def test_below_the_free_minimum_it_cleans_first_and_refuses_only_then(tmp_path):
    def measure(root):
        return DiskSpace(1_000_000, 1_000_000 - sum(file.stat().st_size for file in root.rglob("*.bin")))

    blobs = open_blobs(tmp_path, min_free_bytes=150_000, measure=measure)
    old = await put(blobs, bytes(400_000))
    pinned = await put(blobs, bytes(430_000))
    await blobs.pin(pinned)
    assert await blobs.room() == 20_000
    new = await put(blobs, bytes(50_000))
    assert not await blobs.has(old)
    with pytest.raises(DiskFull) as caught:
        await put(blobs, bytes(500_001))
    assert caught.value.fix
    assert await blobs.list() == sorted([pinned, new])


async def test_an_error_of_a_background_write_reaches_the_writer(tmp_path):
    blobs = open_blobs(tmp_path, min_free_bytes=0, measure=lambda root: DiskSpace(10_000_000, 3_000_000))

    async def put_too_much():
        async with blobs.writer() as writer:
            for _ in range(4):
                await writer.write(bytes(3_500_000))

    with pytest.raises(DiskFull):
        await put_too_much()
    assert await blobs.list() == []
    assert list((tmp_path / "blobs/.parts").iterdir()) == []


async def test_a_blob_removed_while_it_is_read_is_read_to_its_end(tmp_path):
    blobs = open_blobs(tmp_path)
    cid = await put(blobs, BIG)
    stream = blobs.read(cid)
    got = await anext(stream)
    assert await blobs.delete(cid)
    got += b"".join([chunk async for chunk in stream])
    assert got == BIG
    with pytest.raises(NotFound):
        await anext(blobs.read(cid_of(BIG)))
