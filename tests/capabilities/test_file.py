"""Files on the bus: what goes in comes out, in pieces, over restarts, and only to those who may see it."""

from __future__ import annotations

import base64
import os
from contextlib import aclosing

import pytest

from hearthnet.adapters.blobs_dir import BlobStore
from hearthnet.adapters.blobs_fake import FakeBlobs
from hearthnet.base.config import BusSection
from hearthnet.base.constants import CHUNK_SIZE_BYTES, REQUEST_MAX_BYTES
from hearthnet.base.errors import BadRequest, DiskFull, HearthNetError, NotFound, SchemaMismatch, Unauthorized
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import TrustLevel
from hearthnet.capabilities.file import Files
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Caller
from hearthnet.mesh.limits import Plan, Rate
from hearthnet.mesh.services import Services
from hearthnet.wire.cid import cid_of, make_blob_manifest
from hearthnet.wire.event_types import CidAdvertised, CidUnpinned
from hearthnet.wire.identity import short_id
from mesh.log_world import ANNA, BERT, FOUNDER, LogNode, Village

ME = Caller(None, TrustLevel.SELF, "session:1")
NEIGHBOUR = Caller(ANNA.node_id, TrustLevel.TRUSTED, ANNA.node_id)
WIDE = Plan(Rate(1e6, 1e7), Rate(1e6, 1e7))
BIG = os.urandom(3 * CHUNK_SIZE_BYTES + 100)


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def manifest_of(data):
    chunks = [data[start : start + CHUNK_SIZE_BYTES] for start in range(0, len(data), CHUNK_SIZE_BYTES)]
    made = make_blob_manifest(tuple(map(cid_of, chunks)), len(data))
    told = {"cid": made.cid, "size_bytes": made.size_bytes, "chunks": list(made.chunks)}
    return told, dict(zip(made.chunks, chunks, strict=True))


class FileNode:
    """A node with the file capabilities on its bus."""

    def __init__(self, blobs=None):
        self.blobs = blobs or FakeBlobs()
        self.node = LogNode()

    async def up(self):
        if not hasattr(self.node, "opened"):
            await self.node.found()
            await self.node.log.receive(Village().wires[1:])
        self.bus = CapabilityBus(
            FOUNDER.node_id, self.node.clock, BusSection(), TraceRing(), Metrics(), limits=WIDE, own_limits=WIDE
        )
        rest = dict.fromkeys(Services.__struct_fields__)
        rest.update(blobs=self.blobs, clock=self.node.clock, bus=self.bus, events=self.node.log)
        self.bus.register(Files(Services(**rest)))
        return self

    async def call(self, name, body, caller=ME):
        return await self.bus.call(f"file.{name}@1.0", None, body, caller=caller)

    async def read(self, cid, caller=ME):
        frames = self.bus.stream("file.read@1.0", None, {"cid": cid}, caller=caller)
        async with aclosing(frames):
            return [frame async for frame in frames]

    async def add(self, data):
        async with self.blobs.writer() as writer:
            await writer.write(data)
            return await writer.commit()

    async def put(self, data, caller=ME):
        told, chunks = manifest_of(data)
        reply = await self.call("put", {"manifest": told}, caller)
        while reply.needed:
            some = [{"cid": cid, "data_b64": b64(chunks[cid])} for cid in reply.needed[:2]]
            reply = await self.call("put", {"cid": told["cid"], "chunks": some}, caller)
        return reply


@pytest.fixture
async def node():
    node = await FileNode().up()
    yield node
    await node.bus.close()


def payload(frames):
    parts = [frame.data_b64 for frame in frames if hasattr(frame, "data_b64")]
    return b"".join(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts)


# ---- reading --------------------------------------------------------------------------------------------------


async def test_a_small_file_is_one_chunk(node):
    cid = await node.add(b"hello")
    chunk, done = await node.read(cid)
    assert (chunk.i, chunk.cid, chunk.size_bytes, chunk.data_b64) == (0, cid, 5, b64(b"hello"))
    assert done.chunks == 1


@pytest.mark.parametrize("by", ["content", "manifest"])
async def test_a_large_file_comes_as_manifest_and_chunks(node, by):
    content = await node.add(BIG)
    known = await node.blobs.manifest(content)
    manifest, *chunks, done = await node.read(content if by == "content" else known.cid)
    assert (manifest.cid, manifest.size_bytes, manifest.chunks) == (known.cid, len(BIG), known.chunks)
    assert [chunk.cid for chunk in chunks] == list(known.chunks)
    assert payload(chunks) == BIG
    assert done.chunks == 4


async def test_one_chunk_of_a_large_file_can_be_fetched_alone(node):
    known = await node.blobs.manifest(await node.add(BIG))
    frames = await node.read(known.chunks[2])
    assert payload(frames) == BIG[2 * CHUNK_SIZE_BYTES : 3 * CHUNK_SIZE_BYTES]


async def test_an_empty_file_is_a_manifest_without_chunks(node):
    manifest, done = await node.read(await node.add(b""))
    assert (manifest.size_bytes, manifest.chunks, done.chunks) == (0, (), 0)


