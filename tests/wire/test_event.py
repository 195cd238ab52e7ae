"""Event v2: one signed form per event, and nothing else gets in (X02)."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.constants import EVENT_MAX_BYTES
from hearthnet.base.errors import (
    BadRequest,
    EventRejected,
    HearthNetError,
    InvalidSignature,
    NotCanonical,
    SchemaMismatch,
)
from hearthnet.wire import canonical
from hearthnet.wire.chain import ChainEntry
from hearthnet.wire.chat import (
    MessageDelivered,
    MessageRead,
    MessageSent,
    OneTimePrekey,
    PrekeysPublished,
    SealedBody,
    SealHeader,
    SessionBroken,
    SignedPrekey,
)
from hearthnet.wire.cid import cid_of
from hearthnet.wire.co_signature import co_sign
from hearthnet.wire.community import (
    CommunityCreated,
    CommunityPolicy,
    KnownHead,
    MemberDemoted,
    MemberInvited,
    MemberJoined,
    MemberLeft,
    MemberPromoted,
    MemberRevoked,
    PolicyUpdated,
    RootSucceeded,
)
from hearthnet.wire.event import Sealed, draft_event, open_event, seal_event, verify_event
from hearthnet.wire.event_types import (
    EVENT_TYPES,
    CidAdvertised,
    CidUnpinned,
    DocumentIngested,
    ManifestUpdated,
)
from hearthnet.wire.identity import Domain, KeyPair, signing_input
from hearthnet.wire.market import Place, PostCreated, PostExpired, PostFields, PostUpdated

KEY = KeyPair(bytes(range(32)))
ULID = "01HZX3M7Q8N5V2K4T6W9YB0CDE"
DOCUMENT = DocumentIngested("personal", cid_of(b"doc"), "Wasser für alle", "de", 17)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
OBJECTS = st.dictionaries(TEXT, st.none() | TEXT | st.floats(allow_nan=False, allow_infinity=False), max_size=3)

SAMPLES = [
    CommunityCreated("Hausgemeinschaft", KEY.node_id, CommunityPolicy(research={"enable": False})),
    MemberInvited(KEY.node_id, "Anna", "member", "2026-12-01T00:00:00Z"),
    MemberJoined(ULID, {"load": {"cpu": 0.25}}),
    PolicyUpdated(CommunityPolicy(min_signatures_to_revoke=2)),
    MemberPromoted(KEY.node_id, "trusted", KnownHead(0, 3, cid_of(b"head")), "2026-12-01T00:00:00Z", (cid_of(b"a"),)),
    MemberDemoted(KEY.node_id, "member", "inactive", KnownHead(), "2026-12-01T00:00:00Z"),
    MemberRevoked(
        KEY.node_id,
        "compromised",
        KnownHead(),
        "2026-12-01T00:00:00Z",
        (cid_of(b"a"), cid_of(b"b")),
        (co_sign(KEY, KEY.node_id, MemberRevoked(KEY.node_id, "other", KnownHead(), "2026-12-01T00:00:00Z")),),
    ),
    MemberLeft((cid_of(b"a"),)),
    RootSucceeded(KEY.node_id, "lost", "2026-12-01T00:00:00Z"),
    ManifestUpdated({"hardware": {"ram_gb": 7.5}, "😀": 1, "\uffff": 2}),
    CidAdvertised(cid_of(b"blob"), (262_144, 5)),
    CidUnpinned(cid_of(b"blob")),
    DOCUMENT,
    MessageSent("form-1", KEY.node_id, SealedBody(e2e=True, header=SealHeader(0, "A" * 43), ciphertext="c2VhbGVk")),
    MessageDelivered(ULID, "2026-12-01T00:00:00Z"),
    MessageRead(ULID, "2026-12-01T00:00:00Z"),
    PrekeysPublished("A" * 43, SignedPrekey("B" * 43), (OneTimePrekey(KEY.node_id, "C" * 43),)),
    SessionBroken(KEY.node_id, ULID),
    PostCreated("form-2", "offer", "Kerzen", "Zehn Stück.", Place("Brunnen", 50.1, 8.625), ("Licht",)),
    PostUpdated("form-3", ULID, PostFields(title="Große Kerzen")),
    PostExpired("form-4", ULID, "fulfilled"),
]


def seal(data=DOCUMENT, key=KEY, **changes):
    fields = {"community_id": KEY.node_id, "event_id": ULID, "lamport": 7, "now": 1.7e9, "after": None}
    return seal_event(key, data, **{**fields, **changes})


def resigned(change, key=KEY):
    """A sealed event with changed fields, signed again: only the rules can refuse it."""
    fields = {**json.loads(seal().wire), **change}
    fields = {name: value for name, value in fields.items() if value is not ... and name != "signature"}
    body = canonical.encode(fields)
    return canonical.encode({**fields, "signature": key.sign(Domain.EVENT, KEY.node_id, body)})


def check(wire):
    sealed = open_event(wire)
    verify_event(sealed)
    return sealed.data


# ---- what is accepted ----------------------------------------------------------------------------------------


def test_every_event_type_has_a_sample_that_survives_the_wire():
    assert {type(data) for data in SAMPLES} == set(EVENT_TYPES.values())
    for data in SAMPLES:
        sealed = seal(data)
        assert check(sealed.wire) == data
        assert open_event(sealed.wire).entry == sealed.entry


def test_what_was_checked_elsewhere_reads_the_same():
    for data in SAMPLES:
        sealed = seal(data)
        assert Sealed.of_checked(sealed.wire, sealed.hash) == open_event(sealed.wire)


def test_a_draft_has_its_place_before_it_is_signed():
    fields = {"community_id": KEY.node_id, "event_id": ULID, "now": 1.7e9}
    first = draft_event(KEY.node_id, DOCUMENT, lamport=7, after=None, **fields)
    second = draft_event(KEY.node_id, DOCUMENT, lamport=8, after=first.entry, **fields)
    assert first.seal(KEY) == seal()
    assert second.seal(KEY).event.prev == first.hash == first.seal(KEY).hash
    assert check(second.seal(KEY).wire) == DOCUMENT


@pytest.mark.parametrize(
    "data", [DocumentIngested("personal", cid_of(b"x"), "\ud800", "en", 1), ManifestUpdated({"x": "\ud800"})]
)
def test_own_data_that_has_no_canonical_form_is_not_signed(data):
    with pytest.raises(NotCanonical):
        seal(data)


def test_data_that_is_canonical_but_spelled_another_way_is_refused():
    fields = json.loads(seal().wire)
    swapped = json.dumps(dict(reversed(fields["data"].items())), separators=(",", ":"), ensure_ascii=False)
    spaced = json.dumps(fields["data"], ensure_ascii=False)
    twice = json.dumps(fields["data"], separators=(",", ":"), ensure_ascii=False).replace(
        '"chunks":17', '"chunks":17,"chunks":17'
    )
    for data in (swapped, spaced, twice):
        wire = seal().wire.replace(canonical.encode(fields["data"]), data.encode())
        assert wire != seal().wire
        with pytest.raises(BadRequest):
            open_event(wire)


def test_the_bytes_are_the_canonical_form_and_the_hash_covers_what_is_signed():
    sealed = seal()
    fields = json.loads(sealed.wire)
    assert canonical.encode(fields) == sealed.wire
    del fields["signature"]
    assert cid_of(signing_input(Domain.EVENT, KEY.node_id, canonical.encode(fields))) == sealed.hash
    assert {"prev", "author_epoch", "expires_at"}.isdisjoint(fields)


def test_the_next_event_names_the_one_before():
    first = seal()
    second = seal(after=first.entry, lamport=8, author_epoch=2, expires_at=1.7e9 + 60).event
    assert (second.author_seq, second.prev, second.author_epoch) == (2, first.hash, 2)
    assert (second.wall_clock, second.expires_at) == ("2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z")


@given(
    data=st.builds(
        DocumentIngested,
        corpus=st.from_regex("[a-z0-9-]{1,64}", fullmatch=True), doc_cid=st.builds(cid_of, st.binary()), title=TEXT,
        language=st.text("abcdefg", max_size=16), chunks=st.integers(0, 2**53 - 1),
    ) | st.builds(ManifestUpdated, OBJECTS),
    after=st.none() | st.builds(
        ChainEntry, author_epoch=st.just(0), author_seq=st.integers(1, 2**53 - 2), hash=st.builds(cid_of, st.binary()),
        lamport=st.integers(1, 6),
    ),
    now=st.floats(), epoch=st.integers(0, 9), expires_at=st.none() | st.floats(0, 1e12),
)  # fmt: skip
def test_whatever_can_be_sealed_opens_verifies_and_reads_back(data, after, now, epoch, expires_at):
    sealed = seal(data, after=after, now=now, author_epoch=epoch, expires_at=expires_at)
    opened = open_event(sealed.wire)
    verify_event(opened)
    assert opened.data == sealed.data == data
    assert (opened.hash, opened.wire, opened.entry) == (sealed.hash, sealed.wire, sealed.entry)


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["author", "lamport", "community_id", "event_id", "wall_clock", "data"])
def test_no_field_can_be_changed_after_signing(name):
    fields = json.loads(seal().wire)
    other = KeyPair(bytes(32)).node_id
    fields[name] = {
        "author": other, "lamport": 8, "community_id": other, "event_id": ULID[:-1] + "F", "wall_clock": "2023-11-14T22:13:21Z",
        "data": {**fields["data"], "chunks": 18},
    }[name]  # fmt: skip
    sealed = open_event(canonical.encode(fields))
    with pytest.raises(InvalidSignature):
        verify_event(sealed)


def test_an_unsigned_event_never_verifies():
    fields = json.loads(seal().wire)
    del fields["signature"]
    with pytest.raises(InvalidSignature):
        verify_event(open_event(canonical.encode(fields)))


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 1}, {"schema_version": "2"}, {"author": "ed25519:short"}, {"community_id": KEY.node_id + "\n"},
        {"event_id": ULID.lower()}, {"lamport": 0}, {"lamport": 2**53}, {"lamport": 1.5}, {"author_seq": 0}, {"author_epoch": -1},
        {"extra": 1}, {"event_type": "x" * 65}, {"prev": "sha256:00"}, {"wall_clock": "yesterday"}, {"wall_clock": ...},
        {"wall_clock": "2023-02-31T00:00:00Z"}, {"expires_at": "2023-02-31T00:00:00Z"}, {"data": ...},
        {"prev": cid_of(b"")}, {"author_seq": 2},  # prev and number must agree
        {"author_epoch": 0}, {"expires_at": ""},  # a second form of the same event
        {"event_type": "market.post.unknown"}, {"data": 5}, {"data": {}}, {"data": {**msgspec.to_builtins(DOCUMENT), "x": 1}},
        {"data": {**msgspec.to_builtins(DOCUMENT), "corpus": "UPPER"}}, {"data": {"manifest": {}}},
    ],
)  # fmt: skip
def test_a_signed_event_that_breaks_a_rule_is_refused(change):
    with pytest.raises((BadRequest, EventRejected)):
        check(resigned(change))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"author":', b'{ "author":'),
        (b'"chunks":17', b'"chunks":17,"chunks":17'),
        (b'"chunks":17', b'"chunks":17.0'),
        (b"f\xc3\xbcr", b"f\\u00fcr"),
        (b'"lamport":7', b'"lamport":7,"lamport":7'),
        (b'"lamport":7', b'"lamport":7.0'),
    ],
)
def test_another_spelling_of_a_signed_event_is_refused(old, new):
    wire = seal().wire
    assert old in wire
    with pytest.raises((BadRequest, EventRejected)):
        open_event(wire.replace(old, new))


@pytest.mark.parametrize("data", [b"[" * 60_000, b"[" * 40 + b"]" * 40, b'"\\ud800"', b'"\xff"', b"NaN"])
def test_hostile_data_inside_an_event_is_refused(data):
    with pytest.raises((BadRequest, EventRejected)):
        open_event(seal().wire.replace(b'"de"', data))


def test_an_oversized_event_is_refused_on_both_sides():
    manifest = ManifestUpdated({"text": "x" * EVENT_MAX_BYTES})
    with pytest.raises(EventRejected, match="at most"):
        seal(manifest)
    with pytest.raises(EventRejected, match="at most"):
        open_event(b" " * (EVENT_MAX_BYTES + 1))


def test_data_that_does_not_fit_its_type_is_never_signed():
    with pytest.raises(SchemaMismatch, match="corpus"):
        seal(msgspec.structs.replace(DOCUMENT, corpus="No Such Corpus"))


@given(st.integers(0, len(seal().wire) - 1), st.integers(0, 255))
def test_a_flipped_byte_never_passes(at, value):
    wire = bytearray(seal().wire)
    if wire[at] == value:
        return
    wire[at] = value
    with pytest.raises(HearthNetError):
        check(bytes(wire))


def test_stored_data_reads_back_typed():
    assert [open_event(seal(data).wire).data for data in SAMPLES] == SAMPLES
