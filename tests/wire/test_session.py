"""Sessions between nodes: agreement, seals, counters, and the table, against every order of messages."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hearthnet.base.errors import BadRequest, Expired, HearthNetError, InternalError, InvalidSignature
from hearthnet.base.types import CommunityID
from hearthnet.wire.identity import Domain, KeyPair
from hearthnet.wire.session import CALLER_TABLE, MAX_AGE_S, MAX_CALLS, REST_S, CallerSession, Sealed, State
from hearthnet.wire.session_desk import OFFER_TTL_S, OFFERS_MAX, SESSIONS_MAX, WINDOW, SessionDesk
from hearthnet.wire.session_key import Certificates, Offer, Opening, from_text, transcript

ME, YOU, OTHER = KeyPair(b"m" * 32), KeyPair(b"y" * 32), KeyPair(b"o" * 32)
COMMUNITY = CommunityID(KeyPair(b"c" * 32).node_id)
CERTIFICATES = Certificates.of(b"mine", b"yours")
VECTOR = Path(__file__).parents[1] / "vectors" / "session.json"
WORDS = ("rag.query", "1.0", "01J0000000000000000000000A")


def randomness(seed):
    """Different bytes at every request, the same for every run."""
    counter = itertools.count()
    return lambda size: blake3(b"%b %d" % (seed, next(counter))).digest(size)


class Pair:
    """A caller and a server with a line between them."""

    def __init__(self, key=ME):
        self.caller = CallerSession(key, YOU.node_id, COMMUNITY, randomness(b"caller"))
        self.desk = SessionDesk(YOU.node_id, randomness(b"server"))
        self.key, self.now = key, 0.0

    def open(self, mine=CERTIFICATES, theirs=CERTIFICATES):
        offer = self.desk.offer(self.caller.hello(), self.key.node_id, theirs, self.now)
        self.opening = self.caller.offered(offer, mine)
        self.caller.accepted(self.desk.open(self.opening, self.now), self.now)
        return self

    def admit(self, sealed, words=WORDS, content=b"body"):
        return self.desk.admit(sealed, words, content, self.now)


def test_a_session_carries_calls_and_answers():
    pair = Pair().open()
    sealed = Sealed.parse(pair.caller.seal(WORDS, b"body").text())
    assert pair.admit(sealed) == (ME.node_id, COMMUNITY)
    answer = Sealed.parse(pair.desk.seal_reply(sealed, 200, b"answer"))
    check = pair.caller.reply_checker()
    check(sealed, 200, b"answer", answer.mac)
    for status, content in ((201, b"answer"), (200, b"other")):
        with pytest.raises(InvalidSignature):
            check(sealed, status, content, answer.mac)
    with pytest.raises(InvalidSignature):
        check(pair.caller.seal(WORDS, b"body"), 200, b"answer", answer.mac)


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_a_seal_fits_exactly_what_was_sealed(content, other, words):
    pair = Pair().open()
    words = tuple(words)
    if any("\n" in word for word in words):
        with pytest.raises(BadRequest):
            pair.caller.seal(words, content)
        return
    sealed = pair.caller.seal(words, content)
    if other != content:
        with pytest.raises(InvalidSignature):
            pair.admit(sealed, words, other)
    for changed in ((*words, ""), words[1:], tuple(word + "x" for word in words)):
        with pytest.raises(InvalidSignature):
            pair.admit(sealed, changed, content)
    with pytest.raises(InvalidSignature):
        pair.admit(msgspec.structs.replace(sealed, counter=sealed.counter + 1), words, content)
    assert pair.admit(sealed, words, content)[0] == ME.node_id


def test_a_line_break_cannot_move_between_name_and_content():
    pair = Pair().open()
    sealed = pair.caller.seal(("a",), b"b\nc")
    with pytest.raises(BadRequest):
        pair.admit(sealed, ("a\nb",), b"c")
    with pytest.raises(InvalidSignature):
        pair.admit(sealed, ("a", "b"), b"c")


@pytest.mark.parametrize("mine", [Certificates.of(b"mine", b"another"), Certificates.of(b"another", b"yours")])
def test_who_stands_in_the_middle_has_other_certificates_and_gets_no_session(mine):
    pair = Pair()
    with pytest.raises(InvalidSignature):
        pair.open(mine=mine)
    assert len(pair.desk) == 0


def test_nobody_opens_a_session_for_another():
    pair = Pair()
    with pytest.raises(InvalidSignature):
        pair.desk.offer(pair.caller.hello(), OTHER.node_id, CERTIFICATES, 0.0)
    stranger = CallerSession(OTHER, YOU.node_id, COMMUNITY, randomness(b"x"))
    hello = msgspec.structs.replace(stranger.hello(), sender=ME.node_id)
    offer = pair.desk.offer(hello, ME.node_id, CERTIFICATES, 0.0)
    with pytest.raises(InvalidSignature):
        pair.desk.open(stranger.offered(offer, CERTIFICATES), 0.0)
    elsewhere = CallerSession(ME, OTHER.node_id, COMMUNITY, randomness(b"x"))
    with pytest.raises(InvalidSignature):
        pair.desk.offer(elsewhere.hello(), ME.node_id, CERTIFICATES, 0.0)


@pytest.mark.parametrize("share", ["A" * 43, "AQ" + "A" * 41])
def test_a_worthless_share_is_refused_by_both(share):
    """Points of small order make the same secret for everybody (RFC 7748, section 6.1)."""
    pair = Pair()
    pair.caller.hello()
    with pytest.raises(InvalidSignature):
        pair.caller.offered(Offer("s" * 22, "n" * 43, share), CERTIFICATES)
    other = CallerSession(ME, YOU.node_id, COMMUNITY, randomness(b"y"))
    hello = msgspec.structs.replace(other.hello(), share=share)
    offer = pair.desk.offer(hello, ME.node_id, CERTIFICATES, 0.0)
    signature = ME.sign(Domain.SESSION, COMMUNITY, transcript(hello, offer, CERTIFICATES))
    with pytest.raises(InvalidSignature):
        pair.desk.open(Opening(offer.session, signature), 0.0)


def test_an_opening_is_taken_once_and_in_time():
    pair = Pair().open()
    with pytest.raises(Expired):
        pair.desk.open(pair.opening, 0.0)
    assert pair.admit(pair.caller.seal(WORDS, b"body"))  # the session lives on
    late = Pair()
    opening = late.caller.offered(late.desk.offer(late.caller.hello(), ME.node_id, CERTIFICATES, 0.0), CERTIFICATES)
    with pytest.raises(Expired):
        late.desk.open(opening, OFFER_TTL_S + 1)


@given(st.permutations(range(30)))
def test_calls_may_overtake_each_other_but_each_is_taken_once(order):
    pair = Pair().open()
    calls = [pair.caller.seal(WORDS, b"body") for _ in range(30)]
    for number in order:
        assert pair.admit(calls[number])
    for sealed in calls:
        with pytest.raises(Expired):
            pair.admit(sealed)


def test_what_falls_out_of_the_window_is_refused():
    pair = Pair().open()
    calls = [pair.caller.seal(WORDS, b"body") for _ in range(WINDOW + 2)]
    pair.admit(calls[-1])
    assert pair.admit(calls[2])
    for old in (0, 1):
        with pytest.raises(Expired):
            pair.admit(calls[old])


def test_a_session_ends_by_age_and_the_caller_renews_it_before():
    pair = Pair().open()
    pair.now = MAX_AGE_S * 0.7
    assert pair.caller.wear(pair.now) is State.OPEN
    pair.now = MAX_AGE_S * 0.8
    sealed = pair.caller.seal(WORDS, b"body")
    assert pair.admit(sealed)
    assert pair.caller.wear(pair.now) is State.IDLE
    pair.now = MAX_AGE_S + 1
    with pytest.raises(Expired):
        pair.admit(sealed)
    assert len(pair.desk) == 0
    pair.open()
    assert pair.admit(pair.caller.seal(WORDS, b"body"))


def test_a_session_ends_after_many_calls():
    pair = Pair().open()
    pair.desk._open[pair.opening.session].calls = MAX_CALLS - 1
    assert pair.admit(pair.caller.seal(WORDS, b"body"))
    with pytest.raises(Expired):
        pair.admit(pair.caller.seal(WORDS, b"body"))


def test_a_server_that_was_restarted_knows_nothing_and_all_goes_on():
    pair = Pair().open()
    pair.desk = SessionDesk(YOU.node_id, randomness(b"reborn"))
    sealed = pair.caller.seal(WORDS, b"body")
    with pytest.raises(Expired):
        pair.admit(sealed)
    pair.caller.lost(sealed.session)
    assert pair.caller.state is State.IDLE
    pair.open()
    pair.caller.lost(sealed.session)  # news of the old session
    assert pair.admit(pair.caller.seal(WORDS, b"body"))


def test_a_refusal_rests_for_a_minute():
    pair = Pair()
    pair.caller.hello()
    pair.caller.refused(100.0)
    assert pair.caller.wear(100.0 + REST_S - 1) is State.RESTING
    assert pair.caller.wear(100.0 + REST_S) is State.IDLE


def test_both_sides_are_bounded_in_memory():
    pair = Pair()
    for _ in range(OFFERS_MAX + 10):
        caller = CallerSession(ME, YOU.node_id, COMMUNITY, randomness(b"many"))
        pair.desk.offer(caller.hello(), ME.node_id, CERTIFICATES, 0.0)
    assert len(pair.desk._offers) == OFFERS_MAX
    desk = SessionDesk(YOU.node_id, randomness(b"bounded"))
    first = None
    for _ in range(SESSIONS_MAX + 1):
        caller = CallerSession(ME, YOU.node_id, COMMUNITY, randomness(b"many"))
        offer = desk.offer(caller.hello(), ME.node_id, CERTIFICATES, 0.0)
        caller.accepted(desk.open(caller.offered(offer, CERTIFICATES), 0.0), 0.0)
        first = first or caller
    assert len(desk) == SESSIONS_MAX
    with pytest.raises(Expired):
        desk.admit(first.seal(WORDS, b""), WORDS, b"", 0.0)


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "a.-1.c", "a.1.c.d", "a.²." + "0" * 32, "a." + "9" * 90 + ".c"])
def test_a_header_that_is_none_is_refused(text):
    with pytest.raises(BadRequest):
        Sealed.parse(text)


@given(st.text(max_size=120))
def test_any_header_is_read_or_refused(text):
    pair = Pair().open()
    try:
        sealed = Sealed.parse(text)
    except BadRequest:
        return
    with pytest.raises((Expired, InvalidSignature)):
        pair.admit(sealed)


EVENTS = {
    "hello": lambda caller: caller.hello(),
    "refused": lambda caller: caller.refused(0.0),
    "lost": lambda caller: caller.lost(caller._session),
}


def at(state):
    """A caller in this state."""
    pair = Pair()
    if state is State.OPEN:
        return pair.open().caller
    if state is not State.IDLE:
        hello = pair.caller.hello()
    if state is State.PROVING:
        pair.caller.offered(pair.desk.offer(hello, ME.node_id, CERTIFICATES, 0.0), CERTIFICATES)
    if state is State.RESTING:
        pair.caller.refused(0.0)
    return pair.caller


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(EVENTS))
def test_every_event_follows_the_table(state, event):
    caller = at(state)
    following = CALLER_TABLE.get((state, event))
    if following is None and event != "lost":  # news that came too late is no mistake
        with pytest.raises(InternalError):
            EVENTS[event](caller)
        return
    EVENTS[event](caller)
    assert caller.state is (following or state)


def test_the_bytes_of_the_protocol_are_frozen():
    """With the frozen inputs both sides make the frozen messages."""
    vector = msgspec.json.decode(VECTOR.read_bytes())
    caller_bytes = iter([bytes.fromhex(vector["caller_secret_hex"]), from_text(vector["hello"]["nonce"])])
    server_bytes = iter(
        [
            bytes.fromhex(vector["server_secret_hex"]),
            *(from_text(vector["offer"][name]) for name in ("session", "nonce")),
        ]
    )
    caller_key, server_key = (KeyPair(bytes.fromhex(vector[f"{name}_seed_hex"])) for name in ("caller", "server"))
    certificates = Certificates.of(*(bytes.fromhex(vector[f"{name}_certificate_hex"]) for name in ("caller", "server")))
    caller = CallerSession(caller_key, server_key.node_id, vector["hello"]["community"], lambda _: next(caller_bytes))
    desk = SessionDesk(server_key.node_id, lambda _: next(server_bytes))
    hello = caller.hello()
    assert msgspec.to_builtins(hello) == vector["hello"]
    offer = desk.offer(hello, caller_key.node_id, certificates, 0.0)
    assert msgspec.to_builtins(offer) == vector["offer"]
    assert transcript(hello, offer, certificates).hex() == vector["signed_hex"]
    opening = caller.offered(offer, certificates)
    assert opening.signature == vector["signature"]
    accepted = desk.open(opening, 0.0)
    assert accepted.mac == vector["accepted_mac"]
    caller.accepted(accepted, 0.0)
    content = bytes.fromhex(vector["content_hex"])
    sealed = caller.seal(tuple(vector["words"]), content)
    assert sealed.text() == vector["call_header"]
    assert desk.admit(sealed, tuple(vector["words"]), content, 0.0)[0] == caller_key.node_id
    assert desk.seal_reply(sealed, 200, content) == vector["reply_header"]


def test_the_vector_follows_from_its_description_alone():
    """With `cryptography` and `blake3`, without our code: the session key and both seals."""
    vector = msgspec.json.decode(VECTOR.read_bytes())
    secret = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["caller_secret_hex"]))
    share = base64.urlsafe_b64decode(vector["offer"]["share"] + "=")
    material = secret.exchange(X25519PublicKey.from_public_bytes(share)) + bytes.fromhex(vector["signed_hex"])
    calls, replies = (
        blake3(material, derive_key_context=f"hearthnet session 1, {way}").digest()
        for way in ("caller to server", "server to caller")
    )
    session, content = vector["offer"]["session"], bytes.fromhex(vector["content_hex"])
    call = "\n".join(["6", "call", session, "1", *vector["words"], ""]).encode() + content
    assert vector["call_header"] == f"{session}.1.{blake3(call, key=calls).hexdigest(16)}"
    reply = f"4\nreply\n{session}\n1\n200\n".encode() + content
    assert vector["reply_header"] == f"{session}.1.{blake3(reply, key=replies).hexdigest(16)}"
    accepted = f"2\naccepted\n{session}\n".encode()
    assert vector["accepted_mac"] == blake3(accepted, key=replies).hexdigest(16)
    signed = json.loads(bytes.fromhex(vector["signed_hex"]))
    assert signed["hello"] == vector["hello"]
    assert signed["offer"] == vector["offer"]
    assert signed["certificates"] == {
        name: blake3(bytes.fromhex(vector[f"{name}_certificate_hex"])).hexdigest() for name in ("caller", "server")
    }


class SessionMachine(RuleBasedStateMachine):
    """A caller, a server that may be restarted, and a network that loses, repeats and reorders sealed calls."""

    @initialize()
    def start(self):
        self.pair, self.under_way, self.taken, self.boots = Pair(), [], set(), 0

    @precondition(lambda self: self.pair.caller.state is State.IDLE)
    @rule()
    def open(self):
        self.pair.open()

    @precondition(lambda self: self.pair.caller.state is State.OPEN)
    @rule(content=st.binary(max_size=4))
    def seal(self, content):
        self.under_way.append((self.pair.caller.seal(WORDS, content), content))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data, keep):
        place = data.draw(st.integers(0, len(self.under_way) - 1))
        sealed, content = self.under_way[place] if keep else self.under_way.pop(place)
        try:
            sender, _ = self.pair.admit(sealed, WORDS, content)
        except Expired:
            if not self.pair.desk.knows(sealed.session):
                self.pair.caller.lost(sealed.session)
            else:
                assert (sealed.session, sealed.counter) in self.taken
            return
        assert sender == ME.node_id
        assert (sealed.session, sealed.counter) not in self.taken, "answered twice"
        self.taken.add((sealed.session, sealed.counter))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def forge(self, data):
        sealed, content = data.draw(st.sampled_from(self.under_way))
        forged = msgspec.structs.replace(sealed, counter=sealed.counter + data.draw(st.integers(1, 3)))
        with pytest.raises(HearthNetError):
            self.pair.admit(forged, WORDS, content)

    @rule()
    def restart_server(self):
        self.boots += 1
        self.pair.desk = SessionDesk(YOU.node_id, randomness(b"boot %d" % self.boots))

    @rule(seconds=st.sampled_from([1.0, 600.0, 1800.0]))
    def wait(self, seconds):
        self.pair.now += seconds
        self.pair.caller.wear(self.pair.now)

    @invariant()
    def who_is_open_or_idle_can_go_on(self):
        if hasattr(self, "pair"):
            assert self.pair.caller.state in (State.IDLE, State.OPEN)


TestSessions = SessionMachine.TestCase
