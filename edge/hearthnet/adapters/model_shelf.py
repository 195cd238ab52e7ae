"""Installed and known models as the doors want them, with one way to add from anywhere (M04)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from hearthnet.adapters.model_catalogue import known_models
from hearthnet.adapters.model_package import add_known
from hearthnet.adapters.model_sources import add_file, add_folder
from hearthnet.adapters.model_url import add_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hearthnet.adapters.models_dir import ModelsDir, Progress


class ShelfModel(Struct, frozen=True):
    """A model that is here, or that is known by name and could be fetched."""

    name: str
    title: str
    kind: str  # text | tensor
    size_bytes: int
    licence: str
    chosen: bool = False
    context_tokens: int = 0
    source: str = ""


class ModelShelf:
    """What the doors may do with models; listing, using and removing block for a moment."""

    def __init__(self, models: ModelsDir) -> None:
        self._models = models

    def installed(self) -> list[ShelfModel]:
        """Models that are here, the chosen one first."""
        found = []
        for model in self._models.installed():
            known = model.manifest
            found.append(
                ShelfModel(
                    known.name, known.title or known.name, known.kind, known.bytes, known.licence, model.chosen,
                    known.context_tokens, known.source,
                )
            )  # fmt: skip
        return found

    def known(self) -> list[ShelfModel]:
        """Models of the catalogue that are not here."""
        here = {model.name for model in self._models.installed()}
        return [
            ShelfModel(model.name, model.title, model.kind, model.bytes, model.licence)
            for model in known_models().values()
            if model.name not in here
        ]

    def use(self, name: str) -> None:
        """Answer with this model from now on; raises NotFound, BadRequest, CapacityExceeded."""
        self._models.use(name)

    def remove(self, name: str) -> int:
        """Delete a model; bytes freed. Raises NotFound."""
        return self._models.remove(name)

    def add(self, source: str, *, name: str = "", sha256: str = "") -> AsyncIterator[Progress]:
        """Fetch by catalogue name, from an address, a file or a folder of this machine; nothing half is ever left."""
        if source in known_models():
            return add_known(self._models, source)
        if source.startswith(("http://", "https://")):
            return add_url(self._models, source, name=name, sha256=sha256)
        path = Path(source).expanduser()
        if path.is_dir():
            return add_folder(self._models, path)
        return add_file(self._models, path, name=name, sha256=sha256)
