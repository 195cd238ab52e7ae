"""Texts by key in German and English; the language comes from a cookie, then `Accept-Language` (ux.md 2.6)."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES: Final = ("de", "en")
_NAMES: Final = {"de": "Deutsch", "en": "English"}


class Texts:
    """All texts of one language; a missing key is a programming error and raises KeyError."""

    def __init__(self, language: str, table: Mapping[str, str]) -> None:
        self.language = language
        self.name = _NAMES[language]
        self._table = table

    def __call__(self, key: str, /, **values: object) -> str:
        """The text with `{name}` placeholders filled; with `n=1` the key `<key>.one` is taken when present."""
        if values.get("n") == 1 and f"{key}.one" in self._table:
            key = f"{key}.one"
        text = self._table[key]
        return text.format(**values) if values else text

    def find(self, key: str, fallback: str) -> str:
        """The text, or `fallback` when the key is unknown (for error codes from other nodes)."""
        return self._table.get(key, fallback)

    def keys(self) -> set[str]:
        """All keys of the language."""
        return set(self._table)


def load_texts() -> dict[str, Texts]:
    """Both languages from the package."""
    folder = files("hearthnet.web") / "locales"
    return {
        language: Texts(language, msgspec.json.decode((folder / f"{language}.json").read_bytes(), type=dict[str, str]))
        for language in LANGUAGES
    }


def choose_language(cookie: str, accept: str, default: str) -> str:
    """`de` or `en`: the cookie if valid, else the best of an `Accept-Language` header (RFC 9110 12.5.4)."""
    if cookie in LANGUAGES:
        return cookie
    best, best_quality = default, 0.0
    for part in accept.split(",")[:20]:
        tag, _, parameter = part.strip().partition(";")
        language = tag[:2].lower()
        quality = _quality(parameter)
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0
