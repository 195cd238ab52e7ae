"""Views: any order, any repetition, the same state; and what the members view says about trust."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.types import TrustLevel
from hearthnet.mesh.views import DocumentsView, MembersView
from hearthnet.wire.community import CommunityPolicy, PolicyUpdated
from mesh.log_world import ANNA, BERT, COMMUNITY, FOUNDER, Author, Village, document


def _events():
    village = Village()
    events = list(village.events)
    for number in range(9):
        author = (village.anna, village.bert, village.founder)[number % 3]
        events.append(author.seal(document(number % 3, ("personal", "garden")[number % 2], f"T{number}"), lamport=20))
        author.lamport = 20
    policies = [PolicyUpdated(CommunityPolicy(min_signatures_to_revoke=signatures)) for signatures in (2, 4)]
    return events + [village.founder.seal(policy) for policy in policies]


EVENTS = _events()


def apply_all(view, events):
    for sealed in events:
        if isinstance(sealed.data, view.kinds):
            view.apply(sealed)
    return view


@given(st.permutations(EVENTS), st.lists(st.sampled_from(EVENTS), max_size=6))
def test_every_order_and_repetition_gives_the_same_state(order, repeated):
    for make in (DocumentsView, lambda: MembersView(COMMUNITY)):
        straight, mixed = apply_all(make(), EVENTS), apply_all(make(), [*order, *repeated])
        if isinstance(straight, DocumentsView):
            assert [mixed.documents(name) for name in mixed.corpora()] == [
                straight.documents(name) for name in straight.corpora()
            ]
        else:
            assert mixed.members() == straight.members()
            assert (mixed.policy, mixed.community_name) == (straight.policy, straight.community_name)


@given(st.permutations(EVENTS), st.integers(0, len(EVENTS)))
def test_a_restored_view_goes_on_as_if_it_had_never_stopped(order, cut):
    for make in (DocumentsView, lambda: MembersView(COMMUNITY)):
        whole = apply_all(make(), order)
        before, after = apply_all(make(), order[:cut]), make()
        after.restore_state(before.snapshot_state())
        apply_all(after, order[cut:])
        if isinstance(whole, DocumentsView):
            assert {name: after.documents(name) for name in after.corpora()} == {
                name: whole.documents(name) for name in whole.corpora()
            }
        else:
            assert (after.members(), after.policy) == (whole.members(), whole.policy)


def test_the_last_word_on_a_document_counts():
    view = apply_all(DocumentsView(), EVENTS)
    newest = max((e for e in EVENTS if e.data == document(2, "personal", "T8")), key=lambda e: e.event.event_id)
    found = next(item for item in view.documents("personal") if item.doc_cid == newest.data.doc_cid)
    assert found.title == "T8"
    assert found.author == newest.event.author
    assert view.corpora() == ["garden", "personal"]
    assert view.documents("cellar") == []


def test_reset_forgets_everything():
    documents, members = apply_all(DocumentsView(), EVENTS), apply_all(MembersView(COMMUNITY), EVENTS)
    documents.reset()
    members.reset()
    assert documents.corpora() == []
    assert members.members() == []


def test_trust_follows_the_invitation():
    village = Village()
    events = village.events + village.join(Author(type(ANNA)(bytes([7]) * 32)), level="trusted")
    members = apply_all(MembersView(COMMUNITY), events)
    levels = [members.trust(node) for node in (FOUNDER.node_id, ANNA.node_id, events[-1].event.author)]
    assert levels == [TrustLevel.ANCHOR, TrustLevel.MEMBER, TrustLevel.TRUSTED]
    assert members.trust(type(ANNA)(bytes([8]) * 32).node_id) is TrustLevel.UNKNOWN


def test_a_joining_counts_only_with_its_invitation():
    village = Village()
    without = [sealed for sealed in village.events if sealed is not village.events[1]]
    members = apply_all(MembersView(COMMUNITY), without)
    assert members.member(ANNA.node_id) is None
    assert members.member(BERT.node_id) is not None
    members.apply(village.events[1])
    assert members.member(ANNA.node_id).level == "member"


def test_the_newest_policy_is_in_force():
    assert apply_all(MembersView(COMMUNITY), EVENTS).policy.min_signatures_to_revoke == 4
