"""Every route as every role: what may be reached is written down here, not only in the code (decision 24)."""

from __future__ import annotations

import re

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hearthnet.base.types import Role
from hearthnet.web.app import build_app
from hearthnet.web.static_files import STATIC
from hearthnet.web.tables import PAGE_TABLES, PROGRAM_TABLES
from web.conftest import GUEST_HOST, SAME_SITE

PAGES = [
    "",
    "guest  GET  /",
    "guest  GET  /docs",
    "guest  GET  /help",
    "guest  GET  /help/errors",
    "guest  GET  /join",
    "guest  GET  /library",
    "guest  GET  /library/card/{card_id}",
    "guest  GET  /library/search",
    "guest  GET  /pair/{code}",
    "guest  POST /pair/{code}",
    "guest  GET  /settings",
    "guest  GET  /settings/about",
    "guest  GET  /settings/access",
    "guest  POST /settings/access/leave",
    "guest  POST /settings/language",
    "guest  GET  /settings/licences",
    "guest  POST /settings/look",
    "guest  GET  /static/{version}/{name:.+}",
    "guest  GET  /styleguide",
    "member GET  /ask",
    "member POST /ask",
    "member POST /ask/delete",
    "member POST /ask/stream",
    "member GET  /ask/{conversation}",
    "member POST /ask/{conversation}/again",
    "member POST /ask/{conversation}/delete",
    "member POST /ask/{conversation}/stop",
    "member GET  /library/document/{corpus}/{doc_cid}",
    "member POST /library/document/{corpus}/{doc_cid}/delete",
    "member GET  /library/document/{corpus}/{doc_cid}/file",
    "member GET  /library/documents",
    "member POST /library/documents",
    "member GET  /settings/models",
    "member GET  /settings/storage",
    "admin  POST /settings/access/devices/{id}/end",
    "admin  POST /settings/access/pair",
    "admin  POST /settings/access/tokens",
    "admin  POST /settings/access/tokens/{id}/revoke",
    "admin  POST /settings/models/add",
    "admin  POST /settings/models/dismiss",
    "admin  POST /settings/models/remove",
    "admin  POST /settings/models/use",
    "admin  POST /settings/storage/tidy",
    "",
]
OPEN_TO_PROGRAMS = {"GET /health", "GET /ready", "GET /openapi.json"}  # what a program may know without a session
VALUES = {
    "card_id": "T10", "version": STATIC.version, "name:.+": "hearth.css", "corpus": "personal", "conversation": "none",
    "doc_cid": "blake3:" + "0" * 64, "cid": "blake3:" + "0" * 64,
}  # fmt: skip
ROUTES = [route for table in (*PAGE_TABLES, *PROGRAM_TABLES) for route in table.routes]


def name_of(route):
    return f"{route.method} {route.path}"


def test_roles_of_pages_are_those_written_here():
    declared = {(route.role.name.lower(), route.method, route.path) for table in PAGE_TABLES for route in table.routes}
    assert declared == {tuple(line.split()) for line in PAGES if line}


def test_programs_without_a_session_reach_only_what_is_harmless():
    found = {name_of(route) for table in PROGRAM_TABLES for route in table.routes if route.role is Role.GUEST}
    assert found <= OPEN_TO_PROGRAMS


@pytest.fixture
async def everybody(world):
    """Requests to an app with all doors, as a role; gives the status."""
    app = build_app(world.door, (*PAGE_TABLES, *PROGRAM_TABLES))
    roles = {
        Role.GUEST: {**SAME_SITE, **GUEST_HOST},
        Role.MEMBER: SAME_SITE,
        Role.ADMIN: SAME_SITE,
    }

    async def as_role(role, method, path, **headers):
        cookie = {}
        if role is Role.ADMIN:  # a fresh session each time: some routes end it
            cookie = {"Cookie": f"hearthnet_session={await world.sessions.open_session(role, 'test')}"}
        reply = await client.request(method, path, headers={**roles[role], **cookie, **headers}, allow_redirects=False)
        reply.close()
        return reply.status

    async with TestClient(TestServer(app)) as client:
        yield as_role


def may(role, route):
    return role >= route.role or (role is Role.MEMBER and "loopback" in route.also_via)


async def test_every_route_refuses_who_is_below_its_role_and_nobody_else(everybody):
    wrong = []
    for route in ROUTES:
        path = re.sub(r"{([^}]+)}", lambda found: VALUES.get(found[1], "x"), route.path)
        kind = {"Content-Type": "application/json"} if route.api else {}
        for role in Role:
            status = await everybody(role, route.method, path, **kind)
            if (status != 401) is not may(role, route) or status >= 500:
                wrong.append(f"{name_of(route)} as {role.name.lower()}: {status}")
    assert not wrong


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/ask/../../etc/passwd", "/static/x/../../session.py"])
async def test_what_is_not_declared_is_not_there(everybody, path):
    statuses = [await everybody(role, "GET", path) for role in Role]
    assert set(statuses) <= {404, 401}
    assert statuses[-1] == 404
