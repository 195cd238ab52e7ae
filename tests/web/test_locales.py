"""Both languages are complete: same keys, same placeholders, nothing missing, nothing left over (ux.md 2.6)."""

from __future__ import annotations

import ast
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from hearthnet.web.help_pages import list_codes
from hearthnet.web.i18n import Texts, choose_language

WEB = files("hearthnet.web")
PACKAGE = Path(str(files("hearthnet")))
RAW = {language: (WEB / "locales" / f"{language}.json").read_text(encoding="utf-8") for language in ("de", "en")}
TABLES = {language: json.loads(text) for language, text in RAW.items()}
TEMPLATES = "\n".join(path.read_text("utf-8") for path in sorted((WEB / "templates").rglob("*.html")))
LENGTH_FACTOR, LENGTH_SLACK = 1.6, 12


def python_words():
    """String constants, and the constant beginnings of f-strings, of the whole package."""
    whole, beginnings = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
            elif isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
                beginnings.add(node.values[0].value)
    return whole, beginnings


WHOLE, BEGINNINGS = python_words()
TEMPLATE_KEYS = set(re.findall(r"\bt(?:\.find)?\(\s*[\"']([\w.]+)[\"']\s*[,)]", TEMPLATES))
TEMPLATE_CHOICES = {
    key for pair in re.findall(r"\bt\(\s*\"([\w.]+)\" if [^)]*? else \"([\w.]+)\"", TEMPLATES) for key in pair
}
TEMPLATE_BEGINNINGS = set(re.findall(r"\bt(?:\.find)?\(\s*[\"']([\w.]+\.)[\"']\s*~", TEMPLATES))
TEMPLATE_BEGINNINGS |= {found.partition("%")[0] for found in re.findall(r"\bt\(\s*[\"']([\w.]+%d)[\"']\s*%", TEMPLATES)}


def placeholders(text):
    return set(re.findall(r"{(\w+)[^}]*}", text))


def test_both_languages_have_the_same_keys():
    assert TABLES["de"].keys() == TABLES["en"].keys()


def test_both_languages_have_the_same_placeholders():
    # "one" of something may leave the number out
    wrong = [
        key for key, text in TABLES["de"].items()
        if placeholders(text) - {"n"} != placeholders(TABLES["en"][key]) - {"n"}
        or (not key.endswith(".one") and placeholders(text) != placeholders(TABLES["en"][key]))
    ]  # fmt: skip
    assert not wrong


@pytest.mark.parametrize("language", ["de", "en"])
def test_file_is_sorted_and_written_one_way(language):
    table = TABLES[language]
    assert RAW[language] == json.dumps(dict(sorted(table.items())), ensure_ascii=False, indent=1) + "\n"


def test_no_text_is_empty_and_no_duplicate_key_hides_another():
    for language, text in RAW.items():
        pairs = json.loads(text, object_pairs_hook=list)
        assert len(pairs) == len(TABLES[language])
        assert all(value.strip() for _, value in pairs)


def test_every_key_of_a_template_exists():
    assert (TEMPLATE_KEYS | TEMPLATE_CHOICES) - TABLES["de"].keys() == set()


def test_every_key_is_used():
    beginnings = tuple(item for item in BEGINNINGS | TEMPLATE_BEGINNINGS if re.fullmatch(r"[\w.]+\.", item))
    known = WHOLE | TEMPLATE_KEYS | TEMPLATE_CHOICES
    unused = [
        key for key in TABLES["de"]
        if key.removesuffix(".one") not in known and not key.startswith(beginnings) and f'"{key}"' not in TEMPLATES
    ]  # fmt: skip
    assert not unused


def test_every_error_code_says_what_and_what_to_do():
    wanted = {f"error.{code}.{part}" for code in list_codes() for part in ("what", "do")}
    assert wanted - TABLES["de"].keys() == set()


def test_no_language_is_much_longer_than_the_other():
    long = [
        (key, text, TABLES["en"][key])
        for key, text in TABLES["de"].items()
        if len(text) > LENGTH_FACTOR * len(TABLES["en"][key]) + LENGTH_SLACK
        or len(TABLES["en"][key]) > LENGTH_FACTOR * len(text) + LENGTH_SLACK
    ]
    assert not long


def test_german_texts_are_german():
    english = re.compile(r"\b(the|and|with|your|please|not|is|are|this)\b")
    found = [(key, text) for key, text in TABLES["de"].items() if english.search(text)]
    assert not found


def test_voice_of_the_pages_is_calm_and_neutral():
    loud = re.compile(r"!|\b(Oops|Ups|bitte|Bitte|please|Please)\b")
    own = [key for key in TABLES["de"] if not key.startswith(("cli.", "doctor."))]
    assert [key for key in own if loud.search(TABLES["de"][key]) or loud.search(TABLES["en"][key])] == []


def test_one_of_something_has_its_own_words():
    texts = Texts("de", TABLES["de"])
    assert texts("home.documents", n=1) == "1 Dokument"
    assert texts("home.documents", n=3) == "3 Dokumente"


@pytest.mark.parametrize(
    ("cookie", "accept", "chosen"),
    [
        ("", "", "en"),
        ("de", "en", "de"),
        ("fr", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("", "fr,en;q=0.5,de;q=0.4", "en"),
        ("", "de;q=0,en;q=0.1", "en"),
        ("", "xx" * 5000, "en"),
        ("", "de;q=nonsense, en;q=0.1", "en"),
    ],
)
def test_language_is_chosen_by_cookie_then_browser(cookie, accept, chosen):
    assert choose_language(cookie, accept, "en") == chosen
