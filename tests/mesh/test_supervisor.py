"""Background tasks fail alone and end together."""

import asyncio

from hearthnet.mesh.supervisor import Supervisor


async def test_a_failing_task_is_named_and_leaves_the_others_running(caplog):
    supervisor, done = Supervisor(), asyncio.Event()

    async def fail():
        raise ValueError("broken")

    async def work():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done.set()

    supervisor.spawn("indexing", fail())
    supervisor.spawn("working", work())
    await asyncio.wait_for(done.wait(), 1)
    assert supervisor.failures == ["indexing"]
    assert "task indexing failed" in caplog.text


async def test_close_cancels_and_waits():
    supervisor, ended = Supervisor(), []

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned")

    supervisor.spawn("forever", forever())
    await asyncio.sleep(0)
    await supervisor.close()
    assert ended == ["cleaned"]
