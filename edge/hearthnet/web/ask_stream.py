"""A question's way into the page: post and redirect without scripts, server-sent events with them (M08).

Events carry the names of the frames (`progress`, `sources`, `token`, `done`, `error`; first `begin`); their data is
`{"parts": [{"id", "html", "how"}], "say"}`: pieces of the page with the id they belong to, drawn by the templates
that draw the whole page, and the words for screen readers. The browser knows nothing of answers.
"""

from __future__ import annotations

import secrets
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from msgspec import Struct, json, structs

from hearthnet.base.constants import QUESTION_MAX_CHARS
from hearthnet.base.errors import NotFound
from hearthnet.base.types import Role
from hearthnet.mesh.answers import Done, Failed, Frame, Sources, Token
from hearthnet.web.answer_view import AnswerView
from hearthnet.web.ask import asked_turns, conversations_of, desk_of, owner_of, show_home
from hearthnet.web.asked_turn import AskedTurn
from hearthnet.web.door import caller_of, texts_of
from hearthnet.web.forms import read_form
from hearthnet.web.library_reader import danger_notes
from hearthnet.web.pages import redirect, render, render_html
from hearthnet.web.routing import RouteTable
from hearthnet.web.sse import send_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hearthnet.base.errors import HearthNetError
    from hearthnet.mesh.answers import Source
    from hearthnet.mesh.conversations import Asked, Turn
    from hearthnet.web.answer_desk import RunningAnswer

routes = RouteTable()
_ANSWER_MARK: Final = "<!--answer-->"


class Part(Struct, frozen=True):
    """A piece of the page: `fill` the element, `swap` it, or `add` at its end."""

    id: str
    html: str
    how: str


async def _put(request: web.Request) -> Asked | web.Response:
    """Put the question of a form; a page with the form again when it cannot be asked."""
    form = await read_form(request)
    question, key = form.get("question", "").strip(), form.get("key", "")[:40]
    conversation, owner = form.get("conversation", "")[:40], owner_of(request)
    if not owner:
        return await show_home(request, question=question, problem=texts_of(request)("ask.no_cookie"), status=400)
    if form.get("again"):
        return await conversations_of(request).ask_again(owner, conversation, key)
    if not question or len(question) > QUESTION_MAX_CHARS:
        problem = texts_of(request)("ask.too_long" if question else "ask.empty", n=QUESTION_MAX_CHARS)
        return await show_home(request, question=question[:QUESTION_MAX_CHARS], problem=problem, status=400)
    return await conversations_of(request).ask(owner, conversation, question, key)


@routes.add("POST", "/ask", role=Role.MEMBER)
async def ask(request: web.Request) -> web.StreamResponse:
    """Ask without scripts: the answer's page follows."""
    asked = await _put(request)
    if isinstance(asked, web.Response):
        return asked
    return redirect(f"/ask/{asked.conversation}#t{asked.number}")


@routes.add("POST", "/ask/{conversation}/again", role=Role.MEMBER)
async def ask_again(request: web.Request) -> web.StreamResponse:
    """Make the last answer once more."""
    return await ask(request)


@routes.add("GET", "/ask/{conversation}", role=Role.MEMBER)
async def show(request: web.Request) -> web.StreamResponse:
    """A conversation; an answer that is not there yet is written into the page while it is made."""
    conversation = request.match_info["conversation"]
    turns = await conversations_of(request).turns(owner_of(request), conversation)
    if turns[-1].frames is None:
        running = desk_of(request).start(caller_of(request), conversation, turns, texts_of(request).language)
        return await _write_page(request, conversation, turns, running)
    asked = await asked_turns(request, turns, conversation)
    return render(request, "ask/conversation.html", turns=asked, key=secrets.token_urlsafe(9), late=False)


async def _write_page(
    request: web.Request, conversation: str, turns: list[Turn], running: RunningAnswer
) -> web.StreamResponse:
    asked = await asked_turns(request, turns, conversation)
    values: dict[str, Any] = {"turns": asked, "key": secrets.token_urlsafe(9), "late": True}
    head = render_html(request, "ask/conversation.html", **values).partition(_ANSWER_MARK)[0]
    response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    await response.write(head.encode())
    try:
        async with aclosing(_blocks(request, asked[-1], running)) as blocks:
            async for html in blocks:
                await response.write(html.encode())
    except ConnectionError:
        return response  # the browser went away
    values["turns"] = [*asked[:-1], await _with_dangers(request, asked[-1])]
    rest = render_html(request, "ask/conversation.html", **values).partition(_ANSWER_MARK)[2]
    with suppress(ConnectionError):
        await response.write(rest.encode())
    return response


async def _blocks(request: web.Request, turn: AskedTurn, running: RunningAnswer) -> AsyncGenerator[str, None]:
    """The blocks of an answer, each when it is complete."""
    view, shown = turn.view, 0
    async with aclosing(desk_of(request).watch(running)) as batches:
        async for batch in batches:
            for frame in batch:
                view.feed(frame)
            ready = _ready(view)
            for index in range(shown, max(shown, ready)):
                yield _block(request, turn, index)
            shown = max(shown, ready)


