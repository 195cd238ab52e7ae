"""Markdown to safe HTML: raw HTML off, images off, quoted words marked where a source led here (M08)."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from hearthnet.web.answer_view import Piece

_PLACE: Final = 0xE000  # private use characters stand for chips while the text is parsed
_PLACE_COUNT: Final = 256
_PLACES: Final = re.compile("[\ue000-\ue0ff]")


@cache
def _parser() -> MarkdownIt:
    """Made when the first card is opened: a node that only answers programs does without its megabyte."""
    parser: MarkdownIt = import_module("markdown_it").MarkdownIt("commonmark", {"html": False})
    parser.enable("table").disable("image")
    parser.renderer.rules["hit"] = lambda tokens, index, _options, _env: _mark(tokens[index])  # type: ignore[attr-defined]
    return parser


def render_markdown(text: str, marks: Sequence[str] = (), *, anchored: bool = False) -> Markup:
    """HTML of the text; `marks` are words to mark, the first found gets the id `hit` unless the page has one."""
    parser = _parser()
    tokens = parser.parse(text)
    found = int(anchored)
    for token in tokens:
        if token.type == "inline" and token.children:
            token.children = _cut(token.children, marks, found)
            found += sum(child.type == "hit" for child in token.children)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704  the parser escapes; html is off


def render_prose(pieces: Sequence[Piece], chip: Callable[[int], Markup]) -> Markup:
    """Free wording as HTML, each source's chip behind the words it carries."""
    text = "".join(
        _PLACES.sub("", piece.text) + "".join(chr(_PLACE + number) for number in piece.cites if number < _PLACE_COUNT)
        for piece in pieces
    )
    html = _PLACES.sub(lambda found: " " + chip(ord(found[0]) - _PLACE), str(render_markdown(text)))
    return Markup(html)  # noqa: S704  the parser escapes, chips are templates


def _cut(children: list[Token], marks: Sequence[str], found: int) -> list[Token]:
    cut: list[Token] = []
    for child in children:
        mark = next((mark for mark in marks if mark and mark in child.content), "") if child.type == "text" else ""
        if not mark:
            cut.append(child)
            continue
        before, _, after = child.content.partition(mark)
        first = found == 0 and not any(token.type == "hit" for token in cut)
        hit = type(child)("hit", "mark", 0, content=mark, meta={"first": first})
        cut += [_text(child, before), hit, *_cut([_text(child, after)], marks, found + 1)]
    return cut


def _text(like: Token, content: str) -> Token:
    return type(like)("text", "", 0, content=content)


def _mark(token: Token) -> str:
    place = ' id="hit"' if token.meta["first"] else ""
    return str(Markup('<mark class="hit"{}>{}</mark>').format(Markup(place), token.content))  # noqa: S704  a constant
