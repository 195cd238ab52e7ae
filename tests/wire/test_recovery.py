"""The key on paper: the words of BIP-39, read back from what people type (M01)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import BadRequest
from hearthnet.wire.identity import KeyPair, short_id
from hearthnet.wire.recovery import read_sheet, write_sheet
from hearthnet.wire.recovery_words import WORDS

# BIP-39, published test vectors of 256 bits
VECTORS = {
    "00" * 32: "abandon " * 23 + "art",
    "7f" * 32: "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title",
    "80" * 32: "letter advice cage absurd amount doctor acoustic avoid " * 2
    + "letter advice cage absurd amount doctor acoustic bless",
    "ff" * 32: "zoo " * 23 + "vote",
    "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c": (
        "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel tennis maple"
        " dilemma loan word shrug inflict delay length"
    ),
}
KEY = KeyPair(bytes(range(32)))
TYPED = [row.word for row in write_sheet(KEY).rows]


def test_the_list_is_the_one_of_bip39():
    assert len(WORDS) == len({word[:4] for word in WORDS}) == 2048
    assert list(WORDS) == sorted(WORDS)
    assert (WORDS[0], WORDS[1023], WORDS[2047]) == ("abandon", "lend", "zoo")


@pytest.mark.parametrize("seed", VECTORS)
def test_published_vectors(seed):
    rows = write_sheet(KeyPair(bytes.fromhex(seed))).rows
    assert " ".join(row.word for row in rows) == VECTORS[seed].strip()
    assert [row.place for row in rows] == list(range(1, 25))
    assert read_sheet(VECTORS[seed]).seed.hex() == seed


@given(st.binary(min_size=32, max_size=32), st.randoms(use_true_random=False))
def test_words_numbers_short_forms_and_any_layout_are_read(seed, random):
    sheet = write_sheet(KeyPair(seed))
    typed = [random.choice([row.word, row.word.upper(), row.word[:4], str(row.number)]) for row in sheet.rows]
    text = "".join(item + random.choice([" ", "\n", ", ", "  -  "]) for item in typed)
    assert read_sheet(text, sheet.short_id).seed == seed
    assert read_sheet(text).seed == seed


@pytest.mark.parametrize("place", [0, 11, 23])
def test_one_unreadable_word_is_found_with_the_short_id(place):
    typed = [*TYPED[:place], "?", *TYPED[place + 1 :]]
    assert read_sheet(" ".join(typed), short_id(KEY.node_id)).seed == KEY.seed
    assert read_sheet(" ".join(typed), short_id(KEY.node_id).lower().replace("-", " ")).seed == KEY.seed
    with pytest.raises(BadRequest, match="short id"):
        read_sheet(" ".join(typed))
    with pytest.raises(BadRequest, match=f"place {place + 1}"):
        read_sheet(" ".join(typed), short_id(KeyPair(bytes(32)).node_id))


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ([], "0 words"), (TYPED[:-1], "23 words"), ([*TYPED, "zoo"], "25 words"), (["?", "?", *TYPED[2:]], "one place"),
        ([TYPED[1], TYPED[0], *TYPED[2:]], "do not fit"), ([*TYPED[:5], "kirche", *TYPED[6:]], "place 6"),
        ([*TYPED[:5], "zo", *TYPED[6:]], "place 6: 'zo' is none of the words .*zoo"), ([*TYPED[:5], "0", *TYPED[6:]], "place 6"),
        ([*TYPED[:5], "2049", *TYPED[6:]], "place 6"), (["word"] * 900, "far more"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(typed, reason):
    with pytest.raises(BadRequest, match=reason) as caught:
        read_sheet(" ".join(typed))
    assert caught.value.fix


def test_the_words_of_another_node_are_noticed():
    with pytest.raises(BadRequest, match="another node"):
        read_sheet(" ".join(TYPED), short_id(KeyPair(bytes(32)).node_id))


@given(st.integers(0, 23), st.sampled_from(WORDS))
def test_a_wrong_word_gives_never_this_key(place, word):
    typed = [*TYPED[:place], word, *TYPED[place + 1 :]]
    if typed != TYPED:
        try:
            found = read_sheet(" ".join(typed), short_id(KEY.node_id))
        except BadRequest:
            return
        assert found.seed == KEY.seed, "only an equal key may pass"
