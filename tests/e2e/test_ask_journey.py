"""Asking in a real browser: streaming, stop, again, copy, keyboard alone, and all of it without scripts."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from web.fake_services import CARDS, NEVER, WHY

QUESTION = "Darf der Stromerzeuger im Keller laufen?"


def put(page, address, question=QUESTION):
    page.goto(f"{address}/")
    page.fill("#q", question)
    page.press("#q", "Enter")


def test_answer_streams_into_the_page_with_its_sources(open_page, address, take_picture):
    page = open_page(360, 780)
    put(page, address)
    expect(page.locator(".quote").first).to_contain_text(NEVER)
    expect(page.locator(".tag")).to_contain_text("wörtlich zitiert")
    expect(page.locator("h2.q")).to_be_focused()
    assert re.search(r"/ask/[\w-]+$", page.url)
    take_picture(page, "journey-answer")


def test_chip_opens_its_passage_and_the_link_opens_the_card_at_the_words(open_page, address):
    page = open_page()
    put(page, address)
    page.locator(".cite[href='#s1-2']").click()
    panel = page.locator("#s1-2")
    expect(panel).to_have_attribute("open", "")
    expect(panel.locator("mark")).to_contain_text(WHY)
    panel.get_by_role("link").click()
    expect(page.locator("#hit")).to_be_in_viewport()
    expect(page.locator("#hit")).to_contain_text(WHY)


def test_screen_reader_hears_each_sentence_and_the_end(open_page, address):
    page = open_page()
    put(page, address)
    page.wait_for_selector(".route")
    region = page.locator("#say")
    assert region.get_attribute("aria-live") == "polite"
    assert region.inner_text().count(WHY) == 1
    expect(region).to_contain_text("Antwort fertig, 2 Quellen.")


def test_stop_keeps_the_sentences_and_again_asks_once_more(open_page, address, take_picture):
    page = open_page(360, 780)
    put(page, address, f"slow {QUESTION}")
    expect(page.locator(".status")).to_contain_text("Satz 2 wird gesucht.")
    expect(page.locator("#ask button")).to_be_disabled()
    take_picture(page, "journey-writing")
    page.get_by_role("button", name="Anhalten").click()
    expect(page.locator("article")).to_contain_text("Angehalten. Die Sätze oben bleiben gültig.")
    expect(page.locator(".quote")).to_have_count(1)
    expect(page.locator("#ask button")).to_be_enabled()
    page.get_by_role("button", name="Noch einmal").click()
    expect(page.locator(".status")).to_contain_text("Satz 2 wird gesucht.")
    page.get_by_role("button", name="Anhalten").click()
    expect(page.locator("article")).to_contain_text("Angehalten.")


def test_copy_takes_question_answer_and_sources(open_page, address):
    page = open_page()
    put(page, address)
    page.get_by_role("button", name="Kopieren").click()
    expect(page.get_by_role("button", name="Kopiert")).to_be_focused()
    page.locator("#q").fill("")
    page.locator("#q").press("Control+V")
    copied = page.locator("#q").input_value()
    assert copied.startswith(QUESTION)
    assert WHY in copied
    assert f"1. {CARDS['T12', 'de'].head.title}" in copied


def test_next_question_follows_and_the_first_folds_away(open_page, address):
    page = open_page()
    put(page, address)
    page.wait_for_selector(".route")
    page.fill("#q", "Und auf dem Balkon?")
    page.press("#q", "Enter")
    expect(page.locator("h2.q")).to_have_text("Und auf dem Balkon?")
    page.locator("details.older > summary").click()
    expect(page.locator("details.older article")).to_be_visible()


def test_draft_survives_a_reload_and_goes_when_it_is_asked(open_page, address):
    page = open_page()
    page.goto(f"{address}/")
    page.fill("#q", "Noch nicht fertig")
    page.reload()
    expect(page.locator("#q")).to_have_value("Noch nicht fertig")
    page.press("#q", "Enter")
    page.wait_for_selector(".route")
    page.goto(f"{address}/")
    expect(page.locator("#q")).to_have_value("")


def test_shift_enter_makes_a_new_line(open_page, address):
    page = open_page()
    page.goto(f"{address}/")
    page.locator("#q").press_sequentially("eins")
    page.press("#q", "Shift+Enter")
    page.locator("#q").press_sequentially("zwei")
    assert page.locator("#q").input_value() == "eins\nzwei"


def test_connection_that_breaks_leads_to_the_page_of_the_answer(open_page, address):
    page = open_page()
    page.goto(f"{address}/")
    page.route("**/ask/stream", lambda route: route.abort())
    page.fill("#q", QUESTION)
    page.press("#q", "Enter")
    expect(page.locator(".tag")).to_contain_text("wörtlich zitiert")
    page.faults[:] = [fault for fault in page.faults if "ERR_FAILED" not in fault]


def test_everything_by_keyboard_alone(open_page, address):
    page = open_page()
    page.goto(f"{address}/")
    keys = page.keyboard
    keys.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("main")).to_be_focused()
    keys.press("Tab")
    expect(page.locator("#q")).to_be_focused()
    keys.type(QUESTION)
    keys.press("Enter")
    page.wait_for_selector(".route")
    for _ in range(12):
        keys.press("Tab")
        if page.evaluate("document.activeElement.matches('.cite')"):
            break
    expect(page.locator(".cite:focus")).to_have_count(1)
    keys.press("Enter")
    expect(page.locator("details.src[open]").first).to_be_visible()


def test_without_scripts_the_answer_is_a_page(open_page, address, take_picture):
    page = open_page(360, 780, scripts=False)
    page.goto(f"{address}/")
    page.fill("#q", QUESTION)
    page.click("#ask button")
    expect(page.locator(".quote").first).to_contain_text(NEVER)
    expect(page.locator("article .tag").first).to_contain_text("wörtlich zitiert")
    expect(page.get_by_role("button", name="Kopieren")).to_be_hidden()
    page.locator("#s1-2 summary").click()
    expect(page.locator("#s1-2 mark")).to_be_visible()


def test_without_scripts_an_answer_is_read_while_it_is_made_and_stopped(open_page, address):
    page = open_page(scripts=False)
    page.goto(f"{address}/")
    page.fill("#q", f"slow {QUESTION}")
    page.click("#ask button", no_wait_after=True)
    stop = page.get_by_role("button", name="Anhalten")
    expect(stop).to_be_visible()
    stop.click()
    expect(page.locator("article")).to_contain_text("Angehalten.")


def test_without_scripts_the_whole_journey_works(open_page, address, tmp_path):
    page = open_page(scripts=False)
    page.goto(f"{address}/library")
    page.fill("#find", "Kohlenmonoxid")
    page.press("#find", "Enter")
    page.locator(".hits a").first.click()
    expect(page.locator(".plate")).to_be_visible()
    page.goto(f"{address}/library/documents")
    (tmp_path / "regeln.txt").write_text(
        "Die Kellertür bleibt nachts zu. Der Hauptwasserhahn ist hinter der blauen Tür."
    )
    page.set_input_files("#file", tmp_path / "regeln.txt")
    page.get_by_role("button", name="Hinzufügen").click()
    expect(page.get_by_role("link", name="regeln.txt")).to_be_visible(timeout=15_000)  # the page renews itself
    page.get_by_role("link", name="regeln.txt").click()
    expect(page.locator("article")).to_contain_text("hinter der blauen Tür")
    page.goto(f"{address}/settings")
    page.get_by_role("radio", name="dunkel").check()
    page.get_by_role("button", name="Übernehmen").first.click()
    assert page.locator("html").get_attribute("data-look") == "dark"
    page.get_by_role("button", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
