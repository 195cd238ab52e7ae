"""When children are started, restarted, given up and ended; in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.engines.supervisor import Supervisor
from hearthnet.base.errors import EngineDied, Unavailable


class FakeChild:
    """A child that dies when told to."""

    def __init__(self):
        self.pid = 4
        self.ended = asyncio.Event()
        self.reason = ""

    def death(self):
        return EngineDied(self.reason)

    async def kill(self, reason):
        self.reason = reason
        self.ended.set()
        await asyncio.sleep(0)  # the supervisor notices

    async def close(self):
        await self.kill("closed")


class Nursery:
    def __init__(self, clock, idle_s=60.0):
        self.children = []
        self.refusals = []
        self.slow = None
        self.supervisor = Supervisor("engine", self.start, clock, idle_s=idle_s)

    async def start(self):
        if self.slow:
            await self.slow.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        self.children.append(FakeChild())
        return self.children[-1]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def nursery(clock):
    made = Nursery(clock)
    yield made
    await made.supervisor.close()


async def crash(nursery, clock):
    async def use():
        async with nursery.supervisor.lease() as child:
            await child.kill("SIGKILL")

    task = asyncio.create_task(use())
    await clock.advance(2)
    await task


async def test_nothing_starts_before_the_first_use_and_many_users_share_one_child(nursery):
    assert nursery.supervisor.status().state == "idle"
    nursery.slow = asyncio.Event()

    async def use():
        async with nursery.supervisor.lease() as child:
            return child

    users = [asyncio.create_task(use()) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert nursery.supervisor.status().state == "starting"
    nursery.slow.set()
    assert len(set(await asyncio.gather(*users))) == 1
    assert nursery.supervisor.status().state == "ready"


async def test_idle_child_ends_and_the_next_use_starts_another(nursery, clock):
    async with nursery.supervisor.lease() as first:
        await clock.advance(3600)
        assert not first.ended.is_set(), "ended while in use"
    await clock.advance(59)
    assert not first.ended.is_set()
    await clock.advance(2)
    assert first.ended.is_set()
    async with nursery.supervisor.lease() as second:
        assert second is not first
    assert nursery.supervisor.status().restarts == 0, "an end in order counts as no crash"


async def test_use_before_the_idle_time_is_over_keeps_the_child(nursery, clock):
    for _ in range(3):
        async with nursery.supervisor.lease():
            pass
        await clock.advance(50)
    assert len(nursery.children) == 1
    assert not nursery.children[0].ended.is_set()


async def test_zero_idle_time_means_never(clock):
    nursery = Nursery(clock, idle_s=0)
    async with nursery.supervisor.lease() as child:
        pass
    await clock.advance(10_000_000)
    assert not child.ended.is_set()
    await nursery.supervisor.close()


async def test_dead_child_is_replaced_after_a_pause_that_grows(nursery, clock):
    await crash(nursery, clock)
    began = clock.monotonic()
    assert nursery.supervisor.status().state in ("idle", "backing_off")
    await crash(nursery, clock)
    assert len(nursery.children) == 2
    assert clock.monotonic() - began >= 0.2


async def test_three_crashes_open_the_breaker_with_reason_and_time(nursery, clock):
    for _ in range(3):
        await crash(nursery, clock)
    assert not nursery.supervisor.available()
    with pytest.raises(Unavailable) as refused:
        async with nursery.supervisor.lease():
            pass
    assert "SIGKILL" in refused.value.detail
    assert 500_000 < refused.value.retry_after_ms <= 600_000
    assert nursery.supervisor.status().state == "backing_off"
    assert len(nursery.children) == 3
    await clock.advance(600)
    assert nursery.supervisor.available()
    async with nursery.supervisor.lease() as child:
        assert not child.ended.is_set()


async def test_crashes_far_apart_do_not_add_up(nursery, clock):
    for _ in range(5):
        await crash(nursery, clock)
        await clock.advance(400)
    assert nursery.supervisor.available()


async def test_failed_starts_count_as_crashes_and_refusals_do_not(nursery, clock):
    nursery.refusals = [Unavailable("no such model"), EngineDied("bang")]
    for error in (Unavailable, EngineDied):
        with pytest.raises(error):
            async with nursery.supervisor.lease():
                pass
    assert nursery.supervisor.status().restarts == 1


async def test_closed_supervisor_starts_nothing_more(nursery):
    async with nursery.supervisor.lease() as child:
        pass
    await nursery.supervisor.close()
    assert child.ended.is_set()
    with pytest.raises(Unavailable):
        async with nursery.supervisor.lease():
            pass
    assert len(nursery.children) == 1
