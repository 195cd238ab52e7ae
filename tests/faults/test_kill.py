"""kill -9 at random moments: what was acknowledged is there, and nothing is half."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hearthnet.adapters.blobs_dir import BlobStore
from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.mesh.event_history import Position
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.events import EventLog
from hearthnet.mesh.views import DocumentsView
from hearthnet.ports import Migration
from hearthnet.wire.cid import cid_of
from mesh.log_world import COMMUNITY, FOUNDER

ROOT = Path(__file__).resolve().parents[2]
NOTES = (Migration("notes", 1, "CREATE TABLE notes (id TEXT PRIMARY KEY, text BLOB)"),)
LIFE_S = 0.06  # a child lives up to this long
ROUNDS = [pytest.param(20, id="20"), pytest.param(200, id="200", marks=[pytest.mark.slow, pytest.mark.timeout(120)])]


class Zygote:
    """Forks workers on demand and kills them with -9."""

    def __init__(self):
        path = os.pathsep.join([str(ROOT / "edge"), str(ROOT / "tests")])
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        self.buffer = b""

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def kill_one(self, workload, folder, seed):
        """Start a child, kill it within its short life; returns what it was told is stored.

        Every second life begins with the first word, so that also a busy machine gets some work done.
        """
        self.process.stdin.write(f"{workload} {folder} {seed}\n".encode())
        self.process.stdin.flush()
        first = self.read_line()
        assert first.startswith("pid "), first
        told = []
        if seed % 2 and self.wait(30):
            told.append(self.read_line())
        end = time.monotonic() + random.Random(seed).uniform(0.003, LIFE_S)
        while (left := end - time.monotonic()) > 0:
            if self.wait(left):
                told.append(self.read_line())
        os.kill(int(first.removeprefix("pid ")), signal.SIGKILL)
        while (line := self.read_line()) != "dead":
            told.append(line)
        return told

    def wait(self, seconds):
        return b"\n" in self.buffer or bool(select.select([self.process.stdout], [], [], seconds)[0])

    def read_line(self):
        while b"\n" not in self.buffer:
            data = os.read(self.process.stdout.fileno(), 65_536)
            assert data, "the zygote died"
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()


@pytest.fixture(scope="module")
def zygote():
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_rows_acknowledged_before_a_kill_are_there(zygote, tmp_path, rounds):
    acknowledged = set()
    for seed in range(rounds):
        acknowledged.update(zygote.kill_one("transact", tmp_path, seed))
        store = SqliteStore.open(tmp_path / "node.sqlite", NOTES)
        stored = {row[0] for row in await store.query("SELECT id FROM notes")}
        await store.close()
        assert acknowledged <= stored, f"seed {seed}"
    assert len(acknowledged) >= rounds // 2


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_events_acknowledged_before_a_kill_are_there_and_the_chain_is_whole(zygote, tmp_path, rounds):
    acknowledged = set()
    for seed in range(rounds):
        acknowledged.update(zygote.kill_one("append", tmp_path, seed))
        store = SqliteStore.open(tmp_path / "events.sqlite", EVENTS_SCHEMA)
        documents = DocumentsView()
        log = EventLog(store, FOUNDER, COMMUNITY, FakeClock(), os.urandom, views=[documents])
        opened = await log.open()
        page, _ = await log.history.page(Position(), 1_000_000)
        stored = {sealed.hash for sealed in page}
        assert acknowledged <= stored, f"seed {seed}"
        assert len(documents.documents("personal")) == max(0, opened.events - 1)
        if seed == rounds - 1:
            assert await log.history.verify_all(FOUNDER.node_id) == opened.events == opened.lamport
        await log.close()
        await store.close()
    assert len(acknowledged) >= rounds // 2


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_blobs_acknowledged_before_a_kill_are_whole_and_pinned(zygote, tmp_path, rounds):
    acknowledged, pinned = set(), set()
    for seed in range(rounds):
        for line in zygote.kill_one("put", tmp_path, seed):
            (pinned if line.startswith("pinned ") else acknowledged).add(line.removeprefix("pinned "))
        blobs = BlobStore(tmp_path / "blobs", FakeClock(), min_free_bytes=0)
        assert list((tmp_path / "blobs" / ".parts").iterdir()) == []
        here = await blobs.list()
        assert acknowledged <= set(here), f"seed {seed}"
        for cid in here:
            assert cid_of(b"".join([chunk async for chunk in blobs.read(cid)])) == cid
        for cid in pinned:
            assert not await blobs.delete(cid)
        for cid in [cid for cid in here if cid not in pinned][20:]:  # keeps the round short
            if await blobs.delete(cid):  # not when it was pinned and the kill came before the word
                acknowledged.discard(cid)
    assert len(acknowledged | pinned) > 5
