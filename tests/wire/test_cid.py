"""Content ids and chunk lists of large blobs (M07)."""

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.constants import CHUNK_SIZE_BYTES
from hearthnet.base.errors import BadRequest, HashMismatch
from hearthnet.wire import canonical
from hearthnet.wire.cid import CidHasher, cid_of, make_blob_manifest, parse_cid, read_blob_manifest

CHUNKS = (cid_of(b"one"), cid_of(b"two"))
SIZE = CHUNK_SIZE_BYTES + 5


def test_the_cid_of_nothing_is_blake3s_published_value():
    assert cid_of(b"") == "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


@given(st.lists(st.binary(max_size=80)))
def test_pieces_hash_like_the_whole(pieces):
    hasher = CidHasher()
    for piece in pieces:
        hasher.update(memoryview(piece))
    whole = b"".join(pieces)
    assert (hasher.cid(), hasher.size_bytes) == (cid_of(whole), len(whole))
    assert parse_cid(cid_of(whole)) == f"blake3:{blake3(whole).hexdigest()}"


@pytest.mark.parametrize(
    "text", ["", "blake3:", "blake3:" + "A" * 64, "blake3:" + "a" * 63, "sha256:" + "a" * 64, "blake3:" + "a" * 64 + "\n",
             "blake3:../../../etc/passwd", "blake3:" + "٣" * 64],
)  # fmt: skip
def test_what_is_no_cid_is_refused(text):
    with pytest.raises(BadRequest):
        parse_cid(text)


def test_a_blob_manifest_survives_the_wire_and_names_only_its_content():
    manifest = make_blob_manifest(CHUNKS, SIZE, mime_type="text/plain", filename="plan.txt")
    assert read_blob_manifest(canonical.encode(manifest)) == manifest
    assert make_blob_manifest(CHUNKS, SIZE).cid == manifest.cid  # type and name advise
    assert make_blob_manifest(CHUNKS[::-1], SIZE).cid != manifest.cid
    assert make_blob_manifest((), 0).chunks == ()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"size_bytes": SIZE + 1}, HashMismatch),
        ({"chunks": CHUNKS[:1]}, BadRequest),
        ({"chunks": (*CHUNKS, CHUNKS[0])}, BadRequest),
        ({"chunks": ("blake3:zz", CHUNKS[0])}, BadRequest),
        ({"chunks": CHUNKS[::-1]}, HashMismatch),
        ({"cid": CHUNKS[0]}, HashMismatch),
        ({"chunk_size_bytes": 0}, BadRequest),
        ({"size_bytes": -1, "chunks": ()}, BadRequest),
    ],
)
def test_a_chunk_list_whose_figures_disagree_is_refused(change, error):
    manifest = msgspec.structs.replace(make_blob_manifest(CHUNKS, SIZE), **change)
    with pytest.raises(error):
        read_blob_manifest(canonical.encode(manifest))
