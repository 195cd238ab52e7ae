"""What holds for every page: outline, labels, links, no inline code, no outside request, few bytes (M08)."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from itertools import pairwise

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hearthnet.base.config import Config, UiSection
from hearthnet.base.types import Role
from hearthnet.web.static_files import STATIC
from web.conftest import GUEST_HOST, SAME_SITE
from web.page_reader import Page, crawl
from web.world import World

FIRST_VIEW_BYTES, FIRST_VIEW_REQUESTS = 40_000, 5


_crawled: dict[str, list[tuple[str, int, str]]] = {}


@pytest.fixture(params=["guest", "member", "admin"])
async def everything(request, tmp_path):
    """All pages that links lead to, for each role, with answers and a token to show; crawled once a role."""
    if request.param not in _crawled:
        _crawled[request.param] = await crawl_as(request.param, tmp_path)
    return _crawled[request.param]


async def crawl_as(role, home):
    world = World(home, Config(ui=UiSection(loopback_role="admin" if role == "admin" else "member")))
    async with TestClient(TestServer(world.app)) as client:
        headers = GUEST_HOST if role == "guest" else None
        await client.get("/", headers=headers)
        if role != "guest":
            for question in ("Darf der Generator in den Keller?", "Is there life on Mars?", "break"):
                await client.post("/ask", data={"question": question}, headers=SAME_SITE)
            await world.sessions.create_token("kitchen", Role.MEMBER)
        pages = await crawl(client, headers=headers)
    await world.close()
    return pages


async def test_no_link_leads_to_nothing(everything):
    broken = [(path, status) for path, status, _ in everything if status != 200]
    assert not broken
    assert len(everything) >= 14


async def test_every_page_has_one_title_and_a_whole_outline(everything):
    wrong = []
    for path, _, text in everything:
        levels = [level for level, _ in Page(text).headings]
        skips = [second for first, second in pairwise(levels) if second > first + 1]
        if text and (
            levels[:1] != [1] or levels.count(1) != 1 or skips or not re.search(r"<title>[^<]+</title>", text)
        ):
            wrong.append((path, levels))
    assert not wrong


async def test_headings_and_buttons_have_words(everything):
    pages = [(path, Page(text)) for path, _, text in everything]
    assert [path for path, page in pages if any(not words for _, words in page.headings)] == []
    assert [path for path, page in pages if page.unlabelled_buttons] == []


async def test_every_field_has_a_label(everything):
    wrong = []
    for path, _, text in everything:
        page = Page(text)
        wrong += [
            (path, field)
            for field in page.fields
            if not (field["in_label"] or field.get("id") in page.labels or field.get("aria-label"))
        ]
    assert not wrong


async def test_ids_are_unique_and_references_exist(everything):
    wrong = []
    for path, _, text in everything:
        page = Page(text)
        double = [name for name, count in Counter(page.ids).items() if count > 1]
        lost = set(page.refs) - set(page.ids)
        anchors = {link[1:] for link in page.links if link.startswith("#")} - set(page.ids)
        if double or lost or anchors:
            wrong.append((path, double, lost, anchors))
    assert not wrong


async def test_nothing_is_inline_and_nothing_comes_from_outside(everything):
    for path, _, text in everything:
        page = Page(text)
        assert page.inline == [], path
        assert all(item.startswith("/static/") for item in page.resources), path
        assert all(not link.startswith(("http://", "https://", "//")) or "127.0.0.1" in link for link in page.links), (
            path
        )
        assert all(form.get("action", "/").startswith("/") for form in page.forms), path


async def test_pages_speak_one_language(member):
    for language, other in (("de", "en"), ("en", "de")):
        page = await (await member.get("/library", headers={"Accept-Language": language})).text()
        assert f'<html lang="{language}"' in page
        assert f'value="{other}" lang="{other}"' in page


@pytest.mark.parametrize("path", ["/", "/library", "/library/card/T10", "/library/documents", "/settings", "/help"])
@pytest.mark.parametrize("language", ["de", "en"])
async def test_first_view_is_small(member, path, language):
    text = await (await member.get(path, headers={"Accept-Language": language})).text()
    loaded = {path: len(gzip.compress(text.encode(), 6))}
    todo = list(Page(text).resources)
    while todo:
        name = todo.pop().partition(f"/static/{STATIC.version}/")[2]
        file = STATIC.files[name]
        loaded[name] = len(file.squeezed or file.body)
        todo += [f"/static/{STATIC.version}/{found}" for found in _needed(name, file.body) if found not in loaded]
    assert sum(loaded.values()) <= FIRST_VIEW_BYTES, loaded
    assert len(loaded) <= FIRST_VIEW_REQUESTS, loaded


def _needed(name, body):
    if name.endswith(".mjs"):
        return re.findall(r'from "\./([\w.]+)"', body.decode())
    return []


async def test_static_files_may_be_kept_for_ever_and_come_small(member):
    reply = await member.get(STATIC.url("hearth.css"), headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
    assert "immutable" in reply.headers["Cache-Control"]
    assert reply.headers["Content-Encoding"] == "gzip"
    plain = await member.get(STATIC.url("hearth.css"), headers={"Accept-Encoding": "identity"})
    assert await plain.read() == gzip.decompress(await reply.read())
    font = await member.get(STATIC.url("vendor/signpost-600.woff2"))
    assert font.headers["Content-Type"] == "font/woff2"


async def test_address_of_another_version_is_gone(member):
    assert (await member.get("/static/000000000000/hearth.css")).status == 404


async def test_pages_themselves_are_never_kept(member):
    assert (await member.get("/")).headers["Cache-Control"] == "no-store"


async def test_page_travels_compressed(member):
    reply = await member.get("/library", headers={"Accept-Encoding": "gzip"})
    assert reply.headers["Content-Encoding"] == "gzip"


async def test_error_page_says_what_and_what_to_do(member):
    page = await (await member.get("/nothing", headers={"Accept-Language": "de"})).text()
    assert "<h1>Das gibt es hier nicht.</h1>" in page
    assert "Adresse prüfen" in page
    assert 'href="/help/errors#not_found"' in page


async def test_notices_of_the_node_stand_on_every_page(tmp_path):
    from msgspec import structs

    from hearthnet.web.app import build_app
    from hearthnet.web.tables import PAGE_TABLES

    world = World(tmp_path)
    key = next(name for name in sorted(world.texts["en"].keys()) if name.startswith("notice."))
    door = structs.replace(world.door, facts=structs.replace(world.door.facts, notices=(key,)))
    async with TestClient(TestServer(build_app(door, PAGE_TABLES))) as client:
        assert world.texts["en"](key) in await (await client.get("/help")).text()
    await world.close()
