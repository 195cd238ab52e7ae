"""What every vector index promises, asked of the real one and of its fake."""

from __future__ import annotations

import math
import random
import struct

import pytest

from hearthnet.adapters.vectors_fake import FakeVectors
from hearthnet.adapters.vectors_numpy import NumpyVectors
from hearthnet.base.errors import BadRequest

DIM = 8
RNG = random.Random(1)


def row(*values):
    length = math.hypot(*values)
    return [value / length for value in (*values, *[0.0] * (DIM - len(values)))]


def half(values):
    return struct.pack(f"<{DIM}e", *values)


def query(values):
    return struct.pack(f"<{DIM}f", *values)


@pytest.fixture(params=[NumpyVectors, FakeVectors])
def index(request):
    return request.param(DIM)


def test_the_nearest_come_first_and_ties_by_row(index):
    index.append([half(row(1)), half(row(0, 1)), half(row(1, 1)), half(row(1))])
    hits = index.nearest(query(row(1)), 3)
    assert hits.rows == [0, 3, 2]
    assert hits.scores == pytest.approx([1, 1, math.sqrt(0.5)], abs=1e-3)
    assert hits.mean == pytest.approx((1 + 0 + math.sqrt(0.5) + 1) / 4, abs=1e-3)


def test_more_than_there_is_gives_what_there_is(index):
    index.append([half(row(1))])
    assert index.nearest(query(row(1)), 99).rows == [0]
    assert index.nearest(query(row(1)), 0).rows == []


def test_an_empty_index_finds_nothing(index):
    assert index.nearest(query(row(1)), 5).rows == []
    assert index.scores(query(row(1)), []) == []
    assert len(index) == 0


def test_rows_can_be_narrowed(index):
    index.append([half(row(1)), half(row(0, 1)), half(row(1, 1))])
    assert index.nearest(query(row(1)), 5, [1, 2]).rows == [2, 1]


def test_scores_follow_the_rows_asked(index):
    index.append([half(row(1)), half(row(0, 1))])
    assert index.scores(query(row(0, 1)), [1, 0, 1]) == pytest.approx([1, 0, 1], abs=1e-3)


def test_rows_added_later_are_found_too(index):
    for number in range(50):
        index.append([half(row(number + 1, 50 - number))])
    assert len(index) == 50
    assert index.nearest(query(row(1)), 1).rows == [49]


def test_another_dimension_is_refused_and_adds_nothing(index):
    with pytest.raises(BadRequest):
        index.append([half(row(1)), b"\0\0"])
    assert len(index) == 0
    index.append([half(row(1))])
    with pytest.raises(BadRequest):
        index.nearest(b"\0" * 4, 1)


def test_the_real_one_finds_what_the_fake_finds_but_for_near_ties():
    rows = [half(row(*(RNG.gauss(0, 1) for _ in range(DIM)))) for _ in range(1300)]
    real, fake = NumpyVectors(DIM), FakeVectors(DIM)
    for part in (rows[:600], rows[600:601], rows[601:]):
        real.append(part)
        fake.append(part)
    wanted = query(row(*(RNG.gauss(0, 1) for _ in range(DIM))))
    found, best = real.nearest(wanted, 20), fake.nearest(wanted, 20)
    assert found.scores == pytest.approx(best.scores, abs=0.01)
    assert fake.scores(wanted, found.rows) == pytest.approx(best.scores, abs=0.02)
    assert found.mean == pytest.approx(best.mean, abs=1e-3)
    assert real.scores(wanted, range(1300)) == pytest.approx(fake.scores(wanted, range(1300)), abs=0.01)


def test_a_row_of_zeros_is_near_to_nothing():
    index = NumpyVectors(DIM)
    index.append([half([0.0] * DIM), half(row(1))])
    assert index.nearest(query(row(1)), 2).rows == [1, 0]
    assert index.scores(query(row(1)), [0]) == [0.0]
