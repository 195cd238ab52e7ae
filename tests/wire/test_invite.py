"""Invitations: what was signed is read from text and link, everything else is refused with a reason (M13)."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import BadRequest, InvalidSignature, InviteeMismatch, InviteExpired, InviteInvalid
from hearthnet.wire import canonical
from hearthnet.wire.identity import Domain, KeyPair, short_id
from hearthnet.wire.invite import (
    INVITE_MAX_BYTES,
    IdentityCard,
    InviteBlob,
    check_proof,
    link_of,
    prove_bearer,
    read_identity,
    read_invite,
    write_identity,
    write_invite,
)
from hearthnet.wire.manifest import Endpoint
from hearthnet.wire.signed_object import sign_object
from hearthnet.wire.timestamp import parse_time

INVITER, NEWCOMER, OTHER = (KeyPair(bytes([number]) * 32) for number in (1, 2, 3))
HOME = "http://192.168.178.23:7860"


def blob(**changes):
    fields = {
        "community_id": INVITER.node_id, "community_name": "Kirchgasse", "inviter_node_id": INVITER.node_id,
        "invitee_node_id": NEWCOMER.node_id, "bootstrap_endpoints": (Endpoint("https", "192.168.178.23", 7080),),
        "expires_at": "2026-12-01T00:00:00Z",
    }  # fmt: skip
    return InviteBlob(**{**fields, **changes})


def bearer(**changes):
    return blob(invitee_node_id="", secret=InviteBlob.make_secret(bytes(range(16))), **changes)


NAMED, BEARER = write_invite(INVITER, blob()), write_invite(INVITER, bearer())


def payload(text):
    data = text.removeprefix("hearthnet://v1/")
    return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))


def resigned(change, key=INVITER):
    fields = {**json.loads(payload(NAMED)), **change}
    fields = {name: value for name, value in fields.items() if value is not ... and name != "signature"}
    return text_of(sign_object(key, Domain.INVITE, fields.get("community_id", INVITER.node_id), fields))


def text_of(data):
    return "hearthnet://v1/" + base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("text", [NAMED, BEARER])
def test_what_was_written_is_read_from_text_link_and_broken_lines(text):
    found = read_invite(text)
    assert found.inviter_node_id == INVITER.node_id
    assert found.initial_level == "member"
    assert bool(found.secret) is (text is BEARER)
    for other in (link_of(text, HOME), link_of(text, HOME + "/"), text[:40] + "\n  " + text[40:]):
        assert read_invite(other) == found
    assert link_of(text, HOME).startswith(HOME + "/join#")
    assert len(payload(text)) < INVITE_MAX_BYTES


def test_what_does_not_fit_is_left_out_but_one_address_stays():
    name = "Nachbarschaftshilfe Obere Kirchgasse und Umgebung e. V."
    endpoints = tuple(Endpoint("https", f"192.168.178.{number}", 7080) for number in range(200, 204))
    found = read_invite(write_invite(INVITER, blob(community_name=name, bootstrap_endpoints=endpoints)))
    assert found.bootstrap_endpoints == endpoints[:1]
    assert name.startswith(found.community_name)
    with pytest.raises(BadRequest, match="too long"):
        write_invite(INVITER, blob(bootstrap_endpoints=(Endpoint("https", "h" * 200, 7080),)))


def test_a_named_invitation_is_for_one_device_a_bearer_one_for_who_holds_it():
    assert read_invite(NAMED, reader=NEWCOMER.node_id).invitee_node_id == NEWCOMER.node_id
    with pytest.raises(InviteeMismatch):
        read_invite(NAMED, reader=OTHER.node_id)
    assert read_invite(BEARER, reader=OTHER.node_id).secret


def test_expiry_is_asked_only_of_a_clock():
    end = parse_time("2026-12-01T00:00:00Z")
    assert read_invite(NAMED, now=end)
    assert read_invite(NAMED)
    with pytest.raises(InviteExpired):
        read_invite(NAMED, now=end + 1)


def test_the_proof_is_for_one_newcomer_one_invitation_one_community():
    invite = read_invite(BEARER)
    key = invite.bearer_key.node_id
    proof = prove_bearer(invite, NEWCOMER.node_id)
    check_proof(key, INVITER.node_id, NEWCOMER.node_id, proof)
    other = read_invite(
        write_invite(INVITER, msgspec.structs.replace(bearer(), secret=InviteBlob.make_secret(bytes(16))))
    )
    for args in (
        (key, INVITER.node_id, OTHER.node_id, proof),
        (other.bearer_key.node_id, INVITER.node_id, NEWCOMER.node_id, proof),
        (key, OTHER.node_id, NEWCOMER.node_id, proof),
    ):
        with pytest.raises(InvalidSignature):
            check_proof(*args)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2}, {"schema_version": ...}, {"invitee_node_id": ...}, {"secret": "A" * 22}, {"secret": "short"},
        {"community_name": ""}, {"bootstrap_endpoints": []}, {"expires_at": "2026-02-31T00:00:00Z"}, {"expires_at": ...},
        {"initial_level": "king"}, {"inviter_node_id": OTHER.node_id}, {"community_id": "ed25519:" + "A" * 42 + "B"},
        {"invitee_node_id": "ed25519:x"}, {"bootstrap_endpoints": [{"transport": "https", "host": "a", "port": 0}]},
    ],
)  # fmt: skip
def test_a_signed_invitation_that_breaks_a_rule_is_refused(change):
    with pytest.raises(InviteInvalid):
        read_invite(resigned(change))


def test_members_that_a_newer_version_adds_are_kept_under_the_signature():
    assert read_invite(resigned({"motto": "hi", "community_name": "K"})).community_name == "K"


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", "hearthnet://v2/abc", "hearthnet://v1/", "hearthnet://v1/%%%", "hearthnet://v1/A", NAMED[:-1], NAMED[:-9],
        NAMED + "AA", NAMED.replace("hearthnet:", "https:"), HOME + "/join#", HOME + "/leave#" + NAMED[15:],
        "http://" + "a" * 400 + "/join#" + NAMED[15:], "hearthnet://v1/" + "A" * 5000, text_of(b"[]"), text_of(b'"x"'),
        text_of(b"{ }"), text_of(json.dumps({"a": 1}).encode()), text_of(b"\xff"), write_identity(IdentityCard(NEWCOMER.node_id, "x")),
    ],
)  # fmt: skip
def test_damaged_and_foreign_text_is_refused_with_a_reason(text):
    with pytest.raises(InviteInvalid) as caught:
        read_invite(text)
    assert caught.value.detail
    assert caught.value.fix


@given(st.integers(0, len(NAMED) - 1), st.sampled_from("AZaz09_-"))
def test_one_wrong_character_never_passes(at, letter):
    wrong = NAMED[:at] + letter + NAMED[at + 1 :]
    if wrong != NAMED:
        with pytest.raises(InviteInvalid):
            read_invite(wrong)


@given(st.text(max_size=400) | st.binary(max_size=500).map(text_of))
def test_chance_is_no_invitation(text):
    with pytest.raises(InviteInvalid):
        read_invite(text)
    with pytest.raises(InviteInvalid):
        read_identity(text.replace("hearthnet://", "hearthnet-id://"))


def test_a_device_card_is_read_back():
    card = IdentityCard(NEWCOMER.node_id, "Küche, Gartenstraße 3")
    text = write_identity(card)
    assert read_identity(text) == card
    assert read_identity(text[:30] + " \n" + text[30:]) == card
    for bad in (text[:-2], NAMED, "hearthnet-id://v1/", text_of(b"{}").replace("://", "-id://")):
        with pytest.raises(InviteInvalid):
            read_identity(bad)
    short = canonical.encode({"node_id_full": short_id(NEWCOMER.node_id), "display_name": ""})
    with pytest.raises(InviteInvalid):
        read_identity(text_of(short).replace("hearthnet:", "hearthnet-id:"))
