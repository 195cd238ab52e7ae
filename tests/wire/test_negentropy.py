"""Negentropy v1 against whole conversations of its reference implementation, and what hostile messages can do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import BadRequest, FrameMalformed
from hearthnet.wire.negentropy import (
    FINGERPRINT,
    ID_LIST,
    INFINITY,
    KEY_BYTES,
    SKIP,
    Range,
    bound_between,
    decode_message,
    encode_message,
)
from hearthnet.wire.ordered_keys import OrderedKeys
from hearthnet.wire.reconcile import FRAME_MIN_BYTES, Initiator, Split, respond

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "negentropy-v1.json").read_text())
CASES = {case["name"]: case for case in VECTORS["cases"]}
THRIFTY = Split(list_keys=4)


def key_of(time, id_):
    return time.to_bytes(8) + id_


def keys_of(items):
    return OrderedKeys(b"".join(sorted(key_of(time, bytes.fromhex(id_)) for time, id_ in items)))


def ids(keys):
    return sorted(key[8:].hex() for key in keys)


def wanted_ids(wanted):
    return sorted(item.ids[at : at + 32].hex() for item in wanted for at in range(0, len(item.ids), 32))


def converse(ours, theirs, *, frame_limit=0, rounds_max=2000, **options):
    """Let both talk until nothing is open; the initiator and the messages."""
    initiator = Initiator(ours, frame_limit=frame_limit, **options)
    message, messages = initiator.begin(), []
    while message is not None:
        assert len(messages) < rounds_max, "the conversation does not end"
        answer = respond(theirs, message, frame_limit=frame_limit)
        messages.append((message, answer))
        message = initiator.proceed(answer)
    return initiator, messages


# ---- the reference implementation's conversations ---------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_the_asking_side_writes_what_the_reference_writes(name):
    case = CASES[name]
    initiator = Initiator(keys_of(case["client_items"]), frame_limit=case["frame_size_limit"])
    message = initiator.begin()
    for turn in case["rounds"]:
        assert message.hex() == turn["client"]
        message = initiator.proceed(bytes.fromhex(turn["server"]))
    assert message is None
    assert ids(initiator.have) == sorted(case["have"])
    assert wanted_ids(initiator.wanted) == sorted(case["need"])


@pytest.mark.parametrize("name", CASES)
def test_the_asked_side_writes_what_the_reference_writes(name):
    case = CASES[name]
    keys = keys_of(case["server_items"])
    for turn in case["rounds"]:
        answer = respond(keys, bytes.fromhex(turn["client"]), frame_limit=case["frame_size_limit"])
        assert answer.hex() == turn["server"]


@pytest.mark.parametrize("name", CASES)
def test_messages_survive_decoding(name):
    for turn in CASES[name]["rounds"]:
        for text in turn.values():
            assert encode_message(decode_message(bytes.fromhex(text))).hex() == text


def test_another_version_is_answered_with_ours_and_refused_from_the_asked_side():
    assert respond(OrderedKeys(), b"\x62\x00\x00\x02\x00") == b"\x61"
    with pytest.raises(FrameMalformed, match="negentropy"):
        Initiator(OrderedKeys()).proceed(b"\x62")


# ---- any two sets -------------------------------------------------------------------------------------------------

# an id has one time only, as the hash of an event that names its time
KEYS = st.builds(
    lambda time, part: key_of(time, part + bytes(30 - len(part)) + time.to_bytes(2)),
    st.integers(1, 40), st.binary(min_size=1, max_size=2),
)  # fmt: skip
SETS = st.sets(KEYS, max_size=300)


@given(common=SETS, ours=SETS, theirs=SETS, split=st.sampled_from([Split(), THRIFTY, Split(4, 0)]))
def test_any_two_sets_learn_their_whole_difference(common, ours, theirs, split):
    one, two = common | ours, common | theirs
    initiator, _ = converse(
        OrderedKeys(b"".join(sorted(one))), OrderedKeys(b"".join(sorted(two))), split=split, frame_limit=FRAME_MIN_BYTES
    )
    assert initiator.have == sorted(one - two)
    assert wanted_ids(initiator.wanted) == ids(two - one)
    for item in initiator.wanted:
        for at in range(0, len(item.ids), 32):
            assert any(item.lower <= key < item.upper for key in two if key[8:] == item.ids[at : at + 32])


@given(common=SETS, ours=SETS, theirs=SETS, most=st.integers(1, 30))
def test_a_bounded_conversation_settles_everything_below_its_ceiling(common, ours, theirs, most):
    one, two = common | ours, common | theirs
    initiator, _ = converse(
        OrderedKeys(b"".join(sorted(one))), OrderedKeys(b"".join(sorted(two))), split=THRIFTY, most=most
    )
    ceiling = initiator.ceiling
    assert [key for key in initiator.have if key < ceiling] == sorted(key for key in one - two if key < ceiling)
    wanted = set(wanted_ids(initiator.wanted))
    named = [key for key in two - one if key[8:].hex() in wanted]
    waiting = [key for key in two - one if key[8:].hex() not in wanted]
    assert not named or not waiting or max(named) < min(waiting) or min(waiting) >= ceiling
    assert len(initiator.have) <= 2 * most
    if one != two:
        assert initiator.have or initiator.wanted
    if ceiling == INFINITY:
        assert initiator.have == sorted(one - two)


def test_lists_of_both_sides_that_overlap_above_the_bound_are_not_asked_for():
    shared = [key_of(9, bytes([number]) * 32) for number in range(100, 110)]
    own = [key_of(1, bytes([number]) * 32) for number in range(1, 50)]
    initiator = Initiator(OrderedKeys(b"".join(own + shared)), most=3)
    initiator.begin()
    initiator.proceed(encode_message([Range(INFINITY, ID_LIST, b"".join(key[8:] for key in shared))]))
    assert initiator.wanted == []
    assert initiator.have == own[:3]
    assert initiator.ceiling == own[3]


def test_many_missing_keys_are_asked_for_from_below():
    theirs = OrderedKeys(b"".join(key_of(time, bytes([time]) * 32) for time in range(1, 201)))
    initiator = Initiator(OrderedKeys(), most=4)
    initiator.begin()
    lists = [Range(key_of(time + 1, b"")[:8], ID_LIST, theirs.key(time - 1)[8:]) for time in range(1, 201)]
    assert initiator.proceed(encode_message(lists)) is None
    assert wanted_ids(initiator.wanted) == [bytes([time]).hex() * 32 for time in range(1, 5)]
    assert initiator.ceiling == (5).to_bytes(8)


def test_a_whole_set_is_listed_in_frames():
    theirs = OrderedKeys(b"".join(key_of(1 + time // 9, time.to_bytes(32)) for time in range(1000)))
    initiator, messages = converse(OrderedKeys(), theirs, frame_limit=FRAME_MIN_BYTES)
    assert wanted_ids(initiator.wanted) == ids(theirs.key(at) for at in range(1000))
    assert len(messages) < 12
    assert all(len(part) <= FRAME_MIN_BYTES for turn in messages for part in turn)


def test_many_wanted_ids_in_one_range_are_kept_whole():
    initiator = Initiator(OrderedKeys(), most=2)
    initiator.begin()
    initiator.proceed(encode_message([Range(INFINITY, ID_LIST, b"".join(bytes([at]) * 32 for at in range(9)))]))
    assert len(wanted_ids(initiator.wanted)) == 9
    assert initiator.ceiling == INFINITY


def test_the_set_may_change_between_messages():
    ours, theirs = OrderedKeys(), OrderedKeys()
    for number in range(1, 400):
        theirs.add(key_of(number, number.to_bytes(32)))
        if number % 3:
            ours.add(key_of(number, number.to_bytes(32)))
    initiator = Initiator(ours)
    message = initiator.begin()
    number = 1000
    while message is not None:
        theirs.add(key_of(number % 400, number.to_bytes(32)))
        ours.add(key_of((number * 7) % 400, (number + 1).to_bytes(32)))
        message = initiator.proceed(respond(theirs, message))
        number += 2
    missing = {theirs.key(at)[8:].hex() for at in range(len(theirs)) if theirs.key(at) not in ours}
    assert {(3 * part).to_bytes(32).hex() for part in range(1, 133)} <= set(wanted_ids(initiator.wanted)) <= missing


def test_a_small_frame_is_refused():
    with pytest.raises(BadRequest, match="4096"):
        Initiator(OrderedKeys(), frame_limit=100)


# ---- hostile messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not negentropy"),
        ("50", "not negentropy"),
        ("61 00", "ends early"),
        ("61 00 00 03", "unknown mode"),
        ("61 00 00 01 aabb", "ends early"),
        ("61 00 21", "of an id"),
        ("61 00 00 02 ff", "ends early"),
        ("61 00 00 02 ffffffffffffffff7f", "ends early"),
        ("61 ffffffffffffffffffff 00 00", "too long"),
        ("61 ffffffffffffffffff7f 00 00", "too large"),
        ("61 05 01 09 00 01 01 08 00", "ascending"),
    ],
)
def test_what_is_no_message_is_refused(text, why):
    data = bytes.fromhex(text.replace(" ", ""))
    with pytest.raises(FrameMalformed, match=why):
        respond(OrderedKeys(), data)
    with pytest.raises(FrameMalformed, match=why):
        Initiator(OrderedKeys()).proceed(data)


def test_times_beyond_the_last_one_count_as_infinity():
    message = bytes([0x61, 0x81, *[0xFF] * 8, 0x7F, 0, 0, 5, 0, 0])
    assert [item.upper for item in decode_message(message)] == [b"\xff" * 7 + b"\xfe", INFINITY]


RANGES = st.lists(
    st.tuples(
        st.binary(min_size=8, max_size=KEY_BYTES),
        st.one_of(
            st.just((SKIP, b"")),
            st.binary(min_size=16, max_size=16).map(lambda data: (FINGERPRINT, data)),
            st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(lambda ids: (ID_LIST, b"".join(ids))),
        ),
    ),
    max_size=8,
).map(lambda items: [Range(upper, *rest) for upper, rest in sorted(items)])


@given(ranges=RANGES)
def test_well_formed_messages_survive_a_round_trip(ranges):
    assert decode_message(encode_message(ranges)) == ranges


@given(ranges=RANGES, keys=SETS)
def test_any_well_formed_message_gets_an_answer_within_the_frame(ranges, keys):
    packed = OrderedKeys(b"".join(sorted(keys)))
    message = encode_message(ranges)
    assert len(respond(packed, message, frame_limit=FRAME_MIN_BYTES)) <= FRAME_MIN_BYTES
    next_message = Initiator(packed, frame_limit=FRAME_MIN_BYTES).proceed(message)
    assert next_message is None or len(next_message) <= FRAME_MIN_BYTES


@given(one=KEYS, two=KEYS)
def test_a_bound_between_two_keys_is_the_shortest(one, two):
    before, key = min(one, two), max(one, two)
    if before == key:
        return
    bound = bound_between(before, key)
    assert before < bound <= key
    if len(bound) > 8:
        assert not before < bound[:-1] <= key
