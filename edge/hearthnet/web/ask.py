"""Home and Ask: the question box, conversations kept on the node, an answer as a page (M08)."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hearthnet.base.constants import QUESTION_MAX_CHARS
from hearthnet.base.errors import HearthNetError
from hearthnet.base.types import Role
from hearthnet.mesh.conversations import Conversations
from hearthnet.web.admission import BROWSER_COOKIE
from hearthnet.web.answer_desk import AnswerDesk
from hearthnet.web.answer_view import AnswerView
from hearthnet.web.asked_turn import AskedTurn
from hearthnet.web.door import caller_of, door_of, texts_of, visitor_of
from hearthnet.web.library_reader import count_library, danger_notes
from hearthnet.web.pages import redirect, render
from hearthnet.web.routing import RouteTable

if TYPE_CHECKING:
    from hearthnet.mesh.conversations import Turn

routes = RouteTable()
_BROWSER_AGE_S: Final = 180 * 86_400
_RECENT: Final = 5


def conversations_of(request: web.Request) -> Conversations:
    """The node's conversations."""
    services = door_of(request).services
    return Conversations(services.store, services.clock)


def desk_of(request: web.Request) -> AnswerDesk:
    """The node's answers in the making."""
    door = door_of(request)
    desk = door.extras.get("web.answer_desk")
    if desk is None:
        desk = door.extras["web.answer_desk"] = AnswerDesk(door.bus, door.services, conversations_of(request))
    found: AnswerDesk = desk
    return found


def owner_of(request: web.Request) -> str:
    """The browser's name in the store: a hash of its cookie, empty for a browser without one."""
    secret = request.cookies.get(BROWSER_COOKIE, "")
    return f"browser:{hashlib.sha256(secret.encode()).hexdigest()[:32]}" if secret else ""


def name_browser(request: web.Request, response: web.StreamResponse) -> None:
    """Give a browser its cookie, once."""
    if BROWSER_COOKIE not in request.cookies:
        secret = secrets.token_urlsafe(24)
        response.set_cookie(
            BROWSER_COOKIE, secret, max_age=_BROWSER_AGE_S, httponly=True, samesite="Lax", secure=request.secure
        )


async def show_home(request: web.Request, *, question: str = "", problem: str = "", status: int = 200) -> web.Response:
    """The question box with what this box holds."""
    texts, owner = texts_of(request), owner_of(request)
    recent = await conversations_of(request).list(owner) if owner else []
    try:
        counted = await count_library(request)
        headline = texts("home.headline", cards=counted.cards, documents=texts("home.documents", n=counted.documents))
        if not counted.documents:
            headline = texts("home.headline.cards", cards=counted.cards)
    except HearthNetError:
        counted, headline = None, texts("home.headline.reading")
    response = render(
        request,
        "ask/home.html",
        status=status,
        headline=headline,
        cards=counted.cards if counted else None,
        documents=counted.documents if counted else 0,
        recent=recent[:_RECENT],
        total=len(recent),
        key=secrets.token_urlsafe(9),
        question=question,
        problem=problem,
    )
    name_browser(request, response)
    return response


@routes.add("GET", "/", role=Role.GUEST)
async def home(request: web.Request) -> web.StreamResponse:
    """Home; `?q=` fills the box."""
    return await show_home(request, question=request.query.get("q", "")[:QUESTION_MAX_CHARS])


@routes.add("GET", "/ask", role=Role.MEMBER)
async def history(request: web.Request) -> web.StreamResponse:
    """All questions of this browser."""
    owner = owner_of(request)
    found = await conversations_of(request).list(owner) if owner else []
    return render(request, "ask/history.html", conversations=found)


async def asked_turns(request: web.Request, turns: list[Turn], conversation: str) -> list[AskedTurn]:
    """The turns of a conversation, ready for the templates."""
    asked = []
    for turn in turns:
        view = AnswerView(turn.frames or ())
        asked.append(
            AskedTurn(
                conversation=conversation,
                number=turn.number,
                question=turn.question,
                asked_at=turn.asked_at,
                view=view,
                latest=turn is turns[-1],
                dangers=await danger_notes(request, view),
            )
        )
    return asked


@routes.add("POST", "/ask/delete", role=Role.MEMBER)
async def delete_all(request: web.Request) -> web.StreamResponse:
    """Forget all questions of this browser."""
    if owner := owner_of(request):
        await conversations_of(request).delete(owner)
    return redirect("/ask")


@routes.add("POST", "/ask/{conversation}/delete", role=Role.MEMBER)
async def delete_one(request: web.Request) -> web.StreamResponse:
    """Forget one conversation."""
    if owner := owner_of(request):
        await conversations_of(request).delete(owner, request.match_info["conversation"])
    return redirect("/ask")


@routes.add("POST", "/ask/{conversation}/stop", role=Role.MEMBER)
async def stop(request: web.Request) -> web.StreamResponse:
    """End the answer under way; the page shows what was written."""
    conversation = request.match_info["conversation"]
    turns = await conversations_of(request).turns(owner_of(request), conversation)
    desk_of(request).stop(conversation, turns[-1].number)
    return redirect(f"/ask/{conversation}#t{turns[-1].number}")


__all__ = [
    "asked_turns", "caller_of", "conversations_of", "desk_of", "name_browser", "owner_of", "routes", "show_home",
    "visitor_of",
]  # fmt: skip
