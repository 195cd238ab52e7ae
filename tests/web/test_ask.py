"""The Ask page as a browser sees it, with scripts and without (M08)."""

from __future__ import annotations

import asyncio
import json
import re

from aiohttp.test_utils import TestClient, TestServer

from web.conftest import GUEST_HOST, SAME_SITE, events_of
from web.fake_services import HELP, NEVER, WHY

QUESTION = "Darf der Stromerzeuger im Keller laufen?"


async def put(client, question=QUESTION, **fields):
    """Ask with a form, follow the redirect, return the page."""
    reply = await client.post("/ask", data={"question": question, **fields}, headers=SAME_SITE)
    assert reply.status == 200, await reply.text()
    return reply.url.path, await reply.text()


async def test_home_holds_the_question_box_and_counts_the_library(member):
    page = await (await member.get("/", headers={"Accept-Language": "de"})).text()
    assert 'lang="de"' in page
    assert "100 Karten auf dieser Box" in page
    assert re.search(r'<textarea id="q" name="question"', page)


async def test_home_keeps_a_question_from_the_address(member):
    page = await (await member.get("/?q=%3Cb%3Ewater")).text()
    assert "&lt;b&gt;water</textarea>" in page


async def test_guest_sees_the_search_of_the_library_instead(member):
    page = await (await member.get("/", headers=GUEST_HOST)).text()
    assert 'action="/library/search"' in page
    assert 'name="question"' not in page


async def test_question_without_scripts_gives_a_page_with_quotes_and_sources(member):
    await member.get("/")
    path, page = await put(member)
    assert re.fullmatch(r"/ask/[\w-]+", path)
    quotes = page.index(NEVER), page.index(WHY)
    assert quotes[0] < quotes[1] < page.index('class="src"')
    assert "wörtlich zitiert" in page or "quoted word for word" in page
    assert f"<mark>{WHY}</mark>" in page
    assert page.rstrip().endswith("</html>")


async def test_chips_lead_to_panels_that_exist(member):
    await member.get("/")
    _, page = await put(member)
    chips = set(re.findall(r'class="cite" href="#([^"]+)"', page))
    assert chips == {"s1-1", "s1-2"}
    assert all(f'id="{chip}"' in page for chip in chips)


async def test_first_help_of_the_cited_card_stands_beside_the_answer(member):
    await member.get("/")
    _, page = await put(member)
    note = page[page.index('class="note stopnote"') :]
    assert "rufe 112" in note[:400]


async def test_finished_answer_is_kept_and_shown_again_without_asking(member, world):
    await member.get("/")
    path, _ = await put(member)
    again = await (await member.get(path)).text()
    assert WHY in again
    assert len(world.assistant.asked) == 1


async def test_same_form_sent_twice_asks_once(member, world):
    await member.get("/")
    first, _ = await put(member, key="k1")
    second, _ = await put(member, key="k1")
    assert (first, len(world.assistant.asked)) == (second, 1)


async def test_next_question_carries_the_conversation(member, world):
    await member.get("/")
    path, _ = await put(member)
    await put(member, "Und auf dem Balkon?", conversation=path.removeprefix("/ask/"))
    roles = [message.role for message in world.assistant.asked[1].messages]
    assert roles == ["user", "assistant", "user"]


async def test_again_replaces_the_last_answer(member, world):
    await member.get("/")
    path, _ = await put(member)
    reply = await member.post(f"{path}/again", data={"again": "1", "conversation": path[5:]}, headers=SAME_SITE)
    page = await reply.text()
    assert len(world.assistant.asked) == 2
    assert page.count('class="turn"') == 1


async def test_empty_and_overlong_questions_come_back_with_a_sentence(member):
    await member.get("/")
    for question, words in (("  ", "No question yet"), ("x" * 10_001, "at most 10")):
        reply = await member.post("/ask", data={"question": question}, headers=SAME_SITE)
        page = await reply.text()
        assert reply.status == 400
        assert 'aria-invalid="true"' in page
        assert words.lower() in page.lower()


async def test_browser_without_cookies_is_told_so(world):
    async with TestClient(TestServer(world.app)) as fresh:
        reply = await fresh.post("/ask", data={"question": QUESTION}, headers=SAME_SITE)
        assert reply.status == 400
        assert "cookies" in await reply.text()


async def test_what_the_library_does_not_hold_is_said_with_the_nearest_cards(member):
    await member.get("/")
    _, page = await put(member, "Is there life on Mars?")
    assert "That is not in my library." in page
    assert page.count('<li><a href="/library/card/') == 3
    assert 'class="quote"' not in page


async def test_refusal_may_carry_the_first_help_of_a_card_with_the_hatch(member):
    await member.get("/")
    _, page = await put(member, "hurt on Mars")
    assert "That is not in my library." in page
    assert "Not here." not in page
    assert HELP["en"].rpartition(" ")[0] in page[page.index('class="quote danger-quote"') :][:300]
    assert 'class="src"' in page


