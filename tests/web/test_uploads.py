"""What arrives with a file: its name is only ever shown, and no more of it is taken than was agreed."""

from __future__ import annotations

import gzip

import pytest

from hearthnet.web import blobs_api
from hearthnet.web.uploads import clean_name
from web.conftest import SAME_SITE


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("rules.txt", "rules.txt"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\a.md", "a.md"),
        ("/abs/olute.pdf", "olute.pdf"),
        ("C:\\Users\\me\\b.pdf", "b.pdf"),
        ("..", "document"),
        ("../", "document"),
        ("", "document"),
        ("a\x00b.txt", "ab.txt"),
        ("line\nbreak.txt", "line break.txt"),
    ],
)
def test_of_a_file_name_only_the_last_part_is_kept(sent, shown):
    assert clean_name(sent) == shown


def test_a_very_long_file_name_is_cut():
    assert len(clean_name("x" * 5000)) <= 200


async def test_a_blob_packed_small_is_measured_unpacked_and_nothing_of_it_stays(world, member, monkeypatch):
    monkeypatch.setattr(blobs_api, "UPLOAD_MAX_BYTES", 1_000_000)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/octet-stream", **SAME_SITE}
    reply = await member.post("/v1/blobs", data=gzip.compress(b" " * 30_000_000), headers=headers)
    assert reply.status == 413
    assert await world.blobs.list() == []
    whole = await member.post("/v1/blobs", data=gzip.compress(b" " * 900_000), headers=headers)
    assert (whole.status, (await whole.json())["size_bytes"]) == (201, 900_000)
