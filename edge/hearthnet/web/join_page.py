"""What a phone sees that opened an invitation's link: what to do with it (M13, ADR 0013).

The invitation stands behind the `#` of the address and never reaches this box; the whole address is what the newcomer's
own box reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.base.types import Role
from hearthnet.web.door import door_of
from hearthnet.web.pages import render
from hearthnet.web.routing import RouteTable

if TYPE_CHECKING:
    from aiohttp import web

routes = RouteTable()


@routes.add("GET", "/join", role=Role.GUEST)
async def show_join(request: web.Request) -> web.StreamResponse:
    """How to take the invitation home."""
    events = door_of(request).services.events
    name = events.members.community_name if events is not None else ""
    return render(request, "join.html", community=name)
