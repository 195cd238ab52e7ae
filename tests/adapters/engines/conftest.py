"""Engine families under the same tests: the fake, and the real ones where their packages are installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio

from hearthnet.adapters.clock import SystemClock
from hearthnet.adapters.engines.fake import FakeEngines
from hearthnet.adapters.engines.family import EngineFamily, FamilyOptions
from hearthnet.adapters.models_dir import ModelsDir, installation_models
from hearthnet.base.config import Config, LlmSection

TEXT_MODEL = "smollm2-135m-instruct"
TEXT_HOSTS = {"xllamacpp", "llama_cpp"}


def installed_models(folder: Path) -> ModelsDir:
    models = ModelsDir(folder, (installation_models(),))
    names = {model.name for model in models.installed()}
    assert {TEXT_MODEL, "okay-nabu"} <= names, "the default models are not installed: run `make setup`"
    return models


def make_family(folder, *, without=(), config=None, **options):
    """A real family that behaves as if the packages in `without` were not installed."""
    config = config or Config(llm=LlmSection(slots=4, context_tokens=1024, idle_unload_s=0))
    has = lambda module: module not in without and find_spec(module) is not None  # noqa: E731
    return EngineFamily(config, installed_models(folder), SystemClock(), FamilyOptions(has=has, **options))


def require(module):
    if find_spec(module) is None:
        pytest.skip(f"the Python package {module} is not installed")


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["fake", "xllamacpp", "llama_cpp"])
async def engines(request, tmp_path_factory):
    """Every implementation of the Engines port."""
    if request.param == "fake":
        yield FakeEngines()
        return
    require(request.param)
    family = make_family(tmp_path_factory.mktemp("models"), without=TEXT_HOSTS - {request.param})
    yield family
    await family.close()


@pytest_asyncio.fixture
async def family(tmp_path):
    """A real family of its own, to be broken."""
    made = make_family(tmp_path)
    yield made
    await made.close()
