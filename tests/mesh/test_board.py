"""The board as a view: the same in any order, edited and closed by those who may, alive by the reader's clock (M06)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.board import BoardView
from hearthnet.wire.market import POST_TTL_DEFAULT_S, Place, PostCreated, PostExpired, PostFields, PostUpdated
from mesh.log_world import ANNA, BERT, FOUNDER, Author

YEAR_S = 365 * 86_400


def created(title="Candles", client_id="c1", category="offer", **fields):
    return PostCreated(client_id, category, title, "Ten of them.", **fields)


class Board:
    """A view and three authors; the founder is trusted."""

    def __init__(self):
        self.clock = FakeClock()
        self.view = BoardView(self.clock, self.trust)
        self.anna, self.bert, self.founder = Author(ANNA), Author(BERT), Author(FOUNDER)

    @staticmethod
    def trust(node_id):
        return TrustLevel.TRUSTED if node_id == FOUNDER.node_id else TrustLevel.MEMBER

    def write(self, author, data, **changes):
        sealed = author.seal(data, **{"now": self.clock.now(), **changes})
        self.view.apply(sealed)
        return sealed.event.event_id

    def titles(self):
        return [post.title for post in self.view.posts()]


@pytest.fixture
def board():
    return Board()


def test_a_post_is_up_until_its_time_has_passed(board):
    board.write(board.anna, created(location=Place("Well 3", 50.1, 8.6), tags=("light",)))
    [post] = board.view.posts()
    assert (post.title, post.location.label, post.tags, post.author) == ("Candles", "Well 3", ("light",), ANNA.node_id)
    board.clock.jump(POST_TTL_DEFAULT_S + 1)
    assert board.titles() == []
    assert [post.title for post in board.view.over(ANNA.node_id)] == ["Candles"]


def test_emergencies_stand_first_then_the_newest(board):
    board.write(board.anna, created("old"))
    board.write(board.anna, created("help", "c2", "emergency"))
    board.write(board.anna, created("new", "c3"))
    assert board.titles() == ["help", "new", "old"]


def test_the_author_edits_and_nobody_else(board):
    post = board.write(board.anna, created())
    board.write(board.bert, PostUpdated("e1", post, PostFields(title="Stolen")))
    board.write(board.anna, PostUpdated("e2", post, PostFields(title="Big candles", tags=())))
    found = board.view.post(post)
    assert (found.title, found.body, found.edited_at != "") == ("Big candles", "Ten of them.", True)


def test_an_edit_may_prolong(board):
    post = board.write(board.anna, created(ttl_seconds=3600))
    board.clock.jump(3000)
    board.write(board.anna, PostUpdated("e1", post, PostFields(ttl_seconds=3600)))
    board.clock.jump(3000)
    assert board.titles() == ["Candles"]


@pytest.mark.parametrize(
    ("who", "reason", "closed"),
    [
        ("anna", "user_request", True),
        ("anna", "fulfilled", True),
        ("bert", "stale", False),
        ("bert", "withdrawn", False),
        ("founder", "moderated", True),
        ("founder", "stale", True),
        ("founder", "user_request", False),
    ],
)
def test_who_may_close_a_post(board, who, reason, closed):
    post = board.write(board.anna, created())
    board.write(getattr(board, who), PostExpired("x", post, reason))
    assert (board.view.post(post).closed == reason) is closed
    assert board.titles() == ([] if closed else ["Candles"])


@pytest.mark.parametrize("years", [-20, 20])
def test_a_post_of_an_author_whose_clock_is_years_off_lives_as_long_as_others(board, years):
    board.write(board.anna, created(), now=board.clock.now() + years * YEAR_S)
    assert board.titles() == ["Candles"]
    board.clock.jump(POST_TTL_DEFAULT_S + 1)
    assert board.titles() == []


def test_the_same_client_id_names_the_first_post(board):
    first = board.write(board.anna, created())
    board.write(board.anna, created("again"))
    assert board.view.own(ANNA.node_id, "c1").event_id == first
    assert board.view.own(BERT.node_id, "c1") is None


def test_a_snapshot_restores_everything(board):
    post = board.write(board.anna, created())
    board.write(board.anna, PostUpdated("e1", post, PostFields(body="Twelve.")))
    other = Board()
    other.view.restore_state(board.view.snapshot_state())
    assert other.view.posts() == board.view.posts()
    assert other.view.own(ANNA.node_id, "c1").event_id == post
    other.view.reset()
    assert other.view.posts() == []


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_any_order_gives_the_same_board(seed, shuffle):
    board, dice = Board(), random.Random(seed)
    events, targets = [], []
    for number in range(12):
        author = dice.choice([board.anna, board.bert, board.founder])
        kind = dice.random()
        if kind < 0.4 or not targets:
            data = created(f"post {number}", f"c{dice.randrange(4)}", dice.choice(["offer", "emergency"]))
        elif kind < 0.7:
            data = PostUpdated(f"e{number}", dice.choice(targets), PostFields(title=f"edit {number}"))
        else:
            data = PostExpired(f"x{number}", dice.choice(targets), dice.choice(["stale", "withdrawn", "moderated"]))
        sealed = author.seal(data, now=board.clock.now(), lamport=author.lamport + dice.randrange(1, 4))
        events.append(sealed)
        targets += [sealed.event.event_id] if isinstance(data, PostCreated) else []
    other = Board()
    for sealed in events:
        board.view.apply(sealed)
    for sealed in random.Random(shuffle).sample(events * 2, len(events) * 2):
        other.view.apply(sealed)
    assert other.view.posts() == board.view.posts()
    assert [other.view.post(target) for target in targets] == [board.view.post(target) for target in targets]
