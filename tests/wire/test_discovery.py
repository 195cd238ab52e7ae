"""Hints on the local network: read back, bounded, without names of people (M02)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import BadRequest
from hearthnet.wire.discovery import (
    HINT_MAX_BYTES,
    TXT_CAPS_MAX_BYTES,
    Hint,
    decode_hint,
    decode_txt,
    encode_hint,
    encode_txt,
    instance_name,
)
from hearthnet.wire.identity import KeyPair

KEYS = st.binary(min_size=32, max_size=32).map(lambda seed: KeyPair(seed).node_id)
NAMES = st.from_regex(r"[a-z_]{1,12}(\.[a-z_]{1,12}){1,3}", fullmatch=True)
HINTS = st.builds(
    Hint, KEYS, KEYS, st.integers(1, 65535), st.lists(NAMES, max_size=64).map(tuple), st.integers(0, 2**53 - 1)
)
NODE = KeyPair(bytes(32)).node_id
HINT = Hint(NODE, NODE, 7080, ("rag.query",), 3)


@given(HINTS)
def test_datagrams_read_back_and_fit(hint):
    data = encode_hint(hint)
    found = decode_hint(data)
    assert len(data) <= HINT_MAX_BYTES
    assert (found.node, found.community, found.port, found.rev) == (hint.node, hint.community, hint.port, hint.rev)
    assert found.caps == hint.caps[: len(found.caps)]


def test_capabilities_are_cut_only_where_they_do_not_fit():
    assert decode_hint(encode_hint(HINT)) == HINT


@given(HINTS)
def test_txt_records_read_back_and_each_string_fits_a_txt_string(hint):
    record = encode_txt(hint, "hearth", "1.0", "https://hearthnet-abc.local:7080/manifest")
    assert all(len(f"{key}={value}".encode()) <= 255 for key, value in record.items())
    assert len(record["caps"]) <= TXT_CAPS_MAX_BYTES
    found = decode_txt({key.encode(): value.encode() for key, value in record.items()}, hint.port)
    assert (found.node, found.port, found.rev) == (hint.node, hint.port, hint.rev)
    assert found.caps == hint.caps[: len(found.caps)]


def test_members_of_later_versions_are_ignored():
    fields = {**json.loads(encode_hint(HINT)), "later": [1, 2]}
    assert decode_hint(json.dumps(fields).encode()) == HINT


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"v": None}, {"node": "ed25519:short"}, {"port": 0}, {"port": 70000}, {"caps": ["x" * 200 + ".y"]}],
)
def test_unfit_hints_are_refused(change):
    with pytest.raises(BadRequest):
        decode_hint(json.dumps({**json.loads(encode_hint(HINT)), **change}).encode())


@given(st.binary(max_size=1200))
def test_garbage_is_refused(data):
    with pytest.raises(BadRequest):
        decode_hint(data)


@pytest.mark.parametrize(
    "change",
    [{b"v": b"2"}, {b"v": None}, {b"node": b"\xff"}, {b"node": b""}, {b"caps": b"<script>"}, {b"community": None}],
)
def test_unfit_records_are_refused(change):
    record = {key.encode(): value.encode() for key, value in encode_txt(HINT, "hearth", "1.0", "").items()}
    with pytest.raises(BadRequest):
        decode_txt({**record, **change}, 7080)


def test_a_record_without_revision_is_read():
    record = {key.encode(): value.encode() for key, value in encode_txt(HINT, "hearth", "1.0", "").items()}
    assert decode_txt({**record, b"rev": b"x"}, 7080).rev == 0


def test_the_instance_name_tells_nothing_but_the_key():
    assert instance_name(HINT) == f"hearthnet-{NODE[8:16].lower()}._hearthnet._tcp.local."
