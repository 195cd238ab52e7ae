"""A dying card under the event log: the node starts, says so, and gets back all that can be read."""

from __future__ import annotations

import asyncio
import os

import pytest

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.store_recovery import list_backups, make_backup, open_or_recover, read_damaged
from hearthnet.mesh.event_check import check_head
from hearthnet.mesh.event_rows import EVENTS_SCHEMA, SALVAGE
from hearthnet.mesh.events import EventLog, create_community
from hearthnet.mesh.views import DocumentsView
from mesh.log_world import COMMUNITY, FOUNDER, document

BACKED_UP, LATER = 300, 200


async def start(path):
    """What the node does: open, and after a damage take back what can be read before anything new is signed."""
    store, opened = open_or_recover(path, EVENTS_SCHEMA, list_backups(path), probe=check_head)
    log = EventLog(store, FOUNDER, COMMUNITY, FakeClock(), os.urandom, views=[DocumentsView()])
    await log.open()
    if opened.outcome != "ready":
        await log.recover([row[0] for row in read_damaged(opened.set_aside, SALVAGE)])
    if log.members.community_name == "":
        await create_community(log, "Our street")
    return store, log, opened


async def live(path):
    store, log, _ = await start(path)
    await asyncio.gather(*[log.append(document(number)) for number in range(BACKED_UP)])
    await make_backup(store, path)
    await asyncio.gather(*[log.append(document(BACKED_UP + number)) for number in range(LATER)])
    await log.close()
    await store.close()


def spoil(path, part, length):
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * part) // 4096 * 4096)
        file.write(os.urandom(length))


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.8, 0.99])
async def test_garbage_anywhere_in_the_file(tmp_path, part):
    path = tmp_path / "events.sqlite"
    await live(path)
    spoil(path, part, 8192)
    store, log, opened = await start(path)
    assert opened.outcome == "restored"
    assert opened.damage
    events = await log.history.size()
    assert events >= BACKED_UP + 1
    if 0.1 < part < 0.9:  # the first page is the way to all others
        assert events > BACKED_UP + LATER - 100
    sealed = await log.append(document(10_000))
    assert sealed.event.author_epoch == 1
    assert await log.history.forks() == []
    await log.close()
    await store.close()
    store, log, opened = await start(path)
    assert opened.outcome == "ready"
    assert await log.history.size() == events + 1
    await log.close()
    await store.close()


async def test_a_head_that_was_changed_behind_sqlites_back_is_restored_too(tmp_path):
    path = tmp_path / "events.sqlite"
    await live(path)
    data = path.read_bytes()
    assert b"Document 499" in data
    path.write_bytes(data.replace(b"Document 499", b"Document 999"))
    store, log, opened = await start(path)
    assert "last event is damaged" in opened.damage
    assert await log.history.size() == BACKED_UP + LATER  # all but the one that was changed
    await log.close()
    await store.close()
