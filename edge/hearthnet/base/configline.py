"""The line of a TOML text on which a key stands; `tomllib` does not tell (X04)."""

from __future__ import annotations

import re
from typing import TypeAlias

Key: TypeAlias = list[str | int]

_HEADER = re.compile(r"^\s*(\[{1,2})\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(r"^\s*([A-Za-z0-9_.\"' -]+?)\s*=")
_TRIPLE = re.compile(r"\"\"\"|'''")


def line_of(text: str, key: Key) -> int:
    """The number of the line that sets `key`, else of the nearest table or value around it, else 1."""
    best, depth = 1, 0
    table: Key = []
    counts: dict[str, int] = {}
    in_string = False
    for number, line in enumerate(text.splitlines(), start=1):
        was_in_string = in_string
        in_string ^= len(_TRIPLE.findall(line)) % 2 == 1
        if was_in_string:
            continue
        if header := _HEADER.match(line):
            table = _split(header[2])
            if header[1] == "[[":
                counts[header[2]] = counts.get(header[2], -1) + 1
                table.append(counts[header[2]])
            found = table
        elif assignment := _ASSIGNMENT.match(line):
            found = [*table, *_split(assignment[1])]
        else:
            continue
        if len(found) > depth and key[: len(found)] == found:
            best, depth = number, len(found)
    return best


def _split(dotted: str) -> Key:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
