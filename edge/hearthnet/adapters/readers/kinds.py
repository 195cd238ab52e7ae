"""What kind of document some bytes are, and the shapes that reader and child exchange (M05)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from msgspec import Struct

from hearthnet.base.constants import UPLOAD_MAX_BYTES
from hearthnet.base.errors import BadRequest

PDF: Final = "application/pdf"
HTML: Final = "text/html"
MARKDOWN: Final = "text/markdown"
PLAIN: Final = "text/plain"

_SAMPLE_BYTES: Final = 4096
_HTML_SIGNS = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\u00ad\u200b\u2060\ufeff]")
_LINE_ENDS = re.compile(r"[ \t]+(?=\n)")
_BLANKS = re.compile(r"\n{3,}")


class Limits(Struct, frozen=True):
    """Bounds of one reading."""

    input_bytes: int = UPLOAD_MAX_BYTES
    text_chars: int = 16_000_000
    pages: int = 5000
    memory_bytes: int = 1_073_741_824
    cpu_s: int = 60
    wall_s: float = 120.0


class Order(Struct, frozen=True):
    """First line to the child."""

    media_type: str
    limits: Limits


class Sheet(Struct, frozen=True, omit_defaults=True):
    """One line from the child: a page, or the end (`media_type` set, `text` = title), or why there is none."""

    number: int = 0
    text: str = ""
    media_type: str = ""
    error: str = ""
    fix: str = ""


def find_kind(content: bytes, declared: str) -> str:
    """Media type by the bytes; what is declared only tells Markdown and HTML fragments from text.

    Raises BadRequest for what the library cannot read.
    """
    sample = content[:_SAMPLE_BYTES]
    declared = declared.partition(";")[0].strip().lower()
    if b"%PDF-" in sample[:1024]:
        return PDF
    if _HTML_SIGNS.match(sample):
        return HTML
    if content.startswith(b"PK\x03\x04"):
        raise BadRequest(
            "a ZIP archive or office document cannot be read", fix="save it as PDF, HTML or plain text, then add that"
        )
    if not content.strip():
        raise BadRequest("the document is empty")
    if _looks_binary(sample):
        raise BadRequest("this is not a text, Markdown, HTML or PDF file", fix="save it as PDF or plain text first")
    if declared in {HTML, "application/xhtml+xml"}:
        return HTML
    return MARKDOWN if declared == MARKDOWN else PLAIN


def decode_text(content: bytes) -> str:
    """Characters of a text file: by its mark, as UTF-8, else as Windows-1252 (old German files)."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return content.decode(name, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def tidy(text: str) -> str:
    """Plain characters: composed, without control signs, lines ended by LF, at most one empty line in a row."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n\n").replace("\u2028", "\n")
    text = _CONTROL.sub("", text.replace("\xa0", " "))
    return _BLANKS.sub("\n\n", _LINE_ENDS.sub("", unicodedata.normalize("NFC", text))).strip()


def _looks_binary(sample: bytes) -> bool:
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    strange = sum(byte < 9 or 13 < byte < 32 for byte in sample)
    return b"\x00" in sample or strange > len(sample) // 20
