"""Settings: language and look, models, storage, access, about (M08)."""

from __future__ import annotations

import asyncio
import re

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hearthnet.base.config import Config, UiSection
from web.conftest import SAME_SITE
from web.world import World


@pytest.fixture
async def admin(tmp_path):
    """A world whose browser is an admin's."""
    world = World(tmp_path, Config(ui=UiSection(loopback_role="admin")))
    async with TestClient(TestServer(world.app)) as client:
        client.world = world
        yield client
    await world.close()


async def post(client, path, **fields):
    return await client.post(path, data=fields, headers=SAME_SITE)


async def test_language_and_look_are_kept_by_the_browser(member):
    await post(member, "/settings/language", language="de", back="/help")
    await post(member, "/settings/look", look="dark")
    page = await (await member.get("/", headers={"Accept-Language": "en"})).text()
    assert '<html lang="de" data-look="dark">' in page


async def test_unknown_values_change_nothing(member):
    await post(member, "/settings/look", look="<b>")
    assert "data-look" not in await (await member.get("/")).text()


async def test_models_are_listed_with_size_and_licence(member):
    page = await (await member.get("/settings/models", headers={"Accept-Language": "de"})).text()
    assert "SmolLM2 135M Instruct" in page
    assert "144\u202fMB" in page
    assert "Qwen 2.5 0.5B" in page


async def test_member_sees_models_but_no_button_that_changes_them(member):
    page = await (await member.get("/settings/models")).text()
    assert 'action="/settings/models' not in page
    assert "hearthnet pair" in page


async def test_admin_uses_and_removes_models(admin):
    await post(admin, "/settings/models/use", name="smollm2-135m-instruct")
    page = await (await post(admin, "/settings/models/remove", name="wake-word")).text()
    assert admin.world.shelf.history == [("use", "smollm2-135m-instruct"), ("remove", "wake-word")]
    assert "Wake word" not in page


async def test_fetching_a_model_shows_progress_until_it_is_there(admin):
    page = await (await post(admin, "/settings/models/add", source="qwen")).text()
    assert '<progress max="230000000" value="92000000"' in page
    assert 'http-equiv="refresh"' in page
    admin.world.shelf.gate.set()
    await asyncio.sleep(0.01)
    assert "<progress" not in await (await admin.get("/settings/models")).text()


async def test_second_model_waits_for_the_first(admin):
    await post(admin, "/settings/models/add", source="qwen")
    assert (await post(admin, "/settings/models/add", source="other")).status == 429


async def test_damaged_model_is_named_and_can_be_tried_again(admin):
    admin.world.shelf.gate.set()
    await post(admin, "/settings/models/add", source="http://x.example/broken.gguf")
    await asyncio.sleep(0.01)
    page = await (await admin.get("/settings/models")).text()
    assert "The file is damaged and was not taken over." in page
    assert 'value="http://x.example/broken.gguf"' in page
    page = await (await post(admin, "/settings/models/dismiss")).text()
    assert "damaged" not in page


async def test_storage_counts_what_lies_here(admin):
    (admin.world.paths.blobs / "big.bin").write_bytes(b"0" * 3_000_000)
    page = await (await admin.get("/settings/storage")).text()
    assert re.search(r"<dt>Files</dt><dd class=\"num\">3.0\u202fMB</dd>", page)
    assert re.search(r"<dt>Models</dt><dd class=\"num\">144\u202fMB</dd>", page)
    assert re.search(r'<meter id="disk"[^>]* value="0\.\d+"', page)


async def test_tidying_up_says_what_it_did(admin):
    page = await (await post(admin, "/settings/storage/tidy")).text()
    assert "There was nothing to delete." in page


async def test_pairing_page_shows_link_and_code(admin):
    page = await (await post(admin, "/settings/access/pair", role="member")).text()
    link = re.search(r'class="mono" href="([^"]+/pair/[\w-]+)"', page)[1]
    assert "<svg" in page[page.index('class="qr"') :][:300]
    assert link.startswith("http://")


async def test_token_is_shown_once_and_works_until_it_is_revoked(admin):
    page = await (await post(admin, "/settings/access/tokens", label="kitchen", role="member")).text()
    secret = re.search(r'id="token">(hn-[\w-]+)<', page)[1]
    listed = await (await admin.get("/settings/access")).text()
    assert "kitchen" in listed
    assert secret not in listed
    headers = {"Authorization": f"Bearer {secret}", "Host": "hearthnet-k7qx.local"}
    assert (await admin.get("/ask", headers=headers)).status == 200
    await post(admin, re.search(r'action="(/settings/access/tokens/\w+/revoke)"', listed)[1])
    assert (await admin.get("/ask", headers=headers)).status == 401


async def test_paired_device_is_listed_and_unpaired(admin):
    from hearthnet.base.types import Role

    secret = await admin.world.sessions.open_session(Role.MEMBER, "<b>Telefon")
    listed = await (await admin.get("/settings/access")).text()
    assert "&lt;b&gt;Telefon" in listed
    await post(admin, re.search(r'action="(/settings/access/devices/\w+/end)"', listed)[1])
    headers = {"Cookie": f"hearthnet_session={secret}", "Host": "hearthnet-k7qx.local"}
    assert (await admin.get("/ask", headers=headers)).status == 401


async def test_about_names_version_node_and_capabilities(member, world):
    page = await (await member.get("/settings/about", headers={"Accept-Language": "de"})).text()
    assert world.door.facts.node_id in page
    assert "rag.query@1.0" in page


async def test_licences_name_every_package_and_the_font(member):
    page = await (await member.get("/settings/licences")).text()
    for work in ("aiohttp", "msgspec", "PyNaCl", "Barlow Semi Condensed"):
        assert work in page
    assert "OFL-1.1" in page


async def test_help_explains_every_error_code(member):
    from hearthnet.web.help_pages import list_codes

    page = await (await member.get("/help/errors", headers={"Accept-Language": "de"})).text()
    assert all(f'id="{code}"' in page for code in list_codes())
