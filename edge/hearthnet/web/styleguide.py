"""Every component of the pages in all its states, drawn by the templates that the pages use (M08)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import structs

from hearthnet.base.types import Role
from hearthnet.mesh.answers import Done, Failed, Progress, Source, Sources, Token
from hearthnet.web.access import draw_qr
from hearthnet.web.addresses import base_url
from hearthnet.web.answer_view import AnswerView
from hearthnet.web.asked_turn import AskedTurn, StopNote
from hearthnet.web.door import door_of, texts_of
from hearthnet.web.handbook import handbook_of, read_sections
from hearthnet.web.icons import ICON_NAMES
from hearthnet.web.pages import render
from hearthnet.web.routing import RouteTable

if TYPE_CHECKING:
    from hearthnet.mesh.answers import Frame
    from hearthnet.mesh.cards import Card

routes = RouteTable()
_CARD: Final = "T10"
TOKENS: Final = (
    "ground", "sheet", "sunk", "ink", "mute", "line", "edge", "hair", "ember", "ember-ink", "moss", "moss-wash",
    "amber", "amber-wash", "amber-fill", "slate", "slate-wash", "red", "red-wash", "red-fill", "head", "btn", "focus",
)  # fmt: skip


@routes.add("GET", "/styleguide", role=Role.GUEST)
async def show_styleguide(request: web.Request) -> web.StreamResponse:
    """All components."""
    texts = texts_of(request)
    card = (await handbook_of(door_of(request))).card(_CARD, texts.language)
    now = door_of(request).services.clock.now()
    return render(
        request,
        "styleguide.html",
        tokens=TOKENS,
        icon_names=ICON_NAMES,
        turns=_turns(card, texts("ask.example.1"), now),
        qr=draw_qr(base_url(request)),
    )


def _turns(card: Card, question: str, now: float) -> list[tuple[str, AskedTurn]]:
    """The states of an answer, made of a real card."""
    source, quotes = _source(card)
    sources = Sources((source,))
    told = [Token(quote, cites=(1,), quoted=True) for quote in quotes]
    model = "SmolLM2-135M-Instruct"
    states: dict[str, tuple[Frame, ...]] = {
        "queue": (Progress("queue", current=3),),
        "load": (Progress("load", eta_ms=12_000),),
        "writing": (sources, told[0]),
        "done": (sources, *told, Done("end", "quoted", model, ms=412)),
        "stopped": (sources, told[0], Done("cancelled", "quoted", "")),
        "missing": (sources, Done("end", "not_in_library", model, ms=301)),
        "failed": (sources, told[0], Failed("partition", retry_after_ms=4000)),
    }
    help_first = read_sections(card)[0]
    danger = StopNote(help_first.title, tuple(help_first.text.split("\n")))
    turns = []
    for number, (state, frames) in enumerate(states.items(), 1):
        turn = AskedTurn("", number, question, now, AnswerView(frames), latest=False)
        turns.append((state, structs.replace(turn, dangers=(danger,)) if state == "done" else turn))
    return turns


def _source(card: Card) -> tuple[Source, list[str]]:
    head = card.head
    found = list(re.finditer(r"(?m)^- (.+)$", card.body))[:2]
    source = Source(
        number=1, title=head.title, text=card.body, corpus="system", doc_cid="", chunk_id=head.id, language=head.lang,
        card_id=head.id, authorities=head.authorities, date=head.date, quotes=tuple(item.span(1) for item in found),
    )  # fmt: skip
    return source, [item[1] for item in found]
