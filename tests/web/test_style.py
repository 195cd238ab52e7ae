"""Colours and sizes by calculation; what ships beside the style sheet (M08, design.md 3)."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib.resources import files

import pytest

STATIC = files("hearthnet.web") / "static"
CSS = (STATIC / "hearth.css").read_text(encoding="utf-8")
SCREEN = CSS.partition("@media print")[0]
MODULES = {entry.name: entry.read_text(encoding="utf-8") for entry in STATIC.iterdir() if entry.name.endswith(".mjs")}
PAIRS = """
ink ground 7        | ink sheet 7       | ink sunk 7        | mute ground 4.5   | mute sheet 4.5     | mute sunk 4.5
ember-ink ground 4.5| ember-ink sheet 4.5 | ember-ink sunk 4.5 | ember ground 3  | ember sheet 3      | line ground 3
edge ground 3       | edge sunk 3       | edge sheet 3      | on-btn btn 7      | btn ground 3       | on-head head 7
moss ground 4.5     | moss sheet 4.5    | ink moss-wash 7   | amber ground 4.5  | amber sheet 4.5    | ink amber-wash 7
slate ground 4.5    | slate sheet 4.5   | slate slate-wash 4.5 | ink slate-wash 7 | mute slate-wash 4.5 | red ground 4.5
red sheet 4.5       | red red-wash 4.5  | ink red-wash 7    | ember-ink red-wash 4.5 | ember-ink amber-wash 4.5
ember-ink slate-wash 4.5 | on-red red-fill 7 | focus ground 3 | focus sheet 3    | focus sunk 3       | head-focus head 3
sheet line 7        | head-ember head 3 | ink ground 7
"""


def tokens_of(selector):
    start = CSS.index(selector)
    block = CSS[CSS.index("{", start) + 1 : CSS.index("}", start)]
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{3,6})", block))


LIGHT = tokens_of(":root {")
DARK = tokens_of(':root[data-look="dark"]')
DARK_BY_DEVICE = tokens_of(':root:not([data-look="light"])')


def luminance(colour):
    digits = colour[1:]
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    parts = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "table"), [("light", LIGHT), ("dark", DARK)])
def test_every_pair_of_colours_has_its_contrast(theme, table):
    weak = []
    for pair in PAIRS.replace("\n", "|").split("|"):
        if pair.strip():
            front, back, need = pair.split()
            found = contrast(table[front], table[back])
            if found < float(need):
                weak.append(f"{theme}: {front} on {back} {found:.1f} < {need}")
    assert not weak


def test_dark_by_choice_and_dark_by_device_are_the_same():
    assert DARK == DARK_BY_DEVICE
    assert DARK.keys() == LIGHT.keys()


def test_every_token_that_is_used_is_defined():
    used = set(re.findall(r"var\(--([\w-]+)\)", CSS))
    defined = set(re.findall(r"--([\w-]+):", CSS))
    assert used <= defined


def test_black_on_white_formula_is_right():
    assert contrast("#000", "#fff") == pytest.approx(21.0)


def test_no_text_is_below_14_pixels():
    root_px = 17
    sizes = [float(size) * root_px for size in re.findall(r"(?:font|font-size):[^;]*?(\.?\d*\.?\d+)rem", SCREEN)]
    assert min(sizes) >= 13.99


def test_style_sheet_asks_nobody_else():
    assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", CSS)
    assert "@import" not in CSS


def test_motion_stops_when_asked_and_print_hides_what_floats():
    assert "prefers-reduced-motion: reduce" in CSS
    assert re.search(r"@media print \{.*?\.nav[^}]*display: none", CSS, re.DOTALL)
    assert "forced-colors: active" in CSS


def test_vendored_files_are_those_that_are_listed():
    table = tomllib.loads((STATIC / "vendor" / "VENDOR.toml").read_text(encoding="utf-8"))
    listed = {item["name"]: item["sha256"] for work in table["work"] for item in work["file"]}
    here = {
        entry.name: hashlib.sha256(entry.read_bytes()).hexdigest()
        for entry in (STATIC / "vendor").iterdir()
        if entry.name != "VENDOR.toml"
    }
    assert here == listed


def test_scripts_are_few_short_and_complete():
    assert len(MODULES) <= 10
    assert all(text.count("\n") <= 200 for text in MODULES.values())
    needed = {name for text in MODULES.values() for name in re.findall(r'from "\./([\w.]+)"', text)}
    assert needed <= MODULES.keys()


def test_scripts_hold_no_words_for_people():
    found = []
    for name, text in MODULES.items():
        code = re.sub(r"//.*|/\*[\s\S]*?\*/", "", text)
        found += [(name, words) for words in re.findall(r'"([A-ZÄÖÜ][a-zäöüß]+ [a-zäöüß][^"]*)"', code)]
    assert not found


def test_scripts_reach_only_this_node():
    for name, text in MODULES.items():
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", re.sub(r"(?m)^\s*//.*|/\*[\s\S]*?\*/", "", text)), name


def test_no_element_but_native_ones_takes_clicks():
    templates = [*(files("hearthnet.web") / "templates").rglob("*.html")]
    assert len(templates) > 15
    for path in templates:
        assert not re.search(
            r"<(div|span|p|li)\b[^>]*(tabindex=\"0\"(?![^>]*role=\"region\")|role=\"button\")", path.read_text("utf-8")
        ), path
