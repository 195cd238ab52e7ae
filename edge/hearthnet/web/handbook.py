"""The handbook's cards for reading: by group, by language, in sections (M08, M05)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from markupsafe import Markup
from msgspec import Struct

from hearthnet.base.errors import NotFound
from hearthnet.mesh.cards import CARD_GROUPS, Card, CardHead, shipped_library
from hearthnet.mesh.handbook import read_cards
from hearthnet.web.markdown import render_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.web.door import Door

# the five headings of a card, in both languages (edge/library/README.md)
_KINDS: Final = {
    "Help first": "help", "Do now": "do", "Do not": "never", "Why": "why", "Get help when": "when",
    "Zuerst Hilfe": "help", "Jetzt tun": "do", "Nicht tun": "never", "Warum": "why", "Hilfe holen, wenn": "when",
}  # fmt: skip
GROUP_ICONS: Final = {
    "box": "box", "call": "phone", "warn": "alarm", "power": "power", "heat": "temp", "water": "flood",
    "food": "card", "health": "doctor", "energy": "battery", "radio": "radio", "nature": "flood", "danger": "fire",
    "leave": "handed", "aid": "need", "street": "people",
}  # fmt: skip


class Section(Struct, frozen=True):
    """One part of a card; `kind` is help, do, never, why, when."""

    kind: str
    title: str
    text: str
    html: Markup


class Handbook:
    """All cards in both languages, read once."""

    def __init__(self, cards: Sequence[Card]) -> None:
        self._cards = {(card.head.id, card.head.lang): card for card in cards}

    def __len__(self) -> int:
        return len({card_id for card_id, _ in self._cards})

    def groups(self, language: str) -> list[tuple[str, list[CardHead]]]:
        """Heads of the cards by group, both in the handbook's order."""
        heads = [card.head for card in self._cards.values() if card.head.lang == language]
        heads.sort(key=lambda head: int(head.id[1:]))
        grouped = [(group, [head for head in heads if head.group == group]) for group in CARD_GROUPS]
        return [(group, found) for group, found in grouped if found]

    def card(self, card_id: str, language: str) -> Card:
        """The card, in the other language where this one is missing; raises NotFound."""
        wanted = ((card_id, language), (card_id, "de"), (card_id, "en"))
        found = next((self._cards[key] for key in wanted if key in self._cards), None)
        if found is None:
            raise NotFound(f"the handbook has no card {card_id[:12]!r}")
        return found

    def languages(self, card_id: str) -> list[str]:
        """The languages in which a card exists."""
        return [language for language in ("de", "en") if (card_id, language) in self._cards]

    def help_first(self, card_id: str, language: str) -> tuple[str, str]:
        """Heading and words of what comes first when life is in danger; empty words when the card says nothing."""
        found = next((part for part in read_sections(self.card(card_id, language)) if part.kind == "help"), None)
        return (found.title, found.text) if found else ("", "")


def read_sections(card: Card, marks: Sequence[str] = ()) -> list[Section]:
    """A card cut at its headings."""
    sections: list[Section] = []
    for block in ("\n" + card.body).split("\n## ")[1:]:
        title, _, text = block.partition("\n")
        html = render_markdown(text, marks, anchored=any('id="hit"' in part.html for part in sections))
        sections.append(Section(_KINDS.get(title, "why"), title, text.strip(), html))
    return sections


def kind_at(body: str, position: int) -> str:
    """Under which heading of a card a place stands: help, do, never, why, when; empty under none."""
    heading = body[: max(0, position)].rpartition("## ")
    return _KINDS.get(heading[2].partition("\n")[0], "") if heading[1] else ""


async def handbook_of(door: Door) -> Handbook:
    """The handbook of this node; read at the first use."""
    found = door.extras.get("web.handbook")
    if found is None:
        folder = Path(door.config.rag.library_dir) if door.config.rag.library_dir else shipped_library()
        found = door.extras["web.handbook"] = Handbook(await asyncio.to_thread(read_cards, folder))
    handbook: Handbook = found
    return handbook
