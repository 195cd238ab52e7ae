"""Headings of a text, as Markdown marks them (M05); HTML is read into the same marks.

A line `# Title` (one to six signs) under an empty line, or a line of its own that is underlined by `===` or `---`. What
stands in a fenced listing is none, nor is a comment under a line of code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADING_MAX_CHARS: Final = 160  # what is longer is a paragraph
_BETWEEN: Final = " / "
_LEVELS: Final = 6
_FENCES: Final = ("```", "~~~")
_UNDERLINES: Final = {"=": 1, "-": 2}


class Heading(NamedTuple):
    """A heading: where its line begins, 1 (the highest) to 6, its words."""

    start: int
    level: int
    title: str


def find_headings(text: str) -> list[Heading]:
    """The headings of a text, in order."""
    found: list[Heading] = []
    free = True  # whether the line above is empty, a heading, or the beginning
    above: tuple[int, str] | None = None  # a line that begins a paragraph
    for place, line in _lines_outside_fences(text):
        heading = _marked(place, line) if free else _underlined(above, line)
        if heading is not None:
            found.append(heading)
        above = (place, line) if free and heading is None and line else None
        free = heading is not None or not line
    return found


def paths_of(headings: Sequence[Heading], without: str = "") -> list[str]:
    """For each heading those above it and itself, outermost first; outer ones go where it gets too long.

    A heading that says no more than `without`, the title of the document, is left out.
    """
    found: list[str] = []
    above: list[Heading] = []
    for heading in headings:
        while above and above[-1].level >= heading.level:
            above.pop()
        above.append(heading)
        named = [one.title for one in above if one.title.casefold() != without.casefold()]
        while len(named) > 1 and len(_BETWEEN.join(named)) > HEADING_MAX_CHARS:
            named.pop(0)
        found.append(_BETWEEN.join(named))
    return found


def _lines_outside_fences(text: str) -> Iterator[tuple[int, str]]:
    place, fenced = 0, ""
    for raw in text.split("\n"):
        line = raw.strip()
        if fenced:
            fenced = "" if line.startswith(fenced) else fenced
        elif line.startswith(_FENCES):
            fenced = line[:3]
            yield place, line
        else:
            yield place, line
        place += len(raw) + 1


def _marked(place: int, line: str) -> Heading | None:
    level = len(line) - len(line.lstrip("#"))
    title = line[level:].rstrip("#").strip()
    if not 0 < level <= _LEVELS or not line[level:].startswith((" ", "\t")):
        return None
    return Heading(place, level, title) if 0 < len(title) <= HEADING_MAX_CHARS else None


def _underlined(above: tuple[int, str] | None, line: str) -> Heading | None:
    if above is None or len(above[1]) > HEADING_MAX_CHARS or len(line) < len(_FENCES[0]):
        return None
    level = _UNDERLINES.get(line[0])
    return Heading(above[0], level, above[1]) if level and not line.strip(line[0]) else None
