"""What pages read from the library: counts, and the first help that cited cards demand (M08)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import HearthNetError
from hearthnet.base.types import Role, TrustLevel
from hearthnet.mesh.capability import Caller
from hearthnet.mesh.passages import CORPUS_SYSTEM
from hearthnet.web.asked_turn import StopNote
from hearthnet.web.door import caller_of, door_of, texts_of, visitor_of
from hearthnet.web.handbook import handbook_of

if TYPE_CHECKING:
    from aiohttp import web

    from hearthnet.mesh.library_catalogue import CorpusSummary
    from hearthnet.web.answer_view import AnswerView

_HOUSE: Final = Caller(node_id=None, trust=TrustLevel.SELF, subject="pages")


class LibraryCount(Struct, frozen=True):
    """How much the library holds."""

    cards: int
    documents: int


def reader_of(request: web.Request) -> Caller:
    """Who reads: guests read the handbook, and nothing else, through the house (decision 24)."""
    return caller_of(request) if visitor_of(request).role >= Role.MEMBER else _HOUSE


async def count_library(request: web.Request) -> LibraryCount:
    """Cards of the handbook and documents that people added; raises the error of the library."""
    door = door_of(request)
    handbook = await handbook_of(door)
    if visitor_of(request).role < Role.MEMBER:
        return LibraryCount(len(handbook), 0)
    corpora = await list_corpora(request)
    return LibraryCount(len(handbook), sum(item.docs for item in corpora if item.name != CORPUS_SYSTEM))


async def list_corpora(request: web.Request) -> tuple[CorpusSummary, ...]:
    """What the library holds, by corpus; raises the error of the library."""
    reply = await door_of(request).bus.call("rag.list_corpora@1.0", None, {}, caller=reader_of(request))
    corpora: tuple[CorpusSummary, ...] = reply.corpora
    return corpora


async def danger_notes(request: web.Request, view: AnswerView) -> tuple[StopNote, ...]:
    """What the first cited card says must be done first, unless the answer already says it."""
    if view.state not in ("done", "stopped"):
        return ()
    source = next((source for source in view.cited if source.card_id), None)
    if source is None or not view.blocks:
        return ()
    language = source.language or texts_of(request).language
    try:
        title, words = (await handbook_of(door_of(request))).help_first(source.card_id, language)
    except HearthNetError:
        return ()  # a card that is no longer here
    said = " ".join(view.text.split())
    lines = tuple(line for line in words.split("\n") if line and " ".join(line.split()) not in said)
    return (StopNote(title, lines),) if lines else ()
