"""The main thing, whole: a real node with its real engines and the shipped handbook, in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from hearthnet.adapters.models_dir import ModelsDir, installation_models

ROOT = Path(__file__).resolve().parents[2]
ASKED = {
    "en": ("Is it safe to run a petrol generator in the cellar?", r"Never run a petrol generator in a house"),
    "de": (
        "Ist es sicher, einen Stromerzeuger im Keller laufen zu lassen?",
        r"Lass einen Stromerzeuger .* nie in Keller",
    ),
}
QUOTED = {"en": "quoted word for word", "de": "wörtlich zitiert"}


@pytest.fixture(scope="module")
def real_address(tmp_path_factory):
    """A node as `make run` starts it, in a home of its own, on free ports."""
    if not any(model.manifest.kind == "text" for model in ModelsDir(installation_models()).installed()):
        pytest.skip("the default models are not installed: make setup")
    home = tmp_path_factory.mktemp("real") / "home"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HEARTHNET_")} | {
        "HEARTHNET_HOME": str(home), "HEARTHNET_UI_PORT": "0", "HEARTHNET_TRANSPORT_PORT": "0", "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT / "edge"),
    }  # fmt: skip
    command = [sys.executable, "-m", "hearthnet.cli.main", "run"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as node:
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in node.stdout)))
        yield found[0]
        node.terminate()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_the_generator_question_is_answered_with_the_passage_marked(open_page, real_address, language, scripts):
    question, forbidden = ASKED[language]
    page = open_page(360, 780, language=language, scripts=scripts)
    page.set_default_timeout(30_000)
    page.goto(f"{real_address}/")
    page.fill("#q", question)
    page.click("#ask button")
    expect(page.locator("article .tag").first).to_contain_text(QUOTED[language], timeout=30_000)
    quotes = page.locator(".quote p")
    expect(quotes.filter(has_text=re.compile(forbidden))).to_have_count(1)
    panel = page.locator("details.src").first
    if panel.get_attribute("open") != "":
        panel.locator("summary").click()
    expect(panel.locator("mark").filter(has_text=re.compile(forbidden))).to_be_visible()
    panel.get_by_role("link").click()
    expect(page.locator(".plate .no")).to_have_text("T12")
    expect(page.locator("#hit")).to_be_in_viewport()
    assert page.locator("article.card").get_attribute("lang") == language


@pytest.mark.parametrize(("language", "sentence"), [("en", "not in my library"), ("de", "nicht in meiner Bibliothek")])
def test_what_the_handbook_does_not_hold_is_said_so(open_page, real_address, language, sentence):
    page = open_page(language=language)
    page.set_default_timeout(30_000)
    page.goto(f"{real_address}/")
    page.fill("#q", {"en": "Who composed the opera Carmen?", "de": "Wer hat die Oper Carmen komponiert?"}[language])
    page.press("#q", "Enter")
    expect(page.locator("article")).to_contain_text(sentence, timeout=30_000)


def test_an_uploaded_document_answers_with_its_own_words(open_page, real_address, tmp_path):
    (tmp_path / "haus.txt").write_text(
        "Hausordnung Lindenhof\n\nDer Schlüssel zum Fahrradkeller hängt bei Frau Öztürk im zweiten Stock.\n\n"
        "Die Mülltonnen kommen am Dienstagabend an die Straße.\n",
        encoding="utf-8",
    )
    page = open_page(language="de")
    page.set_default_timeout(30_000)
    page.goto(f"{real_address}/library/documents")
    page.set_input_files("#file", tmp_path / "haus.txt")
    page.get_by_role("button", name="Hinzufügen").click()
    expect(page.get_by_role("link", name="haus.txt").first).to_be_visible(timeout=30_000)
    expect(page.locator(".tag", has_text="bereit").first).to_be_visible(timeout=30_000)
    page.goto(f"{real_address}/")
    page.fill("#q", "Wo ist der Schlüssel zum Fahrradkeller?")
    page.press("#q", "Enter")
    expect(page.locator(".quote").first).to_contain_text("bei Frau Öztürk im zweiten Stock", timeout=30_000)