def _ready(view: AnswerView) -> int:
    """How many blocks will not change any more; words without a source wait for the end, which may take them back."""
    if not view.running:
        return len(view.blocks)
    ready = 0
    for block in view.blocks[:-1]:
        if not any(piece.cites for piece in block.pieces):
            break
        ready += 1
    return ready


async def _with_dangers(request: web.Request, turn: AskedTurn) -> AskedTurn:
    return structs.replace(turn, dangers=await danger_notes(request, turn.view))


def _block(request: web.Request, turn: AskedTurn, index: int) -> str:
    return render_html(request, "ask/part.html", part="block", turn=turn, index=index, key="")


@routes.add("POST", "/ask/stream", role=Role.MEMBER)
async def stream(request: web.Request) -> web.StreamResponse:
    """Ask with scripts: the page's parts as server-sent events."""
    asked = await _put(request)
    if isinstance(asked, web.Response):
        return asked
    turns = await conversations_of(request).turns(owner_of(request), asked.conversation)
    if turns[-1].number != asked.number:
        raise NotFound("this question was already answered")
    return await send_events(request, _events(request, asked.conversation, turns), _Writer())


class _Writer:
    """Events of this page as bytes."""

    def frame(self, frame: tuple[str, Any]) -> bytes:
        name, data = frame
        return b"event: " + name.encode() + b"\ndata: " + json.encode(data) + b"\n\n"

    def fault(self, error: HearthNetError) -> bytes:
        return self.frame(("lost", {"parts": (), "say": ""}))

    def end(self) -> bytes:
        return b""


async def _events(
    request: web.Request, conversation: str, turns: list[Turn]
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    asked = await asked_turns(request, turns, conversation)
    key = secrets.token_urlsafe(9)
    whole = render_html(request, "ask/conversation_main.html", turns=asked, key=key, late=False)
    number, title = asked[-1].number, asked[-1].question[:60]
    parts = [Part("main", whole, "fill")]
    yield "begin", {"url": f"/ask/{conversation}", "focus": f"q{number}", "title": title, "parts": parts, "say": ""}
    if turns[-1].frames is None:
        desk = desk_of(request)
        running = desk.start(caller_of(request), conversation, turns, texts_of(request).language)
        async with aclosing(desk.watch(running)) as batches:
            async for batch in batches:
                yield await _event(request, asked[-1], batch)


async def _event(request: web.Request, turn: AskedTurn, batch: list[Frame]) -> tuple[str, dict[str, Any]]:
    view = turn.view
    before, cited = len(view.blocks), view.cited
    for frame in batch:
        view.feed(frame)
    parts = [] if view.state == "missing" else _new_blocks(request, turn, before)
    if not view.running:
        turn = await _with_dangers(request, turn)
    parts += [_part(request, turn, name) for name in _changed(view, cited)]
    return _name_of(batch[-1]), {"parts": parts, "say": _words(request, view, batch)}


def _new_blocks(request: web.Request, turn: AskedTurn, before: int) -> list[Part]:
    """The last block that was there, which may have grown, and those that are new."""
    parts = []
    for index in range(max(0, before - 1), len(turn.view.blocks)):
        grown = index < before
        target = f"t{turn.number}-b{index}" if grown else f"t{turn.number}-blocks"
        parts.append(Part(target, _block(request, turn, index), "swap" if grown else "add"))
    return parts


def _changed(view: AnswerView, cited: tuple[Source, ...]) -> tuple[str, ...]:
    if view.running:
        return ("status", "side") if view.blocks and view.cited != cited else ("status",)
    end = ("tier", "status", "ending", "actions", "danger", "side")
    return ("blocks", *end) if view.state == "missing" else end


def _part(request: web.Request, turn: AskedTurn, name: str) -> Part:
    html = render_html(request, "ask/part.html", part=name, turn=turn, index=0, key=secrets.token_urlsafe(9))
    return Part(f"t{turn.number}-{name}", html, "fill")


def _name_of(frame: Frame) -> str:
    match frame:
        case Sources():
            return "sources"
        case Token():
            return "token"
        case Done():
            return "done"
        case Failed():
            return "error"
    return "progress"


def _words(request: web.Request, view: AnswerView, batch: list[Frame]) -> str:
    """What a screen reader says: quoted sentences as they come, free wording when it is complete."""
    texts = texts_of(request)
    said = [frame.text for frame in batch if isinstance(frame, Token) and frame.quoted]
    if not view.running:
        if not any(block.quoted for block in view.blocks) and view.state == "done":
            said.append(view.text)
        said.append(texts(f"ask.say.{view.state}", n=len(view.cited)))
    return " ".join(said)
