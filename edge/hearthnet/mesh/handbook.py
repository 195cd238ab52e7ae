"""The handbook as corpus `system`: what stands in its folder stands in the library, no more and no less (M05)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from hearthnet.base.errors import BadRequest
from hearthnet.mesh.cards import Card, parse_card
from hearthnet.mesh.library_documents import chunk_of_card, document_of_card
from hearthnet.mesh.library_seed import SeedVectors, map_seeds
from hearthnet.mesh.library_words import WordRules
from hearthnet.mesh.passages import CORPUS_SYSTEM
from hearthnet.wire.cid import cid_of

if TYPE_CHECKING:
    from pathlib import Path

    from hearthnet.mesh.library_index import Corpus, LibraryIndex
    from hearthnet.ports import Clock

Asked = dict[str, dict[str, tuple[str, ...]]]  # card id -> language -> questions

log = logging.getLogger(__name__)

SEED_FILE: Final = "vectors.bin"
ASKED_FILE: Final = "asked.toml"
STEMS_FILE: Final = "german-stems.txt"
CARD_MAX_BYTES: Final = 65_536


async def load_handbook(
    folder: Path, index: LibraryIndex, model: str, clock: Clock, asked: Asked | None = None
) -> Corpus:
    """Bring the corpus in line with the card files; a broken card is left out and logged."""
    corpus = await index.make_corpus(CORPUS_SYSTEM, model)
    files = await asyncio.to_thread(_read_files, folder)
    known = await index.documents(corpus)
    asked = await asyncio.to_thread(read_asked, folder) if asked is None else asked
    for gone in known.keys() - files.keys():
        await index.remove(corpus, gone)
    for cid, (name, content) in files.items():
        try:
            card = parse_card(content.decode())
        except (BadRequest, UnicodeDecodeError) as error:
            log.warning("card %s is left out: %s", name, error)
            continue
        questions = asked.get(card.head.id, {}).get(card.head.lang, ())
        document = document_of_card(card, content, questions)
        if known.get(cid) != ("ready", document.metadata):
            doc = await index.begin(corpus, document, clock.now())
            await index.write(corpus, doc, document, [chunk_of_card(card, questions)])
    return corpus


def read_seeds(folder: Path) -> SeedVectors:
    """The vectors that ship with the handbook; without them they are made in the background."""
    try:
        return map_seeds(folder / SEED_FILE)
    except FileNotFoundError:
        return SeedVectors()
    except BadRequest as error:
        log.warning("%s: %s", SEED_FILE, error)
        return SeedVectors()


def read_asked(folder: Path) -> Asked:
    """Ways in which people ask for each card, by language; raises BadRequest when the file is damaged."""
    try:
        found: Asked = msgspec.toml.decode((folder / ASKED_FILE).read_bytes(), type=Asked)
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise BadRequest(f"{ASKED_FILE}: {error}") from error
    return found


def read_word_rules(folder: Path) -> WordRules:
    """How words are indexed, by the German stems that ship; without them long words stay whole."""
    try:
        return WordRules(frozenset((folder / STEMS_FILE).read_text("utf-8").split()))
    except FileNotFoundError:
        return WordRules()


def read_cards(folder: Path) -> list[Card]:
    """All cards of a folder, by file name; raises BadRequest for a broken one."""
    return [parse_card(content.decode()) for _, content in _read_files(folder).values()]


def _read_files(folder: Path) -> dict[str, tuple[str, bytes]]:
    found = {}
    for path in sorted((folder / "cards").glob("*.md")):
        content = path.read_bytes()
        if len(content) <= CARD_MAX_BYTES:
            found[str(cid_of(content))] = (path.name, content)
    return found
