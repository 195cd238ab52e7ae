"""Uploads with progress, models, pairing a second browser: in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect


def test_upload_shows_progress_and_the_document_appears(open_page, address, tmp_path, take_picture):
    page = open_page(360, 780)
    page.goto(f"{address}/library/documents")
    (tmp_path / "hausordnung.txt").write_text("Die Tonnen stehen im Hof. Das Tor schließt um 22 Uhr.\n" * 2000)
    page.set_input_files("#file", tmp_path / "hausordnung.txt")
    page.get_by_role("button", name="Hinzufügen").click()
    expect(page.get_by_role("link", name="hausordnung.txt").first).to_be_visible()
    take_picture(page, "journey-documents")


def test_upload_that_breaks_off_says_so_and_keeps_the_form(open_page, address, tmp_path):
    page = open_page()
    page.goto(f"{address}/library/documents")
    page.route(
        "**/library/documents", lambda route: route.abort() if route.request.method == "POST" else route.continue_()
    )
    (tmp_path / "a.txt").write_text("Wasser")
    page.set_input_files("#file", tmp_path / "a.txt")
    page.get_by_role("button", name="Hinzufügen").click()
    expect(page.locator("[data-failed]")).to_contain_text("Nichts wurde gespeichert.")
    expect(page.get_by_role("button", name="Hinzufügen")).to_be_enabled()
    page.faults[:] = [fault for fault in page.faults if "ERR_FAILED" not in fault]


def test_document_is_deleted_after_a_second_thought(open_page, address, tmp_path):
    page = open_page()
    page.goto(f"{address}/library/documents")
    (tmp_path / "weg.txt").write_text("Dieses Blatt wird gelöscht.")
    page.set_input_files("#file", tmp_path / "weg.txt")
    page.get_by_role("button", name="Hinzufügen").click()
    page.get_by_role("link", name="weg.txt").click()
    page.locator("summary", has_text="Dokument löschen").click()
    page.get_by_role("button", name="Dokument löschen").click()
    expect(page.locator("main")).not_to_contain_text("weg.txt")


def test_second_browser_is_paired_by_link(open_page, admin_address, take_picture):
    page = open_page()
    page.goto(f"{admin_address}/settings/access")
    page.get_by_role("button", name="Mitglied koppeln").click()
    link = page.locator("a.mono").inner_text()
    take_picture(page, "journey-pairing")
    phone = open_page(360, 780)
    port = re.search(r":(\d+)", admin_address)[1]
    phone.goto(f"http://hearthnet-k7qx.local:{port}/")
    expect(phone.locator("main")).to_contain_text("Als Gast hier.")
    take_picture(phone, "journey-guest")
    phone.goto(f"http://hearthnet-k7qx.local:{port}{link[link.index('/pair/') :]}")
    phone.fill("#name", "Telefon von Ayşe")
    phone.get_by_role("button", name="Koppeln").click()
    expect(phone.locator(".big")).to_have_text("Mitglied")
    phone.goto(f"http://hearthnet-k7qx.local:{port}/")
    phone.fill("#q", "Darf der Stromerzeuger in den Keller?")
    phone.press("#q", "Enter")
    expect(phone.locator(".tag")).to_contain_text("wörtlich zitiert")
    page.goto(f"{admin_address}/settings/access")
    expect(page.locator("main")).to_contain_text("Telefon von Ayşe")
