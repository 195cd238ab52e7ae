"""The library for reading: cards by group, a card with the quoted words marked, search (M08, M05)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct

from hearthnet.base.errors import HearthNetError
from hearthnet.base.types import Role
from hearthnet.mesh.answers import Source
from hearthnet.mesh.passages import CORPUS_SYSTEM, QueryInput, QueryOutput
from hearthnet.web.asked_turn import cut_passage, source_link
from hearthnet.web.door import door_of, texts_of, visitor_of
from hearthnet.web.handbook import GROUP_ICONS, handbook_of, read_sections
from hearthnet.web.i18n import LANGUAGES
from hearthnet.web.library_reader import list_corpora, reader_of
from hearthnet.web.pages import render
from hearthnet.web.routing import RouteTable

if TYPE_CHECKING:
    from hearthnet.mesh.passages import Passage

routes = RouteTable()
_HITS: Final = 8
_BEST_SENTENCES: Final = 2
_QUERY_CHARS: Final = 500


class Hit(Struct, frozen=True):
    """One place that was found."""

    title: str
    link: str
    card_id: str
    page: int
    corpus: str
    words: list[tuple[str, bool]]


@routes.add("GET", "/library", role=Role.GUEST)
async def show_library(request: web.Request) -> web.StreamResponse:
    """All cards by group."""
    handbook = await handbook_of(door_of(request))
    groups = handbook.groups(texts_of(request).language)
    documents = await _count_documents(request)
    return render(
        request, "library/cards.html", groups=groups, icons=GROUP_ICONS, count=len(handbook), documents=documents
    )


async def _count_documents(request: web.Request) -> int | None:
    if visitor_of(request).role < Role.MEMBER:
        return None
    try:
        return sum(item.docs for item in await list_corpora(request) if item.name != CORPUS_SYSTEM)
    except HearthNetError:
        return 0


@routes.add("GET", "/library/card/{card_id}", role=Role.GUEST)
async def show_card(request: web.Request) -> web.StreamResponse:
    """One card; `?at=` words are marked, the first of them is the anchor `hit`."""
    handbook = await handbook_of(door_of(request))
    wanted = request.query.get("lang", "")
    language = wanted if wanted in LANGUAGES else texts_of(request).language
    card = handbook.card(request.match_info["card_id"], language)
    marks = [words[:300] for words in request.query.getall("at", [])[:4] if words.strip()]
    siblings = [
        head for group, heads in handbook.groups(card.head.lang) if group == card.head.group for head in heads
        if head.id != card.head.id
    ]  # fmt: skip
    return render(
        request,
        "library/card.html",
        card=card,
        sections=read_sections(card, marks),
        languages=handbook.languages(card.head.id),
        siblings=siblings,
    )


@routes.add("GET", "/library/search", role=Role.GUEST)
async def search(request: web.Request) -> web.StreamResponse:
    """Places in the handbook and, for members, in the documents of this box."""
    words = " ".join(request.query.get("q", "").split())[:_QUERY_CHARS]
    hits: list[Hit] = []
    others: list[Hit] = []
    if words:
        hits = [_hit(passage, words) for passage in (await _query(request, CORPUS_SYSTEM, words)).chunks]
        if visitor_of(request).role >= Role.MEMBER:
            for corpus in await list_corpora(request):
                if corpus.name != CORPUS_SYSTEM and corpus.chunks:
                    found = await _query(request, corpus.name, words)
                    others += [_hit(passage, words) for passage in found.chunks]
    return render(request, "library/search.html", q=words, hits=hits, others=others)


async def _query(request: web.Request, corpus: str, words: str) -> QueryOutput:
    wanted = QueryInput(query=words, k=_HITS, language=texts_of(request).language)
    reply: QueryOutput = await door_of(request).bus.call(
        "rag.query@1.0", {"corpus": corpus}, wanted, caller=reader_of(request)
    )
    return reply


def _hit(passage: Passage, words: str) -> Hit:
    known = passage.metadata
    spans = _best_sentences(passage, words)
    source = Source(
        number=passage.rank, title=known.doc_title, text=passage.text, corpus=known.corpus, doc_cid=known.doc_cid,
        chunk_id=known.chunk_id, language=known.language, card_id=known.card_id, page=known.page, quotes=spans,
    )  # fmt: skip
    return Hit(
        known.doc_title, source_link(source), known.card_id, known.page, known.corpus, cut_passage(passage.text, spans)
    )


def _best_sentences(passage: Passage, words: str) -> tuple[tuple[int, int], ...]:
    """The sentences nearest in meaning; without an embedder those that share most words with the search."""
    wanted = {word for word in re.findall(r"\w+", words.casefold()) if len(word) > 3}
    rated = []
    for sentence in passage.sentences:
        said = set(re.findall(r"\w+", passage.text[sentence.start : sentence.end].casefold()))
        rated.append((sentence.score, len(wanted & said), -sentence.start, sentence.end))
    best = [item for item in sorted(rated, reverse=True)[:_BEST_SENTENCES] if item[0] > 0 or item[1]]
    return tuple(sorted((-start, end) for _, _, start, end in best))
