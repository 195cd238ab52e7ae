"""Cards of the Hearth Handbook: front matter, body, and the units by which they are found (M05)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.errors import BadRequest

CARD_GROUPS: Final = (
    "box", "call", "warn", "power", "heat", "water", "food", "health", "energy", "radio", "nature", "danger", "leave",
    "aid", "street",
)  # fmt: skip
SECTION_KINDS: Final = {
    "Help first": "help", "Do now": "do", "Do not": "never", "Why": "why", "Get help when": "when",
    "Zuerst Hilfe": "help", "Jetzt tun": "do", "Nicht tun": "never", "Warum": "why", "Hilfe holen, wenn": "when",
}  # fmt: skip
_FENCE: Final = "+++\n"
_Short = Annotated[str, Meta(min_length=1, max_length=120)]


class CardHead(Struct, frozen=True, forbid_unknown_fields=True):
    """Front matter of a card; `edge/library/README.md` explains the fields."""

    id: Annotated[str, Meta(pattern="^T[0-9]{2,3}$")]
    lang: Literal["de", "en"]
    title: _Short
    group: str
    authorities: Annotated[tuple[_Short, ...], Meta(min_length=1)]
    date: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}$")]
    review: Literal["yearly", "stable"]
    also: tuple[_Short, ...]


class Card(Struct, frozen=True):
    """One topic in one language."""

    head: CardHead
    body: str  # Markdown, headings of level 2


def parse_card(text: str) -> Card:
    """Read a card file; raises BadRequest naming what is wrong."""
    parts = text.replace("\r\n", "\n").split(_FENCE, 2)
    if len(parts) != 3 or parts[0]:
        raise BadRequest("a card begins with front matter between two lines of +++")
    try:
        head = msgspec.convert(tomllib.loads(parts[1]), CardHead)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadRequest(f"front matter of a card: {error}") from error
    if head.group not in CARD_GROUPS:
        raise BadRequest(f"front matter of a card: unknown group {head.group!r}")
    return Card(head, parts[2].strip("\n") + "\n")


def shipped_library() -> Path:
    """Folder of the handbook that ships with the program."""
    return Path(__file__).resolve().parents[2] / "library"
