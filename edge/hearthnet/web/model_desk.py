"""Models on their way in: one at a time, its progress seen by whoever looks, its failure kept until seen (M08)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from hearthnet.base.errors import CapacityExceeded, HearthNetError
from hearthnet.base.log import sanitise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from hearthnet.mesh.services import Spawn


class AddStep(Protocol):
    """One step of adding a model."""

    @property
    def stage(self) -> str:
        """Checking | copying | downloading | verifying | done."""

    @property
    def model(self) -> str:
        """Its name, as far as known."""

    @property
    def done_bytes(self) -> int:
        """How much is there."""

    @property
    def total_bytes(self) -> int:
        """How much there will be; 0 = not known."""


class ModelShelf(Protocol):
    """What the settings page needs of the models; `door.extras["models"]`."""

    def installed(self) -> Sequence[Any]:
        """Rows with name, title, kind, size_bytes, licence, chosen; blocking."""

    def known(self) -> Sequence[Any]:
        """Rows of the catalogue that are not here."""

    def use(self, name: str) -> None:
        """Answer with this model from now on."""

    def remove(self, name: str) -> int:
        """Delete a model; bytes freed."""

    def add(self, source: str, *, name: str = "", sha256: str = "") -> AsyncIterator[AddStep]:
        """Fetch from the catalogue, an address, a file or a folder."""


class Adding(Struct):
    """The model that is being added, or the last one that failed."""

    source: str
    stage: str = "checking"
    model: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    error: str = ""  # code
    detail: str = ""


class ModelDesk:
    """Runs one addition at a time in the background."""

    def __init__(self, shelf: ModelShelf, spawn: Spawn) -> None:
        self._shelf = shelf
        self._spawn = spawn
        self.adding: Adding | None = None

    def add(self, source: str) -> None:
        """Begin; raises CapacityExceeded while another one is on its way."""
        if self.adding is not None and not self.adding.error:
            raise CapacityExceeded("another model is being added", retry_after_ms=10_000)
        self.adding = Adding(source)
        self._spawn("web.model", self._add(self.adding))

    def dismiss(self) -> None:
        """Forget a failure."""
        if self.adding is not None and self.adding.error:
            self.adding = None

    async def _add(self, adding: Adding) -> None:
        try:
            async for step in self._shelf.add(adding.source):
                adding.stage, adding.model = step.stage, step.model
                adding.done_bytes, adding.total_bytes = step.done_bytes, step.total_bytes
        except HearthNetError as error:
            adding.error, adding.detail = error.code, sanitise(error.detail, 300)
        else:
            self.adding = None
