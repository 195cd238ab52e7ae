"""Snapshots shorten the opening of a log and can never make it wrong."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.constants import SNAPSHOT_LAG_LAMPORT, SNAPSHOTS_KEPT
from hearthnet.mesh.snapshots import Snapshots
from hearthnet.wire import canonical, identity
from hearthnet.wire.cid import cid_of
from mesh.log_world import ANNA, COMMUNITY, FOUNDER, LogNode, document


@pytest.fixture
def snapshots(tmp_path):
    return Snapshots(tmp_path / "snapshots", FOUNDER, COMMUNITY)


@pytest.fixture
async def node(snapshots):
    node = await LogNode(snapshots=snapshots).found()
    for number in range(5):
        await node.log.append(document(number))
    return node


def files(tmp_path):
    return sorted((tmp_path / "snapshots").iterdir())


def titles(node):
    return [item.title for item in node.documents.documents("personal")]


async def test_opening_restores_the_snapshot_and_applies_only_the_rest(node):
    assert await node.log.snapshot()
    await node.log.append(document(7))
    await node.restart()
    assert node.opened.replayed == 1
    assert titles(node) == [f"Document {number}" for number in (0, 1, 2, 3, 4, 7)]
    assert node.log.members.community_name == "Our street"
    assert await node.log.append(document(8))


async def test_a_snapshot_is_signed_and_says_what_it_covers(node, tmp_path):
    await node.log.snapshot()
    (file,) = files(tmp_path)
    assert file.name == f"{node.log.lamport:020}.bin"
    line, body = file.read_bytes().split(b"\n")
    head = canonical.decode(line)
    assert (head["lamport"], head["covers_seq"], head["community_id"]) == (6, 6, COMMUNITY)
    assert head["state_hash"] == cid_of(body)
    signature = head.pop("signature")
    identity.verify(FOUNDER.node_id, identity.Domain.SNAPSHOT, COMMUNITY, canonical.encode(head), signature)


async def test_an_event_that_arrives_late_is_not_lost_by_a_snapshot(node, snapshots):
    """Its Lamport time lies far below what the snapshot covers; only the order of arrival tells that it is missing."""
    other = await LogNode(FOUNDER, snapshots=None).found()
    late = [await other.log.append(document(50 + number)) for number in range(2)]
    node.log.lamport = 10**5  # as after a long life
    await node.log.snapshot()
    await node.log.receive([sealed.wire for sealed in late])
    expected = titles(node)
    await node.restart()
    assert titles(node) == expected
    assert "Document 50" in expected


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other_author", "other_state"])
async def test_a_damaged_or_foreign_snapshot_is_passed_over(node, tmp_path, damage):
    await node.log.snapshot()
    (file,) = files(tmp_path)
    data = file.read_bytes()
    line, body = data.split(b"\n")
    changed = {
        "flip": data.replace(b"Document 3", b"Document 9"),
        "cut": data[: len(data) // 2],
        "empty": b"",
        "other_author": line.replace(FOUNDER.node_id.encode(), ANNA.node_id.encode()) + b"\n" + body,
        "other_state": line + b"\n" + json.dumps({}).encode(),
    }
    file.write_bytes(changed[damage])
    await node.restart()
    assert node.opened.replayed == 6
    assert len(titles(node)) == 5


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_in_a_snapshot_file_can_do_harm(tmp_path_factory, line, body):
    folder = tmp_path_factory.mktemp("snapshots")
    (folder / f"{7:020}.bin").write_bytes(line + b"\n" + body)
    assert asyncio.run(Snapshots(folder, FOUNDER, COMMUNITY).latest()) is None


async def test_a_snapshot_of_another_file_of_events_is_passed_over(node, snapshots):
    await node.log.snapshot()
    restored = LogNode(FOUNDER, snapshots=snapshots)  # a database that was restored: other arrival numbers
    await restored.log.open()
    await restored.log.receive([*reversed(await node.wires())])
    await restored.log.append(document(77))
    await restored.restart()
    assert len(titles(restored)) == 6


async def test_a_view_that_joined_later_is_replayed_from_the_beginning(node):
    node.with_documents = False
    await node.restart()
    await node.log.snapshot()
    node.with_documents = True
    await node.restart()
    assert node.opened.replayed == 5
    assert len(titles(node)) == 5


async def test_the_newest_seven_are_kept(node, tmp_path):
    for number in range(SNAPSHOTS_KEPT + 3):
        await node.log.append(document(number))
        await node.log.snapshot()
    names = [file.name for file in files(tmp_path)]
    assert len(names) == SNAPSHOTS_KEPT
    assert names[-1] == f"{node.log.lamport:020}.bin"


async def test_closing_leaves_a_snapshot_only_when_much_is_new(node, tmp_path):
    await node.restart()
    assert not (tmp_path / "snapshots").exists()
    node.log.lamport += SNAPSHOT_LAG_LAMPORT
    await node.restart()
    assert len(files(tmp_path)) == 1
    await node.restart()
    assert len(files(tmp_path)) == 1


async def test_an_empty_log_has_nothing_to_cover(snapshots):
    stranger = LogNode(ANNA, snapshots=snapshots)
    await stranger.log.open()
    assert not await stranger.log.snapshot()
    assert not await LogNode().log.snapshot()