async def test_first_help_is_hatched_and_not_said_twice(member):
    await member.get("/")
    _, page = await put(member, "grave: darf das laufen?")
    answer = page[: page.index('class="src"')]
    assert answer.count(HELP["de"].rpartition(" ")[0]) == 2  # the quote and the text to copy
    assert 'class="quote danger-quote"' in answer
    assert "stopnote" not in answer


async def test_name_of_the_box_is_not_said_twice(member, world):
    page = await (await member.get("/")).text()
    assert '<span class="code">K7QX</span>' in page  # the letters are not in its name


async def test_broken_answer_keeps_its_sentences_and_says_what_to_do(member):
    await member.get("/")
    _, page = await put(member, "break: darf das laufen?")
    assert NEVER in page
    assert "/help/errors#partition" in page
    assert "The sentences above still stand." in page


async def test_refused_call_shows_when_to_try_again(member):
    await member.get("/")
    _, page = await put(member, "busy?")
    assert "about 4 seconds" in page


async def test_free_wording_is_markdown_without_html(member):
    await member.get("/")
    _, page = await put(member, "free generator")
    assert "<strong>door</strong>" in page
    assert "&lt;b&gt;" in page
    assert "large model" in page


async def test_stream_sends_the_page_in_parts(member):
    await member.get("/")
    reply = await member.post("/ask/stream", data={"question": QUESTION}, headers=SAME_SITE)
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    events = events_of(await reply.text())
    assert events[0][0] == "begin"
    assert events[-1][0] == "done"
    page = ""
    for _, data in events:
        for part in data["parts"]:
            assert part["id"] == "main" or f'id="{part["id"]}"' in page, part["id"]
            page += part["html"]
    assert WHY in page
    assert re.fullmatch(r"/ask/[\w-]+", events[0][1]["url"])


async def test_stream_says_each_sentence_once_for_screen_readers(member):
    await member.get("/")
    reply = await member.post("/ask/stream", data={"question": QUESTION}, headers=SAME_SITE)
    said = " ".join(data.get("say", "") for _, data in events_of(await reply.text()))
    assert said.count(WHY) == 1
    assert "Answer complete" in said


async def read_until(reply, words):
    text = ""
    while words not in text:
        text += (await reply.content.readany()).decode()
    return text


async def test_place_in_the_queue_is_shown(member, world):
    await member.get("/")
    reply = await member.post("/ask/stream", data={"question": "queue: generator?"}, headers=SAME_SITE)
    assert "Number 3 in line." in await read_until(reply, "event: progress")
    world.assistant.gate.set()
    assert "event: done" in await reply.text()


async def test_stop_ends_the_work_and_keeps_what_was_written(member, world):
    await member.get("/")
    reply = await member.post("/ask/stream", data={"question": "slow: darf das laufen?"}, headers=SAME_SITE)
    text = await read_until(reply, "event: token")
    path = json.loads(text.split("data: ")[1].split("\n")[0])["url"]
    await member.post(f"{path}/stop", headers=SAME_SITE, allow_redirects=False)
    rest = events_of(await reply.text())
    assert world.assistant.cancelled == 1
    assert rest[-1][0] == "done"
    page = await (await member.get(path)).text()
    assert "The sentences above still stand." in page
    assert NEVER in page


async def test_answer_nobody_waits_for_is_ended(slow_world):
    world, client = slow_world
    await client.get("/")
    reply = await client.post("/ask/stream", data={"question": "slow generator"}, headers=SAME_SITE)
    await read_until(reply, "event: token")
    reply.close()
    async with asyncio.timeout(5):
        while not world.clock.sleepers:  # noqa: ASYNC110  the server notices the closed connection
            await asyncio.sleep(0)
    await world.clock.advance(21)
    assert world.assistant.cancelled == 1


async def test_page_may_be_left_and_come_back_to(member, world):
    await member.get("/")
    reply = await member.post("/ask/stream", data={"question": "slow: darf das laufen?"}, headers=SAME_SITE)
    path = json.loads((await read_until(reply, "event: token")).split("data: ")[1].split("\n")[0])["url"]
    back = await member.get(path)
    world.assistant.gate.set()
    page = await back.text()
    assert WHY in page
    assert len(world.assistant.asked) == 1
    reply.close()


async def test_conversations_are_listed_and_deleted(member):
    await member.get("/")
    path, _ = await put(member)
    assert QUESTION in await (await member.get("/ask")).text()
    await member.post(f"{path}/delete", headers=SAME_SITE)
    assert QUESTION not in await (await member.get("/ask")).text()
    assert (await member.get(path)).status == 404


async def test_all_conversations_can_be_deleted_at_once(member):
    await member.get("/")
    paths = [(await put(member, f"{QUESTION} {number}"))[0] for number in range(2)]
    await member.post("/ask/delete", headers=SAME_SITE)
    assert [(await member.get(path)).status for path in paths] == [404, 404]


async def test_another_browser_sees_nothing_of_it(member, world):
    await member.get("/")
    path, _ = await put(member)
    async with TestClient(TestServer(world.app)) as other:
        await other.get("/")
        assert (await other.get(path)).status == 404
        await other.post(f"{path}/delete", headers=SAME_SITE)
    assert (await member.get(path)).status == 200