async def test_a_missing_file_is_not_found_and_who_may_have_it_is_named(node):
    absent = cid_of(b"absent")
    await node.call("advertise", {"cids": [absent]}, NEIGHBOUR)
    with pytest.raises(NotFound) as caught:
        await node.read(absent)
    assert short_id(ANNA.node_id) in caught.value.fix
    with pytest.raises(NotFound) as caught:
        await node.read(cid_of(b"unknown"))
    assert caught.value.fix == ""


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "blake3:..", "blake3:" + "Z" * 64, "blake3:" + "a" * 64 + "\n", ""]
)
async def test_names_that_are_no_content_id_are_refused_by_the_schema(node, name):
    with pytest.raises(SchemaMismatch):
        await node.read(name)
    with pytest.raises(SchemaMismatch):
        await node.call("advertise", {"cids": [name]})


async def test_damaged_bytes_never_leave(node):
    cid = await node.add(BIG)
    node.blobs.flip_byte(cid, CHUNK_SIZE_BYTES + 5)
    async with aclosing(node.bus.stream("file.read@1.0", None, {"cid": cid}, caller=ME)) as frames:
        got = [await anext(frames), await anext(frames)]
        with pytest.raises(HearthNetError, match="damaged"):
            await anext(frames)
    assert payload(got) == BIG[:CHUNK_SIZE_BYTES]


# ---- who sees what --------------------------------------------------------------------------------------------


async def test_a_neighbour_sees_only_what_was_advertised(node):
    private, shared = await node.add(b"diary"), await node.add(BIG)
    assert await node.call("advertise", {"cids": [shared, cid_of(b"not here")]}) == type(
        await node.call("advertise", {"cids": [shared]})
    )(1)
    assert set((await node.call("list", {})).cids) == {private, shared}
    assert (await node.call("list", {}, NEIGHBOUR)).cids == (shared,)
    assert payload(await node.read(shared, NEIGHBOUR)) == BIG
    chunk = (await node.blobs.manifest(shared)).chunks[1]
    assert len(payload(await node.read(chunk, NEIGHBOUR))) == CHUNK_SIZE_BYTES
    for cid in (private, (await node.blobs.manifest(private)).cid):
        with pytest.raises(NotFound):
            await node.read(cid, NEIGHBOUR)


async def test_what_is_unpinned_is_no_longer_shown(node):
    cid = await node.add(b"leaflet")
    await node.call("advertise", {"cids": [cid]})
    await node.node.log.append(CidUnpinned(cid))
    assert (await node.call("list", {}, NEIGHBOUR)).cids == ()
    await node.call("advertise", {"cids": [cid]})
    assert (await node.call("list", {}, NEIGHBOUR)).cids == (cid,)


async def test_advertising_tells_the_community_once_with_the_sizes(node):
    cid = await node.add(BIG)
    for _ in range(2):
        await node.call("advertise", {"cids": [cid]})
    told = [sealed.data for sealed in await node.node.events() if isinstance(sealed.data, CidAdvertised)]
    assert told == [CidAdvertised(cid, (CHUNK_SIZE_BYTES,) * 3 + (100,))]


async def test_who_holds_what_survives_a_restart(node):
    cid = await node.add(b"leaflet")
    await node.call("advertise", {"cids": [cid]})
    await node.bus.close()
    await node.node.restart()
    await node.up()
    assert (await node.call("list", {}, NEIGHBOUR)).cids == (cid,)


async def test_a_list_can_be_narrowed(node):
    cids = [await node.add(bytes([number])) for number in range(20)]
    prefix = cids[3][:9]
    found = (await node.call("list", {"prefix": prefix})).cids
    assert set(found) == {cid for cid in cids if cid.startswith(prefix)}


async def test_strangers_get_nothing(node):
    stranger = Caller(BERT.node_id, TrustLevel.UNKNOWN, "address:x")
    with pytest.raises(Unauthorized):
        await node.call("list", {}, stranger)
    member = Caller(BERT.node_id, TrustLevel.MEMBER, BERT.node_id)
    with pytest.raises(Unauthorized):
        await node.call("put", {"manifest": manifest_of(b"x")[0]}, member)


# ---- putting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"small", BIG, bytes(3 * CHUNK_SIZE_BYTES)], ids=["empty", "small", "big", "same"]
)
async def test_what_is_put_is_one_file_and_nothing_of_its_pieces_stays(node, data):
    reply = await node.put(data)
    assert reply.content_cid == cid_of(data)
    assert reply.missing == 0
    assert await node.blobs.list() == [cid_of(data)]
    assert payload(await node.read(cid_of(data))) == data


async def test_the_first_reply_names_what_is_needed(node):
    told, chunks = manifest_of(BIG)
    reply = await node.call("put", {"manifest": told})
    assert (list(reply.needed), reply.missing, reply.content_cid) == (told["chunks"], 4, "")
    one = {"cid": told["chunks"][1], "data_b64": b64(chunks[told["chunks"][1]])}
    reply = await node.call("put", {"cid": told["cid"], "chunks": [one]})
    assert (reply.missing, reply.received) == (3, 1)
    again = await node.call("put", {"cid": told["cid"], "chunks": [one]})
    assert again.missing == 3


