"""The folder of models: what is installed, which one is used, adding without ever leaving half a model (M04, M07).

    <models>/<name>/manifest.json, the model file, LICENSE
    <models>/chosen                  the name set by `models use`
    <models>/.incoming-<pid>-<n>/    being written; removed when its process is gone

Installed models may also stand in shared folders (`make setup` puts the default ones beside the virtual environment),
so that every home on the machine finds them. Files are verified when they come in, by hash or by their own header.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.adapters.disk import FIX_ROOM, measure_space, sync, translate_os
from hearthnet.adapters.gguf import estimate_memory, read_gguf
from hearthnet.adapters.model_catalogue import NAME_PATTERN, ModelManifest, known_by_hash, known_models
from hearthnet.base.errors import BadRequest, CapacityExceeded, DiskFull, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hearthnet.base.paths import Paths

_MANIFEST: Final = "manifest.json"
_CHOSEN: Final = "chosen"
_SPARE_BYTES: Final = 64 * 1_048_576  # left free on the disk whatever comes
_PART_KEPT_S: Final = 7 * 86_400  # a broken download can be resumed for a week
_FIX_LIST: Final = "see what is here: hearthnet models list"


class InstalledModel(Struct, frozen=True):
    """A model that is here, complete."""

    manifest: ModelManifest
    path: Path
    chosen: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name


class Progress(Struct, frozen=True):
    """One step of adding a model, for a progress bar."""

    stage: str  # checking | copying | downloading | verifying | done
    model: str
    done_bytes: int = 0
    total_bytes: int = 0


class ModelsDir:
    """Installed models of one home and of the shared folders; the first folder is the one written to."""

    def __init__(self, folder: Path, shared: Sequence[Path] = ()) -> None:
        self.folder = folder
        self._shared = tuple(shared)

    def installed(self) -> list[InstalledModel]:
        """Every complete model: the chosen one first, then the default ones, then by name."""
        found: dict[str, InstalledModel] = {}
        chosen = self.chosen()
        for folder in (self.folder, *self._shared):
            for manifest_file in sorted(folder.glob(f"[a-z0-9]*/{_MANIFEST}")):
                model = _read(manifest_file, chosen)
                if model is not None:
                    found.setdefault(model.name, model)
        defaults = {known.name for known in known_models().values() if known.default}
        return sorted(found.values(), key=lambda model: (not model.chosen, model.name not in defaults, model.name))

    def find(self, name: str) -> InstalledModel:
        """The model of that name; raises NotFound."""
        for model in self.installed():
            if model.name == name:
                return model
        fix = f"fetch it: hearthnet models add {name}" if name in known_models() else _FIX_LIST
        raise NotFound(f"no model {name[:64]!r} is installed", fix=fix)

    def chosen(self) -> str:
        """The name set by `use`; empty = none."""
        try:
            return (self.folder / _CHOSEN).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def use(self, name: str) -> InstalledModel:
        """Prefer this text model from now on; raises NotFound, BadRequest, CapacityExceeded (memory)."""
        model = self.find(name)
        if model.manifest.kind != "text":
            raise BadRequest(f"{name} is no language model", fix=_FIX_LIST)
        check_memory(model.path)
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f".{_CHOSEN}-{os.getpid()}"
        fresh.write_text(name, encoding="ascii")
        sync(fresh)
        fresh.replace(self.folder / _CHOSEN)
        return model

    def remove(self, name: str) -> int:
        """Delete a model; returns the bytes freed. Raises NotFound, InternalError (no permission)."""
        model = self.find(name)
        home = model.path.parent
        try:
            gone = home.with_name(f".incoming-{os.getpid()}-{secrets.token_hex(4)}")
            home.rename(gone)  # a crash from here on leaves only what is swept later
            shutil.rmtree(gone)
        except OSError as error:
            raise translate_os(error, home) from None
        if model.chosen:
            (self.folder / _CHOSEN).unlink(missing_ok=True)
        return model.manifest.bytes

    def check_room(self, need_bytes: int) -> None:
        """Raise DiskFull when the models folder cannot take so much more."""
        self.folder.mkdir(parents=True, exist_ok=True)
        free = measure_space(self.folder).free_bytes
        if free < need_bytes + _SPARE_BYTES:
            raise DiskFull(f"the model needs {_mb(need_bytes)} MB, {_mb(free)} MB are free", fix=FIX_ROOM)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder for a model on its way in; gone when the block ends, whatever happens in it."""
        self.sweep()
        stage = self.folder / f".incoming-{os.getpid()}-{secrets.token_hex(4)}"
        stage.mkdir(parents=True)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed processes left behind."""
        for left in self.folder.glob(".incoming-*"):
            owner = left.name.split("-")[1]
            if not owner.isdigit() or not Path(f"/proc/{owner}").exists():
                shutil.rmtree(left, ignore_errors=True)
        for part in self.folder.glob(".part-*"):
            if time.time() - part.stat().st_mtime > _PART_KEPT_S:
                shutil.rmtree(part, ignore_errors=True)

    def admit(self, stage: Path, manifest: ModelManifest) -> InstalledModel:
        """Put a verified model from its staging folder in place, all or nothing."""
        try:
            (stage / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
            for file in stage.iterdir():
                sync(file)
            sync(stage)
            home, old = self.folder / manifest.name, stage.with_name(f"{stage.name}-old")
            if home.exists():
                home.rename(old)
            stage.rename(home)
            sync(self.folder)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise translate_os(error, stage) from None
        return InstalledModel(manifest, home / manifest.file)


def open_models(paths: Paths) -> ModelsDir:
    """The models of this home and those of this installation."""
    return ModelsDir(paths.models, (installation_models(),))


def installation_models() -> Path:
    """Where `make setup` puts the default models: beside this Python environment."""
    return Path(sys.prefix) / "share" / "hearthnet" / "models"


def describe_file(path: Path, sha256: str, *, name: str = "", source: str = "") -> ModelManifest:
    """The manifest of a text model file, after looking into it; raises BadRequest when it is none."""
    header = read_gguf(path)
    known = known_by_hash(sha256)
    return ModelManifest(
        name=name or (known.name if known else name_of_file(path.name)),
        kind="text",
        file=path.name,
        bytes=path.stat().st_size,
        sha256=sha256,
        title=known.title if known else header.name,
        licence=known.licence if known else "",
        source=source,
        template=known.template if known else "",
        parameters=header.parameters,
        context_tokens=header.context_tokens,
    )


def name_of_file(file_name: str) -> str:
    """A valid model name made from a file name."""
    stem = re.sub(r"[^a-z0-9._-]+", "-", file_name.lower().removesuffix(".gguf")).strip("-._")[:64]
    return stem if re.match(NAME_PATTERN, stem) else "model"


def check_memory(path: Path) -> None:
    """Raise CapacityExceeded when this machine could not hold the model even with nothing else running."""
    need = estimate_memory(read_gguf(path), 1, 2048)
    have = total_memory()
    if need > have:
        raise CapacityExceeded(
            f"the model needs {_mb(need)} MB of memory, this machine has {_mb(have)} MB", fix="take a smaller model"
        )


def total_memory() -> int:
    """Memory of this machine or of the container it runs in, bytes."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _read(manifest_file: Path, chosen: str) -> InstalledModel | None:
    try:
        manifest = msgspec.json.decode(manifest_file.read_bytes(), type=ModelManifest)
        path = manifest_file.parent / Path(manifest.file).name
        whole = path.stat().st_size == manifest.bytes
    except (OSError, msgspec.DecodeError):
        return None
    return InstalledModel(manifest, path, manifest.name == chosen) if whole else None


def _mb(count: int) -> int:
    return -(-count // 1_000_000)
