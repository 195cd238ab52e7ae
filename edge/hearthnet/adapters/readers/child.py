"""The reader's child: an order and a document on standard input, pages as JSON lines on standard output (M05).

It limits itself before it reads the first byte of the document.
"""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

import msgspec

from hearthnet.adapters.readers.html import read_html
from hearthnet.adapters.readers.kinds import HTML, PDF, Limits, Order, Sheet, decode_text, find_kind, tidy
from hearthnet.adapters.readers.pdf import open_pdf, pdf_pages, pdf_title
from hearthnet.base.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_sheets(content: bytes, order: Order) -> Iterator[Sheet]:
    """Pages, then the end; or only the reason why there are none."""
    kind = find_kind(content, order.media_type)
    title = ""
    if kind == PDF:
        document = open_pdf(content, order.limits)
        title = pdf_title(document)
        for number, text in pdf_pages(document):
            yield Sheet(number, text)
    else:
        title, text = read_html(content) if kind == HTML else ("", tidy(decode_text(content)))
        if not text:
            raise BadRequest("the document holds no text")
        yield Sheet(0, text)
    yield Sheet(media_type=kind, text=title[:500])


def main() -> int:
    """Serve one document."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(65_536), type=Order)
    _limit(order.limits)
    out = sys.stdout.buffer
    try:
        content = sys.stdin.buffer.read(order.limits.input_bytes + 1)
        for sheet in read_sheets(content, order):
            out.write(msgspec.json.encode(sheet) + b"\n")
    except BadRequest as error:
        out.write(msgspec.json.encode(Sheet(error=error.detail, fix=error.fix)) + b"\n")
    except (MemoryError, RecursionError):
        return 1
    out.flush()
    return 0


def _limit(limits: Limits) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        _, hard = resource.getrlimit(kind)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (bound, bound))


if __name__ == "__main__":
    sys.exit(main())