async def test_chunks_that_are_here_already_are_not_asked_for(node):
    await node.add(BIG[: 2 * CHUNK_SIZE_BYTES])
    told, _ = manifest_of(BIG)
    reply = await node.call("put", {"manifest": told})
    assert list(reply.needed) == told["chunks"][2:]


async def test_two_chunks_fit_into_one_request():
    told, chunks = manifest_of(BIG)
    some = [{"cid": cid, "data_b64": b64(chunks[cid])} for cid in told["chunks"][:2]]
    assert len(str({"params": {}, "input": {"cid": told["cid"], "chunks": some}})) < REQUEST_MAX_BYTES


async def test_a_transfer_goes_on_after_a_restart_and_its_end_can_be_asked_again(tmp_path):
    node = await FileNode(BlobStore(tmp_path, LogNode().clock, min_free_bytes=0)).up()
    told, chunks = manifest_of(BIG)
    first = [{"cid": cid, "data_b64": b64(chunks[cid])} for cid in told["chunks"][:2]]
    await node.call("put", {"manifest": told})
    await node.call("put", {"cid": told["cid"], "chunks": first})
    await node.bus.close()

    node = await FileNode(BlobStore(tmp_path, LogNode().clock, min_free_bytes=0)).up()
    reply = await node.call("put", {"cid": told["cid"]})
    assert list(reply.needed) == told["chunks"][2:]
    rest = [{"cid": cid, "data_b64": b64(chunks[cid])} for cid in reply.needed]
    done = await node.call("put", {"cid": told["cid"], "chunks": rest})
    assert done.content_cid == cid_of(BIG)
    for body in ({"cid": told["cid"], "chunks": rest}, {"manifest": told}):
        assert (await node.call("put", body)).content_cid == cid_of(BIG)
    await node.bus.close()


async def test_what_a_neighbour_put_it_may_fetch_back(node):
    reply = await node.put(BIG, NEIGHBOUR)
    assert payload(await node.read(reply.content_cid, NEIGHBOUR)) == BIG
    assert (await node.call("list", {}, NEIGHBOUR)).cids == (cid_of(BIG),)
    await node.put(b"mine")
    assert (await node.call("list", {}, NEIGHBOUR)).cids == (cid_of(BIG),)


async def test_bytes_that_are_not_the_chunk_are_refused_and_can_be_sent_right(node):
    told, _ = manifest_of(BIG)
    await node.call("put", {"manifest": told})
    wrong = {"cid": told["chunks"][0], "data_b64": b64(b"something else")}
    with pytest.raises(BadRequest, match="hash"):
        await node.call("put", {"cid": told["cid"], "chunks": [wrong]})
    strange = {"cid": cid_of(b"x"), "data_b64": b64(b"x")}
    with pytest.raises(BadRequest, match="not of this file"):
        await node.call("put", {"cid": told["cid"], "chunks": [strange]})
    assert (await node.put(BIG)).content_cid == cid_of(BIG)


async def test_manifests_that_do_not_add_up_are_refused(node):
    told, _ = manifest_of(BIG)
    for change in (
        {"cid": cid_of(b"x")},
        {"size_bytes": 5},
        {"chunks": told["chunks"][:2]},
        {"chunk_size_bytes": 1000},
    ):
        with pytest.raises(BadRequest):
            await node.call("put", {"manifest": {**told, **change}})
    with pytest.raises(BadRequest):
        await node.call("put", {})
    assert await node.blobs.list() == []


async def test_a_transfer_that_nobody_began_is_not_found(node):
    for cid in (cid_of(b"never"), await node.add(b"a file, but no manifest")):
        with pytest.raises(NotFound) as caught:
            await node.call("put", {"cid": cid})
        assert caught.value.fix


async def test_a_file_without_room_is_refused_before_its_bytes_come(node):
    node.blobs.fill_disk(after_bytes=2 * CHUNK_SIZE_BYTES)
    with pytest.raises(DiskFull) as caught:
        await node.call("put", {"manifest": manifest_of(BIG)[0]})
    assert caught.value.code == "capacity_exceeded"
    assert await node.blobs.list() == []


async def test_a_chunk_that_was_cleaned_away_meanwhile_is_asked_for_again(node):
    told, chunks = manifest_of(BIG)
    await node.call("put", {"manifest": told})
    parts = [{"cid": cid, "data_b64": b64(chunks[cid])} for cid in told["chunks"]]
    await node.call("put", {"cid": told["cid"], "chunks": parts[:2]})
    await node.blobs.delete(told["chunks"][0])
    reply = await node.call("put", {"cid": told["cid"], "chunks": parts[2:]})
    assert (list(reply.needed), reply.content_cid) == ([told["chunks"][0]], "")
    reply = await node.call("put", {"cid": told["cid"], "chunks": parts[:1]})
    assert reply.content_cid == cid_of(BIG)
