"""Sections of the Debian Reference in two languages, aligned by their anchors (packages debian-reference-en, -de)."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

FOLDER = Path("/usr/share/debian-reference")
LEAST_CHARS = 200  # shorter sections only list their subsections
_X = "{http://www.w3.org/1999/xhtml}"
_KINDS = {"section", "chapter", "preface", "appendix"}
_SKIPPED = {"toc", "titlepage", "navheader", "navfooter", "list-of-tables"}
_BLOCKS = {"p", "div", "li", "tr", "pre", "dt", "dd", "table", "ul", "ol", "dl", "br"}
_NUMBER = re.compile(r"^((Chapter|Kapitel|Appendix|Anhang)\s*)?[\dA]+(\.\d+)*\.\s*")


class Section(NamedTuple):
    """One section: its title in both languages and its English text, without title and subsections."""

    title: str
    german_title: str
    body: str


def read_sections() -> list[Section]:
    """Sections that both languages have; exits with the command to run when the packages are missing."""
    if not (FOLDER / "ch01.de.html").exists() or not (FOLDER / "ch01.en.html").exists():
        sys.exit("first: apt-get install --no-install-recommends debian-reference-en debian-reference-de")
    english, german = _read("en"), _read("de")
    return [
        Section(title, german[key][0], body)
        for key, (title, body) in english.items()
        if key in german and len(body) >= LEAST_CHARS
    ]


def _read(language: str) -> dict[tuple[str, str], tuple[str, str]]:
    found = {}
    for path in sorted(FOLDER.glob(f"*.{language}.html")):
        if path.name.startswith("index"):
            continue
        text = re.sub(r"<!DOCTYPE[^>]*>", "", path.read_text(encoding="utf-8").replace("&nbsp;", "\xa0"))
        for section in ET.fromstring(text).iter(f"{_X}div"):
            page = next((child for child in section if child.get("class") == "titlepage"), None)
            if section.get("class") not in _KINDS or page is None:
                continue
            heading = next(element for element in page.iter() if re.fullmatch(rf"{_X}h\d", str(element.tag)))
            anchor = next(str(element.get("id")) for element in page.iter(f"{_X}a") if element.get("id"))
            parts: list[str] = []
            for child in section:
                _collect(child, parts)
            title = _NUMBER.sub("", _tidy("".join(heading.itertext())))
            found[path.name.split(".")[0], anchor] = (title, _tidy("".join(parts)))
    return found


def _collect(element: ET.Element, parts: list[str]) -> None:
    name = str(element.tag).replace(_X, "")
    kind = element.get("class", "")
    if (name == "div" and kind in _KINDS) or kind in _SKIPPED:
        return
    keep = name == "pre"
    parts.append(_flat(element.text, keep=keep))
    for child in element:
        _collect(child, parts)
        parts.append(_flat(child.tail, keep=keep))
    if name in _BLOCKS:
        parts.append("\n")
    elif name == "td":
        parts.append(" ")


def _flat(text: str | None, *, keep: bool) -> str:
    return (text or "") if keep else re.sub(r"\s+", " ", text or "")


def _tidy(text: str) -> str:
    return re.sub(r"[ \t\xa0]+", " ", re.sub(r"\s*\n\s*", "\n", text)).strip()
