"""Whose work is inside: packages as installed, and what is vendored, read from their own metadata (M08)."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import Final

from msgspec import Struct

_OURS: Final = "hearthnet"
_NAME: Final = re.compile(r"^[A-Za-z0-9._-]+")
_LONG: Final = 40  # some packages put the whole text into the field


class Work(Struct, frozen=True, order=True):
    """One work with its licence."""

    name: str
    version: str
    licence: str
    address: str = ""


@cache
def list_licences() -> tuple[Work, ...]:
    """Every package that this program pulls in and is installed, and the vendored files; blocking."""
    return tuple(sorted([*_vendored(), *_packages()], key=lambda work: work.name.lower()))


def _vendored() -> list[Work]:
    table = tomllib.loads((files("hearthnet.web") / "static" / "vendor" / "VENDOR.toml").read_text(encoding="utf-8"))
    return [Work(item["name"], item["version"], item["licence"], item["source"]) for item in table["work"]]


def _packages() -> list[Work]:
    found: dict[str, Work] = {}
    todo = [_OURS]
    try:
        metadata.distribution(_OURS)
    except metadata.PackageNotFoundError:  # run from the source tree
        todo = [distribution.name for distribution in metadata.distributions()]
    while todo:
        name = todo.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed
        found[key] = Work(distribution.name, distribution.version, _licence(distribution.metadata))
        todo += [match[0] for line in distribution.requires or () if (match := _NAME.match(line))]
    found.pop(_OURS, None)
    return list(found.values())


def _licence(known: metadata.PackageMetadata) -> str:
    named = _field(known, "License-Expression")
    if not named:
        classified = [
            line.rpartition("::")[2].strip() for line in known.get_all("Classifier") or () if "License ::" in line
        ]
        named = ", ".join(line for line in classified if line != "OSI Approved")
    if not named:
        named = _field(known, "License").strip().partition("\n")[0]
    return named if 0 < len(named) <= 3 * _LONG else "?"


def _field(known: metadata.PackageMetadata, name: str) -> str:
    return str(known[name]) if name in known else ""
