"""Documents of households, houses and clubs, as people upload them, and questions about them (`household.toml`)."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hearthnet.capabilities.rag import CorpusParams, IngestInput
from hearthnet.mesh.capability import NoParams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from library.answer_world import AnswerWorld

HERE = Path(__file__).parent
CORPORA = {
    "house-notes": "personal",
    "hausnotizen": "personal",
    "boiler-manual": "personal",
    "waschmaschine": "personal",
}
SHARED = "street"  # the corpus of what everybody in the street may read
LINES_A_PAGE = 12


def read_household() -> list[tuple[str, int, str, str, str]]:
    """(language, number, question, document, words that a quoted sentence has to hold); no document = not held."""
    found = tomllib.loads((HERE / "household.toml").read_text(encoding="utf-8"))
    items = []
    for language in ("en", "de"):
        for number, (document, question, words) in enumerate(found[f"answerable_{language}"], 1):
            items.append((language, number, question, document, words))
        items += [(language, number, text, "", "") for number, text in enumerate(found[f"unanswerable_{language}"], 1)]
    return items


def read_paraphrases() -> list[tuple[str, int, str, frozenset[str], frozenset[str]]]:
    """(language, number, question, cards that answer it, places of the sentences that help most)."""
    found = tomllib.loads((HERE / "paraphrases.toml").read_text(encoding="utf-8"))
    return [
        (language, number, question, frozenset(cards.split()), frozenset(places.split()))
        for language in ("en", "de")
        for number, (cards, question, places) in enumerate(found[language], 1)
    ]


def documents() -> Iterator[tuple[str, str, bytes]]:
    """(name, file name, content); `*.pdf.txt` becomes a PDF."""
    for path in sorted((HERE / "household").iterdir()):
        name = path.name.partition(".")[0]
        text = path.read_text(encoding="utf-8")
        if path.name.endswith(".pdf.txt"):
            yield name, path.name.removesuffix(".txt"), pdf_of(text.splitlines())
        else:
            yield name, path.name, text.encode()


def pdf_of(lines: list[str]) -> bytes:
    """A PDF by hand, so many lines a page."""
    pages = [_content(lines[first : first + LINES_A_PAGE]) for first in range(0, len(lines), LINES_A_PAGE)]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, content in enumerate(pages):
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * number),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)


def _content(lines: list[str]) -> bytes:
    plain = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in lines]
    shown = b" T* ".join(b"(%s) Tj" % line.encode("cp1252") for line in plain)
    return b"BT /F1 10 Tf 14 TL 50 800 Td " + shown + b" ET"


async def upload(world: AnswerWorld) -> None:
    """Take all documents in, and wait until their vectors are made."""
    for name, filename, content in documents():
        wanted = IngestInput(world.blobs.add(content), metadata={"filename": filename})
        await _call(world, "rag.ingest@1.0", CorpusParams(CORPORA.get(name, SHARED)), wanted)
    while any(  # noqa: ASYNC110  the library tells nobody when it is done
        item.pending for item in (await _call(world, "rag.list_corpora@1.0", NoParams(), {})).corpora
    ):
        await asyncio.sleep(0.02)


async def _call(world: AnswerWorld, name: str, params: Any, request: Any) -> Any:
    return await world.bus.call(name, params, request, caller=world.caller("the household"))
