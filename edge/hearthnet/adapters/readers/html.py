"""Text of HTML documents by lexbor (M05); runs only in the reader's child."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from selectolax.lexbor import LexborHTMLParser

from hearthnet.adapters.readers.kinds import decode_text, tidy

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_SILENT: Final = ("script", "style", "noscript", "template", "svg", "nav", "head", "iframe", "object", "form")
_HEADINGS: Final = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS: Final = frozenset(
    (
        "address", "article", "aside", "blockquote", "body", "dd", "details", "div", "dl", "dt", "figcaption", "figure",
        "footer", "header", "li", "main", "ol", "p", "pre", "section", "summary", "table", "td", "th", "tr", "ul",
        *_HEADINGS,
    )
)  # fmt: skip
_CLIMB: Final = 32  # ancestors looked at for the block a text stands in
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_-]{1,40})", re.IGNORECASE)


def read_html(content: bytes) -> tuple[str, str]:
    """Title and text; headings and list items keep Markdown's marks, a block begins a new paragraph."""
    tree = LexborHTMLParser(_characters(content))
    head = tree.css_first("title")
    title = " ".join(head.text().split()) if head else ""
    tree.strip_tags(list(_SILENT), recursive=True)
    if tree.body is None:
        return title, ""
    parts: list[str] = []
    before = None
    for node in tree.body.traverse(include_text=True):
        if node.tag == "br":
            parts.append("\n")
        elif node.tag == "-text":
            block = _block_of(node)
            name = block.mem_id if block is not None else 0
            text = node.text(deep=False)
            if block is None or block.tag != "pre":
                text = re.sub(r"\s+", " ", text)
            if name != before and text.strip():
                parts.append("\n\n" + _mark(block))
                before = name
            parts.append(text)
    return title, tidy("".join(parts))


def _characters(content: bytes) -> str:
    named = _CHARSET.search(content[:4096])
    if named and not content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode(named[1].decode("ascii"))
        except (LookupError, UnicodeDecodeError):
            pass  # the name is wrong; the bytes decide
    return decode_text(content)


def _block_of(node: LexborNode) -> LexborNode | None:
    above = node.parent
    for _ in range(_CLIMB):
        if above is None or above.tag in _BLOCKS:
            return above
        above = above.parent
    return above


def _mark(block: LexborNode | None) -> str:
    if block is None:
        return ""
    return "- " if block.tag == "li" else _HEADINGS.get(block.tag or "", "")
