"""What the library does not hold: how the signs are weighed, and what a damaged limits file does."""

from __future__ import annotations

import msgspec
import pytest

from hearthnet.adapters.engines.fake import FakeEngines
from hearthnet.base.errors import Unavailable
from hearthnet.mesh.library_seed import SeedVectors, write_seeds
from hearthnet.mesh.likeness import Likeness, likeness_model, read_likeness
from hearthnet.mesh.scope import Middles, Scope, ScopeModel, Signs, weigh

LIMITS = """
[[kind]]
id = "news"
card = "T06"
en = ["latest news and headlines", "who won the election"]
de = ["neueste Nachrichten", "wer hat die Wahl gewonnen"]
en_steps = ["Listen to the radio."]
de_steps = ["Höre Radio."]
"""
ZERO = Middles((0.0,) * 384, (0.0,) * 384, (0.0,) * 384)
MODEL = ScopeModel("a test", "model", {"de": ZERO, "en": ZERO}, (1.0, 20.0, -20.0, 2.0, -2.0), 0.0)
SENTENCES = ["Never run a generator indoors.", "Run a generator outdoors."]


def likeness(engines=None, shipped=None):
    return Likeness(engines or FakeEngines(), "model", shipped or SeedVectors())


def open_scope(folder, engines=None, embedding_model="model"):
    return Scope(folder, embedding_model, likeness(engines))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "limits.toml").write_text(LIMITS, encoding="utf-8")
    (tmp_path / "scope.json").write_bytes(msgspec.json.encode(MODEL))
    return tmp_path


async def test_a_question_near_to_a_sentence_is_held_and_one_near_to_the_limits_is_not(folder):
    scope = open_scope(folder)

    here = await scope.judge("never run a generator indoors", "en", 0.5, SENTENCES, SENTENCES)
    elsewhere = await scope.judge("who won the election", "en", 0.5, SENTENCES, SENTENCES)

    assert here.held
    assert not elsewhere.held
    assert (elsewhere.card, elsewhere.steps) == ("T06", ("Listen to the radio.",))


async def test_the_step_is_told_in_the_language_of_the_question(folder):
    verdict = await open_scope(folder).judge("wer hat die Wahl gewonnen", "de", 0.5, ["Koche Wasser."], [])

    assert verdict.steps == ("Höre Radio.",)


async def test_what_all_questions_share_does_not_count(folder):
    engines = FakeEngines()
    asked = Likeness(engines, "model", SeedVectors())
    middle = tuple((await asked.vectors(["how do i do that please"]))["how do i do that please"])
    centred = Middles(middle, (0.0,) * 384, (0.0,) * 384)
    (folder / "scope.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(MODEL, middles={"de": centred, "en": centred}))
    )

    verdict = await open_scope(folder, engines).judge(
        "how do i do that please", "en", 0.5, ["how do i do that please"], []
    )

    assert verdict.probability == pytest.approx(0.5, abs=0.01)  # nothing is left that could be near to anything


@pytest.mark.parametrize("missing", ["embedder", "model file", "limits file", "sentences", "other embedder"])
async def test_where_something_is_missing_the_search_alone_decides(folder, missing):
    engines = FakeEngines()
    if missing == "embedder":
        engines.missing.add("embed")
    if missing.endswith("file"):
        (folder / ("scope.json" if missing.startswith("model") else "limits.toml")).unlink()
    scope = open_scope(folder, engines, "other" if missing == "other embedder" else "model")

    verdict = await scope.judge("anything", "en", 0.7, [] if missing == "sentences" else SENTENCES, [])

    assert verdict.probability == 0.7


@pytest.mark.parametrize(
    ("name", "content"),
    [("limits.toml", "kind = 3"), ("limits.toml", "]["), ("scope.json", "{"), ("scope.json", '{"bias": "x"}')],
)
async def test_a_damaged_file_leaves_the_search_to_decide(folder, name, content):
    (folder / name).write_text(content, encoding="utf-8")

    assert (await open_scope(folder).judge("news", "en", 0.7, SENTENCES, [])).probability == 0.7


def test_each_sign_moves_the_verdict_its_way():
    middle = Signs(0.0, 0.5, 0.5, 0.5, 0.5, "")
    even = weigh(MODEL, middle)

    for name, sign in (("confidence", 1), ("near", 1), ("elsewhere", -1), ("twin_near", 1), ("twin_elsewhere", -1)):
        moved = weigh(MODEL, msgspec.structs.replace(middle, **{name: getattr(middle, name) + 0.3}))
        assert (moved - even) * sign > 0, name


def test_no_sign_leaves_the_range_of_probabilities():
    assert (
        0
        <= weigh(MODEL, Signs(-99.0, -1.0, 1.0, -1.0, 1.0, ""))
        < weigh(MODEL, Signs(99.0, 1.0, -1.0, 1.0, -1.0, ""))
        <= 1
    )


async def test_texts_are_embedded_once():
    engines = FakeEngines()
    near = likeness(engines)

    first = await near.near("water", ["boil water", "drink water"])
    again = await near.near("water", ["boil water", "drink water", "hot water"])

    embedded = [text for item in engines.history if item.kind == "embed" for text in item.request]
    assert sorted(embedded) == ["boil water", "drink water", "hot water", "water"]
    assert all(item.model == "query" for item in engines.history)
    assert again["boil water"] == first["boil water"]


async def test_a_line_of_a_document_is_embedded_as_a_passage(folder):
    engines = FakeEngines()
    near = likeness(engines)

    await near.near("water", ["water main"])
    await near.passages_near("water", ["water main"])

    made = [(text, item.model) for item in engines.history if item.kind == "embed" for text in item.request]
    assert made == [("water", "query"), ("water main", "query"), ("water main", "passage")]


async def test_vectors_that_ship_are_not_made_again(tmp_path):
    engines = FakeEngines()
    vector = (await engines.embed(["boil water"], query=True)).data
    (tmp_path / "likeness.bin").write_bytes(write_seeds(likeness_model("model"), {"boil water": vector}))
    engines.history.clear()

    near = await likeness(engines, read_likeness(tmp_path)).near("boil water", ["boil water", "fish"])

    assert [item.request for item in engines.history] == [("fish",)]
    assert near["boil water"] == pytest.approx(1.0, abs=0.02)
    assert near["fish"] < 0.9


async def test_vectors_of_another_embedder_are_not_used(tmp_path):
    engines = FakeEngines()
    vector = (await engines.embed(["boil water"], query=True)).data
    (tmp_path / "likeness.bin").write_bytes(write_seeds("other?", {"boil water": vector}))
    engines.history.clear()

    await likeness(engines, read_likeness(tmp_path)).near("q", ["boil water"])

    assert engines.history[0].request == ("q", "boil water")


def test_a_damaged_file_of_vectors_is_as_good_as_none(tmp_path):
    (tmp_path / "likeness.bin").write_bytes(b"HNVEC\x001\n" + b"\xff" * 5)

    assert len(read_likeness(tmp_path)) == 0


async def test_a_missing_embedder_is_said():
    engines = FakeEngines()
    engines.missing.add("embed")

    with pytest.raises(Unavailable):
        await likeness(engines).near("q", ["a"])
