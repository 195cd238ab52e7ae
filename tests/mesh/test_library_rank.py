"""Words against meaning, and what a search's confidence looks at."""

from __future__ import annotations

import math
import struct

import pytest

from hearthnet.adapters.vectors_fake import FakeVectors
from hearthnet.base.errors import BadRequest
from hearthnet.mesh.library_confidence import (
    CARDS,
    Confidence,
    ConfidenceModel,
    Weights,
    features_of,
    read_confidence,
    subtract,
)
from hearthnet.mesh.library_rank import Lexical, Ranked, fuse, rarity, refine
from hearthnet.mesh.library_seed import SeedVectors, seed_text, write_seeds
from hearthnet.mesh.library_vectors import Dense, Nearness, blend_fine


def near(value):
    return Nearness(window=value, window_sum=value, windows=1)


def dense(**chunks):
    return Dense({int(name[1:]): near(value) for name, value in chunks.items()}, 0.5)


def order(*how):
    return [item.chunk for item in fuse(*how, {})]


def test_a_rare_shared_word_outweighs_a_little_meaning():
    lexical = Lexical({2: 25.0}, {"giftnotruf": 6.0, "nummer": 5.0})
    assert order(dense(c1=0.80, c2=0.78), lexical) == [2, 1]


def test_a_common_shared_word_does_not():
    lexical = Lexical({2: 0.4}, {"system": 0.2})
    assert order(dense(c1=0.80, c2=0.785), lexical) == [1, 2]


def test_a_query_whose_words_are_not_in_the_library_is_ranked_by_meaning():
    lexical = Lexical({}, {"Stromausfall": 6.0})
    assert order(dense(c1=0.7, c2=0.8, c3=0.75), lexical) == [2, 3, 1]


def test_without_meaning_words_rank_alone():
    assert order(None, Lexical({1: 3.0, 2: 5.0}, {"pump": 4.0})) == [2, 1]


def test_a_twin_in_the_other_language_bears_witness():
    found = dense(c1=0.80, c2=0.80, c3=0.70, c4=0.78)
    ranked = [item.chunk for item in fuse(found, Lexical({}, {}), {1: 3, 2: 4})]
    assert ranked.index(2) < ranked.index(1)


def test_of_several_windows_the_best_counts_most_but_all_count():
    one = Nearness(window=0.8, window_sum=0.8 + 0.2, windows=2)
    two = Nearness(window=0.8, window_sum=0.8 + 0.7, windows=2)
    assert one.value() < two.value() < 0.8


def test_of_fine_units_the_opening_counts_beside_the_best():
    assert blend_fine([0.8, 0.6, 0.6]) > blend_fine([0.6, 0.8, 0.6]) > blend_fine([0.6, 0.6, 0.6])
    assert blend_fine([0.7]) == pytest.approx(0.7)


def test_sentences_reorder_the_first_and_leave_the_rest():
    ranked = [Ranked(chunk, score, score, 0.0) for chunk, score in ((1, 0.8), (2, 0.79), (3, 0.5))]
    assert [item.chunk for item in refine(ranked, {1: 0.7, 2: 0.85})] == [2, 1, 3]


def test_a_word_in_every_chunk_is_hardly_rare():
    assert rarity(100, 99) < 0.01 < rarity(100, 50) + 0.02 < rarity(100, 1)


def test_features_tell_the_lead_of_the_first():
    ranked = [Ranked(1, 0.9, 0.85, 0.5), Ranked(2, 0.8, 0.8, 0.0)]
    found = features_of(dense(c1=0.85), Lexical({1: 2.0}, {"a": 1.0, "b": 3.0}), ranked)
    assert found["lead"] == pytest.approx(0.1)
    assert (found["asked_words"], found["rarest"], found["words"]) == (2.0, 3.0, 0.5)


MEAN = (0.5, 0.5, 0.5, 0.5)


def make_confidence(model="m"):
    def floats(*row):
        length = math.hypot(*row)
        return struct.pack("<4f", *(value / length for value in row))

    rows = {"a": floats(1, -1, 0, 0), "b": floats(-1, 1, 0, 0)}
    seeds = SeedVectors(write_seeds(model, rows))
    order = [1.0 if seeds.find(model, "a") == row else -1.0 for row in seeds.rows()]
    weights = {CARDS: Weights(("likeness", "meaning"), (4.0, 1.0), -0.5)}
    made = ConfidenceModel("test", model, {"en": MEAN, "de": MEAN}, 0.5, tuple(order), weights)
    return Confidence(made, seeds, FakeVectors), floats


def test_a_question_like_answered_ones_is_trusted_more():
    confidence, floats = make_confidence()
    liked = confidence.likeness("m", floats(1.5, -0.5, 0.5, 0.5), "en")
    not_liked = confidence.likeness("m", floats(-0.5, 1.5, 0.5, 0.5), "")
    assert liked > 0.3
    assert not_liked < -0.3
    sure, unsure = (confidence.estimate(CARDS, {"likeness": value, "meaning": 0.5}) for value in (liked, not_liked))
    assert sure - unsure > 0.4


def test_another_embedder_has_no_mean_question_and_no_likeness():
    confidence, floats = make_confidence()
    assert confidence.mean_question("other", "en") is None
    assert confidence.likeness("other", floats(1, 0, 0, 0), "en") == 0.0


def test_a_kind_that_was_not_fitted_gives_no_confidence():
    assert make_confidence()[0].estimate("documents", {}) == 0.0


def test_the_mean_question_is_taken_off_and_the_rest_has_length_one():
    moved = struct.unpack("<4f", subtract(struct.pack("<4f", 1, 0, 0, 0), MEAN, 0.5))
    assert math.hypot(*moved) == pytest.approx(1)
    assert moved[1] < 0 < moved[0]


def test_without_files_there_is_no_model(tmp_path):
    assert read_confidence(tmp_path, FakeVectors).mean_question("m", "en") is None


def test_shipped_vectors_come_back_nearly_as_they_were():
    row = struct.pack("<4f", 0.1, -0.2, 0.97, 0.05)
    seeds = SeedVectors(write_seeds("m", {seed_text("water", as_query=False): row}))
    found = seeds.find("m", "passage: water")
    assert struct.unpack("<4e", found) == pytest.approx((0.1, -0.2, 0.97, 0.05), abs=0.005)
    assert seeds.find("m", "query: water") is None
    assert seeds.find("other", "passage: water") is None


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_file_of_vectors_that_is_cut_off_is_refused(cut):
    whole = write_seeds("m", {"water": struct.pack("<4f", 1, 0, 0, 0)})
    with pytest.raises(BadRequest):
        SeedVectors(whole[:-cut])
