"""Who comes in and with what: other sites, foreign host names, cookies, pairing (decision 24)."""

from __future__ import annotations

import re

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hearthnet.base.types import Role
from web.conftest import GUEST_HOST, SAME_SITE

QUESTION = {"question": "Wie lange hält Wasser?"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": "http://evil.example/form"},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/ask", "/ask/stream", "/ask/delete", "/settings/look", "/settings/access/leave"])
async def test_form_of_another_site_is_refused(member, world, path, headers):
    await member.get("/")
    reply = await member.post(path, data=QUESTION, headers=headers, allow_redirects=False)
    assert reply.status == 401
    assert world.assistant.asked == []


async def test_form_of_our_own_page_is_taken_by_origin_alone(member):
    await member.get("/")
    origin = f"http://{member.host}:{member.port}"
    reply = await member.post(
        "/settings/look", data={"look": "dark"}, headers={"Origin": origin}, allow_redirects=False
    )
    assert reply.status == 303


async def test_pages_let_browsers_name_their_origin_to_us_and_to_nobody_else(member):
    reply = await member.get("/")
    assert reply.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "hearthnet-k7qx.local.evil.example", "224.0.0.1"]
)
async def test_name_that_is_not_ours_means_rebinding_and_is_refused(member, host):
    reply = await member.get("/", headers={"Host": host})
    assert reply.status == 400
    assert 'id="q"' not in await reply.text()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "192.168.178.40:7860", "[fe80::1]:7860", "hearthnet-k7qx.local", "LOCALHOST"]
)
async def test_addresses_and_our_own_names_are_answered(member, host):
    assert (await member.get("/", headers={"Host": host})).status == 200


async def test_name_of_loopback_over_the_network_gives_no_membership(member):
    page = await (await member.get("/", headers=GUEST_HOST)).text()
    assert 'name="question"' not in page


async def test_every_page_forbids_foreign_content_and_framing(member):
    for path in ("/", "/library", "/nothing"):
        policy = (await member.get(path)).headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


async def test_browser_cookie_is_out_of_reach_of_scripts_and_other_sites(member):
    cookie = (await member.get("/")).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


async def test_pairing_link_makes_a_member_once(world):
    code = await world.sessions.open_pairing(Role.MEMBER)
    async with TestClient(TestServer(world.app)) as phone:
        form = await (await phone.get(f"/pair/{code}", headers=GUEST_HOST)).text()
        assert f'action="/pair/{code}"' in form
        reply = await phone.post(
            f"/pair/{code}", data={"name": "Telefon"}, headers={**GUEST_HOST, **SAME_SITE}, allow_redirects=False
        )
        cookie = reply.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        secret = re.search(r"hearthnet_session=([^;]+)", cookie)[1]
        paired = {**GUEST_HOST, "Cookie": f"hearthnet_session={secret}"}
        assert 'name="question"' in await (await phone.get("/", headers=paired)).text()
        again = await phone.post(f"/pair/{code}", data={"name": "x"}, headers={**GUEST_HOST, **SAME_SITE})
        assert again.status == 404


async def test_leaving_ends_the_session_on_the_node(world):
    secret = await world.sessions.open_session(Role.MEMBER, "Telefon")
    headers = {**GUEST_HOST, **SAME_SITE, "Cookie": f"hearthnet_session={secret}"}
    async with TestClient(TestServer(world.app)) as phone:
        await phone.post("/settings/access/leave", headers=headers, allow_redirects=False)
        assert (await phone.get("/ask", headers=headers)).status == 401


@pytest.mark.parametrize("back", ["//evil.example", "/\\evil.example", "https://evil.example", ""])
async def test_settings_lead_back_only_to_our_own_pages(member, back):
    reply = await member.post(
        "/settings/language", data={"language": "de", "back": back}, headers=SAME_SITE, allow_redirects=False
    )
    assert reply.headers["Location"] == "/settings"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"x" * 300_000, "application/x-www-form-urlencoded"),
        (b"&".join(b"a=1" for _ in range(60)), "application/x-www-form-urlencoded"),
        (b"language=\xff", "application/x-www-form-urlencoded"),
        (b"language=%ff", "application/x-www-form-urlencoded"),
        (b'{"language": "de"}', "application/json"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
    ],
    ids=["too-large", "too-many-fields", "not-ascii", "not-utf8", "json", "multipart"],
)
async def test_what_is_no_form_of_ours_is_refused(member, body, kind):
    reply = await member.post("/settings/language", data=body, headers={**SAME_SITE, "Content-Type": kind})
    assert reply.status == (413 if len(body) > 262_144 else 400)
    assert "Set-Cookie" not in reply.headers
