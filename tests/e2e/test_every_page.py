"""Every page x language x theme x width: axe finds nothing serious, nothing scrolls sideways, focus is seen."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from hearthnet.mesh.cards import shipped_library

PAGES = {
    "home": "/",
    "answer": "/ask/ANSWER",
    "missing": "/ask/MISSING",
    "history": "/ask",
    "library": "/library",
    "card": "/library/card/T10",
    "search": "/library/search?q=generator",
    "documents": "/library/documents",
    "look": "/settings",
    "models": "/settings/models",
    "storage": "/settings/storage",
    "access": "/settings/access",
    "about": "/settings/about",
    "licences": "/settings/licences",
    "help": "/help",
    "errors": "/help/errors",
    "styleguide": "/styleguide",
    "pair": "/pair/none",
    "docs": "/docs",
    "nowhere": "/nowhere",
}
QUESTIONS = {
    "ANSWER": {"de": "Darf der Stromerzeuger im Keller laufen?", "en": "May a petrol generator run in the cellar?"},
    "MISSING": {"de": "Gibt es Leben auf dem Mars?", "en": "Is there life on Mars?"},
}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SETTLED_BY_HAND = {"styleguide": {"region", "landmark-unique"}}  # samples of whole components side by side


def visit(page, address, path, language):
    """Open a page; an answer is asked for first, in this browser's name."""
    for mark, words in QUESTIONS.items():
        if path.endswith(mark):
            page.goto(f"{address}/")
            page.fill("#q", words[language])
            page.press("#q", "Enter")
            page.wait_for_selector(".route")
            return
    page.goto(address + path)


WIDTHS = (320, 360, 1280)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_and_fits(open_page, admin_address, take_picture, name, language, theme):
    page = open_page(WIDTHS[0], 780, dark=theme == "dark", language=language)
    visit(page, admin_address, PAGES[name], language)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 780})
        assert axe_violations(page, SETTLED_BY_HAND.get(name, ())) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        take_picture(page, f"{name}-{language}-{theme}-{width}")
    page.faults[:] = [fault for fault in page.faults if not (name == "nowhere" and "404" in fault)]


def axe_violations(page, settled):
    results = Axe().run(page, options={"runOnly": RULES})
    return [
        f"{item['id']} ({item['impact']}): {item['nodes'][0]['html'][:160]}"
        for item in results.response["violations"]
        if item["id"] not in settled
    ]


@pytest.mark.parametrize("name", ["home", "answer", "card", "documents", "models", "access"])
def test_controls_are_large_enough_and_text_may_be_spaced(open_page, admin_address, name):
    page = open_page(320, 780)
    visit(page, admin_address, PAGES[name], "de")
    page.evaluate(
        """() => { const sheet = new CSSStyleSheet();
        sheet.replaceSync("*{letter-spacing:.12em!important;word-spacing:.16em!important;line-height:1.5!important}");
        document.adoptedStyleSheets = [sheet]; }"""
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, summary, input, select, textarea, nav a, .btn, .cite")]
        .filter(e => e.offsetParent && !e.closest("label") && !e.hidden && e.tagName !== "SPAN")
        .map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect().width, e.getBoundingClientRect().height])
        .filter(([, w, h]) => w < 24 || h < 24)"""
    )
    assert small == []


@pytest.mark.parametrize("name", ["home", "answer", "library", "card", "documents", "look", "access"])
def test_keyboard_reaches_everything_and_focus_is_seen(open_page, admin_address, name):
    page = open_page(360, 780)
    visit(page, admin_address, PAGES[name], "de")
    page.reload()
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")]
        .filter(e => e.checkVisibility() && !e.disabled && e.tabIndex >= 0 && !(e.type === "radio" && !e.checked)).length"""
    )
    seen, problems = set(), []
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => { const e = document.activeElement; if (e === document.body) return null;
            const box = e.getBoundingClientRect(), nav = document.querySelector(".nav").getBoundingClientRect();
            const ring = parseFloat(getComputedStyle(e).outlineWidth);
            const hidden = !e.closest(".nav") && box.top >= nav.top && nav.top > 100;
            e.dataset.stop ??= Math.random();
            return {id: e.dataset.stop, html: e.outerHTML.slice(0, 90), ring, hidden}; }"""
        )
        if state is None:
            break
        seen.add(state["id"])
        if state["ring"] < 3 or state["hidden"]:
            problems.append(state)
    assert problems == []
    assert len(seen) >= wanted


def test_forced_colours_keep_places_and_shapes(open_page, admin_address, take_picture):
    page = open_page(360, 780, forced_colors="active")
    visit(page, admin_address, PAGES["answer"], "de")
    assert page.locator(".nav [aria-current]").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    take_picture(page, "answer-forced-colours")


def test_the_longest_cards_print_on_one_page_each(open_page, admin_address, tmp_path):
    page = open_page(800, 1000)
    longest = sorted((shipped_library() / "cards").glob("*.md"), key=lambda path: -path.stat().st_size)[:4]
    for path in longest:
        number, language = re.search(r"t(\d+)-.*\.(de|en)\.md", path.name).groups()
        page.goto(f"{admin_address}/library/card/T{number}?lang={language}")
        page.pdf(path=tmp_path / "card.pdf", prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "card.pdf").read_bytes())) == 1, path.name
