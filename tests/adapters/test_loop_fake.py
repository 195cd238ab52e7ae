"""Virtual time under unmodified asyncio: order, timeouts, threads, and a thousand nodes in seconds."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from hearthnet.adapters.loop_fake import LoopClock, run_virtual
from hearthnet.adapters.network_fake import FakeNetwork, Link
from hearthnet.adapters.transport_fake import FakeTransport
from hearthnet.base.errors import CallTimeout, InternalError
from hearthnet.base.types import CommunityID
from hearthnet.ports import Peer
from hearthnet.wire.identity import KeyPair

CLOCK = LoopClock()
COMMUNITY = CommunityID(KeyPair(b"f" * 32).node_id)
WEEK_S = 7 * 86_400.0


def test_a_week_passes_at_once_and_both_clocks_show_it():
    async def work():
        began = CLOCK.monotonic()
        assert CLOCK.now() == 1_800_000_000.0
        await CLOCK.sleep(WEEK_S)
        return CLOCK.monotonic() - began, CLOCK.now() - 1_800_000_000.0

    real = time.monotonic()
    assert run_virtual(work()) == (WEEK_S, WEEK_S)
    assert time.monotonic() - real < 10.0  # real seconds, for a week


def test_timers_fire_in_their_order_whoever_set_them_first():
    async def work():
        order = []

        async def say(word, after):
            await CLOCK.sleep(after)
            order.append((word, CLOCK.monotonic() - 1000.0))

        await asyncio.gather(say("third", 3.0), say("first", 0.5), say("second", 0.75))
        return order

    assert run_virtual(work()) == [("first", 0.5), ("second", 0.75), ("third", 3.0)]


def test_timeouts_of_asyncio_are_virtual_too():
    async def work():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return CLOCK.monotonic()

    assert run_virtual(work()) == 4600.0


def test_time_stands_still_while_a_thread_works():
    async def work():
        release = threading.Event()
        ticks = []

        async def tick():
            while True:
                await CLOCK.sleep(1.0)
                ticks.append(CLOCK.monotonic())

        ticker = asyncio.create_task(tick())
        await CLOCK.sleep(2.5)
        asyncio.get_running_loop().call_soon(release.set)
        await asyncio.to_thread(release.wait, 5.0)
        assert CLOCK.monotonic() == 1002.5
        ticker.cancel()
        return ticks

    assert run_virtual(work()) == [1001.0, 1002.0]


def test_sockets_work_while_time_is_virtual():
    async def work():
        async def answer(reader, writer):
            writer.write(await reader.readexactly(5))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello")
            data = await reader.read()
            writer.close()
            return data

    assert run_virtual(work()) == b"hello"


def test_a_program_that_can_never_go_on_is_an_error(monkeypatch):
    monkeypatch.setattr("hearthnet.adapters.loop_fake.STUCK_AFTER_S", 0.01)
    with pytest.raises(InternalError, match="stuck"):
        run_virtual(asyncio.Event().wait())


class Neighbour:
    """Counts what it is asked."""

    def __init__(self):
        self.asked = 0

    async def exchange(self, sender, path, content):
        self.asked += 1
        return content


async def a_minute_of(count, seed):
    """Every node asks another one each second; (asked, lost, messages)."""
    network = FakeNetwork(CLOCK, seed, Link(delay_s=0.02, jitter_s=0.03, loss=0.01))
    ids = [KeyPair(number.to_bytes(32, "big")).node_id for number in range(count)]
    neighbours = [Neighbour() for _ in ids]
    transports = [
        FakeTransport(network, node_id, COMMUNITY, str, server) for node_id, server in zip(ids, neighbours, strict=True)
    ]
    peers = [Peer(item.node_id, (item.address,)) for item in transports]
    lost = 0

    async def live(number):
        nonlocal lost
        await CLOCK.sleep(number / count)
        for second in range(60):
            target = peers[(number * 7 + second * 13 + 1) % count]
            try:
                await transports[number].request(target, "/gossip", b"digest", timeout_s=1.0)
            except CallTimeout:
                lost += 1
            await CLOCK.sleep(max(0.0, 1001.0 + number / count + second - CLOCK.monotonic()))

    await asyncio.gather(*(live(number) for number in range(count)))
    network.deadlines.close()
    assert network.faults == []
    return sum(item.asked for item in neighbours), lost, sum(item.messages for item in network.traffic.values())


@pytest.mark.timeout(120)
def test_a_thousand_nodes_live_a_minute():
    asked, lost, messages = run_virtual(a_minute_of(1000, 1))
    assert 59_000 <= asked <= 60_000
    assert 900 <= lost <= 1_500  # two of a hundred, one each way
    assert messages > 118_000


def test_a_run_of_many_nodes_follows_from_its_seed():
    assert run_virtual(a_minute_of(20, 5)) == run_virtual(a_minute_of(20, 5))
