"""Views: any order, any repetition, the same state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hearthnet.mesh.views import DocumentsView
from mesh.log_world import Village, document


def _events():
    village = Village()
    events = []
    for number in range(9):
        author = (village.anna, village.bert, village.founder)[number % 3]
        events.append(author.seal(document(number % 3, ("personal", "garden")[number % 2], f"T{number}"), lamport=20))
        author.lamport = 20
    return events


EVENTS = _events()


def apply_all(events):
    view = DocumentsView()
    for sealed in events:
        view.apply(sealed)
    return view


def content(view):
    return {name: view.documents(name) for name in view.corpora()}


@given(st.permutations(EVENTS), st.lists(st.sampled_from(EVENTS), max_size=6))
def test_every_order_and_repetition_gives_the_same_state(order, repeated):
    assert content(apply_all([*order, *repeated])) == content(apply_all(EVENTS))


@given(st.permutations(EVENTS), st.integers(0, len(EVENTS)))
def test_a_restored_view_goes_on_as_if_it_had_never_stopped(order, cut):
    before, after = apply_all(order[:cut]), DocumentsView()
    after.restore_state(before.snapshot_state())
    for sealed in order[cut:]:
        after.apply(sealed)
    assert content(after) == content(apply_all(order))


def test_the_last_word_on_a_document_counts():
    view = apply_all(EVENTS)
    newest = max((e for e in EVENTS if e.data == document(2, "personal", "T8")), key=lambda e: e.event.event_id)
    found = next(item for item in view.documents("personal") if item.doc_cid == newest.data.doc_cid)
    assert found.title == "T8"
    assert found.author == newest.event.author
    assert view.corpora() == ["garden", "personal"]
    assert view.documents("cellar") == []


def test_reset_forgets_everything():
    view = apply_all(EVENTS)
    view.reset()
    assert view.corpora() == []
