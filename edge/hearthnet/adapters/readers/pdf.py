"""Text of PDF pages by pdfium (M05); runs only in the reader's child."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pypdfium2

from hearthnet.adapters.readers.kinds import Limits, tidy
from hearthnet.base.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

_BROKEN_WORD = re.compile(r"(?<=[a-zäöüß])(?:[\u0002\ufffe]\r?\n?|-\r?\n)(?=[a-zäöüß])")
_LINE_HYPHEN = re.compile(r"[\u0002\ufffe]")


def pdf_title(document: pypdfium2.PdfDocument) -> str:
    """Title that the file names."""
    return str(document.get_metadata_dict().get("Title", ""))


def open_pdf(content: bytes, limits: Limits) -> pypdfium2.PdfDocument:
    """The document; raises BadRequest when it is damaged, locked or endless."""
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise BadRequest(
            "the PDF is locked by a password" if locked else "the PDF is damaged",
            fix="save it without password" if locked else "open it and save it anew",
        ) from error
    if len(document) > limits.pages:
        raise BadRequest(f"the PDF has more than {limits.pages} pages", fix="split it")
    return document


def pdf_pages(document: pypdfium2.PdfDocument) -> Iterator[tuple[int, str]]:
    """Number and text of every page that has text; raises BadRequest when none has."""
    found = False
    for number in range(len(document)):
        text = _page_text(document, number)
        if text:
            found = True
            yield number + 1, text
    if not found:
        raise BadRequest(
            "the PDF holds no text, only pictures of it",
            fix="recognise its text first (OCR), for example: ocrmypdf in.pdf out.pdf",
        )


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    try:
        page = document[number]
        words = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""  # one damaged page does not spoil the others
    try:
        return tidy(_LINE_HYPHEN.sub("-", _BROKEN_WORD.sub("", words.get_text_bounded())))
    finally:
        words.close()
        page.close()
