"""The library's pages: cards, search, documents from upload to deletion (M08, M05)."""

from __future__ import annotations

import asyncio
import re

from aiohttp import FormData

from web.conftest import GUEST_HOST, SAME_SITE
from web.fake_services import CARDS, QUOTES

RULES = "House rules.\n\nThe cellar door must stay shut at night. The water main is behind the blue door.\n"


async def add(client, text=RULES, name="house-rules.txt", corpus="personal", **fields):
    form = FormData({"corpus": corpus, **fields})
    form.add_field("file", text if isinstance(text, bytes) else text.encode(), filename=name, content_type="text/plain")
    return await client.post("/library/documents", data=form, headers=SAME_SITE)


async def wait_read(client):
    """The documents page once nothing is being read."""
    async with asyncio.timeout(5):
        while True:
            page = await (await client.get("/library/documents?part=list")).text()
            if 'data-busy="reading"' not in page:
                return page
            await asyncio.sleep(0.01)


async def test_every_card_is_listed_in_its_group(member):
    page = await (await member.get("/library", headers={"Accept-Language": "de"})).text()
    assert len(set(re.findall(r"/library/card/(T\d+)", page))) == 100
    assert re.search(r'id="g-power".*?Stromausfall.*?T10', page, re.DOTALL)


async def test_guest_reads_and_searches_cards(member):
    card = await member.get("/library/card/T10?lang=en", headers=GUEST_HOST)
    found = await member.get("/library/search?q=carbon+monoxide", headers=GUEST_HOST)
    assert QUOTES["en"][2][1] in await card.text()
    assert "/library/card/T10" in await found.text()


async def test_card_shows_first_help_with_the_hatch_and_its_authorities(member):
    page = await (await member.get("/library/card/T10?lang=en")).text()
    help_first = page[page.index('class="note stopnote"') :][:300]
    assert "112" in help_first
    assert "EN 50291" in page
    assert re.search(r"(January|November|December) 20\d\d", page)


async def test_card_marks_the_quoted_words_and_anchors_the_first(member):
    words = re.search(r"(?m)^- (.+)$", CARDS["T10", "en"].body)[1]
    page = await (await member.get("/library/card/T10", params={"lang": "en", "at": words})).text()
    assert f'<mark class="hit" id="hit">{words}</mark>' in page


async def test_marks_cannot_bring_markup_into_a_card(member):
    page = await (
        await member.get("/library/card/T10", params={"lang": "en", "at": "<script>alert(1)</script>"})
    ).text()
    assert "alert(1)" not in page


async def test_card_names_its_twin_in_the_other_language(member):
    page = await (await member.get("/library/card/T10?lang=de")).text()
    assert 'href="/library/card/T10?lang=en" lang="en" hreflang="en"' in page


async def test_unknown_card_is_a_page_with_a_way_on(member):
    reply = await member.get("/library/card/T999")
    assert reply.status == 404
    assert "not_found" in await reply.text()


async def test_answer_links_open_the_card_at_the_quoted_words(member):
    await member.get("/")
    reply = await member.post("/ask", data={"question": "Darf der Generator im Keller laufen?"}, headers=SAME_SITE)
    link = re.search(r'<a href="(/library/card/T12[^"]+)">', await reply.text())[1].replace("&amp;", "&")
    page = await (await member.get(link)).text()
    assert page.count('class="hit"') == 2
    assert page.count('id="hit"') == 1


async def test_search_without_a_hit_says_what_was_searched(member):
    page = await (await member.get("/library/search?q=%3Ci%3Exylophonquark")).text()
    assert "&lt;i&gt;xylophonquark" in page
    assert 'class="empty"' in page


async def test_uploaded_text_can_be_read_found_and_downloaded(member, world):
    await add(member)
    listed = await wait_read(member)
    link = re.search(r'href="(/library/document/personal/[^"]+)"', listed)[1]
    assert "The water main is behind the blue door." in await (await member.get(link)).text()
    found = await (await member.get("/library/search?q=blue+door+water+main")).text()
    assert link.split("?")[0] in found
    original = await member.get(f"{link}/file")
    assert await original.read() == RULES.encode()
    assert original.headers["Content-Disposition"].startswith("attachment")


async def test_many_files_at_once_are_all_read(member):
    form = FormData({"corpus": "personal"})
    for number in range(6):
        form.add_field("file", f"Leaf {number} tells about water.".encode(), filename=f"leaf-{number}.txt")
    await member.post("/library/documents", data=form, headers=SAME_SITE)
    page = await wait_read(member)
    assert [number for number in range(6) if f"leaf-{number}.txt" not in page] == []


async def test_document_is_deleted_with_everything_made_from_it(member):
    await add(member)
    link = re.search(r'href="(/library/document/personal/[^"]+)"', await wait_read(member))[1]
    await member.post(f"{link}/delete", headers=SAME_SITE)
    assert (await member.get(link)).status == 404
    assert link not in await (await member.get("/library/search?q=blue+door+water+main")).text()


async def test_unreadable_file_is_named_with_what_to_do(member):
    await add(member, b"\xff\xfe\x00 no text", "broken.bin")
    page = await wait_read(member)
    assert "Only PDF, text, Markdown and HTML can be read" in page


async def test_failure_is_still_named_after_a_restart_until_it_is_dismissed(member, world):
    await add(member, b"\xff\xfe\x00 no text", "broken.bin")
    await wait_read(member)
    [upload] = world.door.extras.pop("web.uploads").list()

    page = await wait_read(member)
    assert "<strong>broken.bin</strong>" in page
    assert "Only PDF, text, Markdown and HTML can be read" in page
    await member.post(f"/library/document/personal/{upload.doc_cid}/delete", headers=SAME_SITE)
    assert upload.doc_cid not in await wait_read(member)


async def test_file_name_never_becomes_a_path_or_markup(member):
    await add(member, "Some words about water.", "../../etc/<b>passwd.txt")
    page = await wait_read(member)
    assert "<b>passwd" not in page
    assert "../" not in page


async def test_new_collection_is_made_by_its_name(member):
    await add(member, new_corpus="house-rules")
    assert "/library/document/house-rules/" in await wait_read(member)


async def test_handbook_takes_no_uploads(member):
    reply = await add(member, corpus="system")
    assert reply.status == 401


async def test_empty_file_and_no_file_are_refused(member):
    assert (await add(member, "")).status == 400
    reply = await member.post(
        "/library/documents", data=FormData({"corpus": "personal"}, default_to_multipart=True), headers=SAME_SITE
    )
    assert reply.status == 400


async def test_documents_are_closed_to_guests(member):
    await add(member)
    link = re.search(r'href="(/library/document/personal/[^"]+)"', await wait_read(member))[1]
    for path in ("/library/documents", link, f"{link}/file"):
        assert (await member.get(path, headers=GUEST_HOST)).status == 401
    assert "water main is" not in await (await member.get("/library/search?q=blue+door", headers=GUEST_HOST)).text()


async def test_long_document_is_turned_leaf_by_leaf(member):
    text = "\f".join(f"Page {number} tells about water number {number}. " * 40 for number in range(1, 26))
    await add(member, text, "long.txt")
    link = re.search(r'href="(/library/document/personal/[^"]+)"', await wait_read(member))[1]
    first = await (await member.get(link)).text()
    assert "water number 3" in first
    assert "water number 22" not in first
    at_page = await (await member.get(f"{link}?page=22")).text()
    assert 'id="page22"' in at_page
