"""Two and three logs become one, whatever happened before and in between (X02)."""

from __future__ import annotations

import asyncio
import json

import pytest

from hearthnet.adapters.network_fake import Link
from hearthnet.base.errors import CallTimeout, DiskFull, Unavailable
from hearthnet.mesh import sync_session
from hearthnet.mesh.sync_index import ASIDE_PARTNERS_MAX, SyncIndex
from hearthnet.mesh.sync_server import HEADS_PATH
from hearthnet.wire.sync_message import key_of_wire
from mesh.log_world import COMMUNITY, document
from mesh.sync_world import SyncNode, Town


@pytest.fixture
async def town():
    made = await Town().settle("founder", "anna", "bert")
    yield made
    await made.close()


async def test_both_sides_get_what_they_lack_in_one_session(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    ours = [(await anna.write(number)).hash for number in range(5)]
    theirs = [(await bert.write(number, "Bert")).hash for number in range(5, 9)]
    result = await anna.sync(bert)
    assert (result.complete, result.pulled, result.pushed) == (True, 4, 5)
    assert await anna.hashes() == await bert.hashes() >= {*ours, *theirs}
    assert anna.documents.documents("personal") == bert.documents.documents("personal")
    assert anna.standing.points(bert.key.node_id) == bert.standing.points(anna.key.node_id) == 0


async def test_scalar_heads_would_lose_what_both_wrote_at_the_same_time(town):
    """The earlier code sent what lies above the other's head: here nothing does, and yet each lacks an event."""
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    one, two = await anna.write(1), await bert.write(2)
    assert one.event.lamport == two.event.lamport
    assert anna.log.lamport == bert.log.lamport  # equal heads: `lamport > head` selects nothing on either side
    await anna.sync(bert)
    assert {one.hash, two.hash} <= await anna.hashes() & await bert.hashes()


async def test_logs_in_step_exchange_one_small_message(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    await anna.log.append_all([document(number) for number in range(300)])
    await anna.sync(bert)
    result = await anna.sync(bert)
    assert (result.complete, result.rounds, result.pulled, result.pushed) == (True, 1, 0, 0)
    assert result.sent_bytes + result.received_bytes <= 400


async def test_a_newcomer_gets_everything_and_membership_first(town):
    anna = town.nodes["anna"]
    for number in range(40):
        await anna.write(number)
    dora = town.nodes["dora"] = await SyncNode(town, "dora").start()
    anna_knows = await anna.log.receive([sealed.wire for sealed in town.join("dora")])
    assert anna_knows.accepted == 2
    result = await dora.sync(anna)
    assert result.complete
    assert await dora.hashes() == await anna.hashes()
    assert dora.standing.points(anna.key.node_id) == 0


async def test_both_branches_of_a_fork_are_kept_and_passed_on(town):
    anna, bert, founder = town.nodes["anna"], town.nodes["bert"], town.nodes["founder"]
    author = town.authors["bert"]
    before = author.last
    one = author.seal(document(1), lamport=20)
    other = author.seal(document(2), lamport=20, after=before)
    await anna.log.receive([one.wire])
    await founder.log.receive([other.wire])
    await anna.sync(founder)
    await bert.sync(anna)
    for node in town.nodes.values():
        assert {one.hash, other.hash} <= await node.hashes()
        (fork,) = await node.log.history.forks()
        assert {fork.known, fork.other} == {one.hash, other.hash}
    assert anna.standing.points(founder.key.node_id) == 0


async def test_an_older_backup_comes_back_without_a_fork_and_without_loss(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    await anna.write(1)
    backup = await anna.copy_store()
    lost = [(await anna.write(number)).hash for number in range(2, 6)]
    await anna.sync(bert)
    await anna.crash(backup)
    await anna.log.begin_epoch()
    again = await anna.write(9)
    result = await anna.sync(bert)
    assert (result.pulled, result.pushed) == (4, 1)
    assert {*lost, again.hash} <= await anna.hashes() == await bert.hashes()
    assert await anna.log.history.forks() == await bert.log.history.forks() == []


async def test_a_crashed_node_knows_its_keys_again(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    await anna.log.append_all([document(number) for number in range(100)])
    await anna.sync(bert)
    before = bert.index.keys.fingerprint(0, len(bert.index.keys))
    await bert.crash()
    assert bert.index.keys.fingerprint(0, len(bert.index.keys)) == before
    assert (await bert.sync(anna)).rounds == 1


async def test_events_that_arrive_while_keys_are_read_are_known(town):
    """Those behind the place that reading has reached as well as those before it."""
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    late = await bert.write(0)
    index = SyncIndex(anna.store, COMMUNITY)
    anna.log.subscribe(index.note)
    index.note(late)
    reading = asyncio.ensure_future(index.load())
    written = [await anna.write(number) for number in range(3)]
    assert len(town.events) < await reading <= len(index.keys)
    assert key_of_wire(late.wire, COMMUNITY) in index.keys
    await anna.log.receive([late.wire])
    assert len(index.keys) == len(town.events) + len(written) + 1 == await anna.log.history.size()


async def test_a_node_that_starts_does_not_answer_yet(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    bert.index.is_loaded = False
    with pytest.raises(Unavailable, match="starting"):
        await anna.sync(bert)


async def test_a_break_loses_nothing_and_the_next_session_goes_on():
    town = await Town(seed=5, link=Link(delay_s=0.01, loss=0.2)).settle("anna", "bert")
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    anna_wrote = [sealed.hash for sealed in await anna.log.append_all([document(number) for number in range(50)])]
    outcomes = []
    while not (outcomes and outcomes[-1] == "complete") and len(outcomes) < 60:
        try:
            result = await town.patiently(bert.sync(anna))
            outcomes.append("complete" if result.complete else "incomplete")
        except CallTimeout:
            outcomes.append("broken")
    assert "broken" in outcomes
    assert set(anna_wrote) <= await bert.hashes()
    assert bert.bans == anna.bans == []
    await town.close()


async def test_many_events_take_several_bodies(town, monkeypatch):
    monkeypatch.setattr(sync_session, "STORE_EVENTS", 700)  # store some while the next are fetched
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    long_title = "x" * 290
    await anna.log.append_all([document(number, title=f"{number} {long_title}") for number in range(2500)])
    result = await bert.sync(anna)
    assert (result.pulled, result.complete) == (2500, True)
    assert result.received_bytes > 2_000_000
    founder = town.nodes["founder"]
    result = await anna.sync(founder)
    assert (result.pushed, result.complete) == (2500, True)
    assert result.sent_bytes > 2_000_000


async def test_heads_are_a_hint(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    await anna.write(1)
    for extra in (0, 1):
        heads = json.loads(await bert.transport.request(anna.peer, HEADS_PATH, b""))
        assert heads["community_id"] == COMMUNITY
        assert heads["head"] == anna.log.lamport
        assert heads["heads_by_type"]["rag.document.ingested"] == anna.log.lamport
        assert heads["heads_by_type"]["community.created"] == 1
        if not extra:
            await anna.write(2)


# ---- forgotten events ---------------------------------------------------------------------------------------------


async def forget(node, hashes):
    """As retention does: the row stays, the bytes go; never those of an author's last event."""
    await node.write(999)

    def run(tx):
        for hash_ in hashes:
            assert tx.execute("UPDATE events SET wire = x'' WHERE hash = ?", (bytes.fromhex(hash_[7:]),)) == 1

    await node.store.transact(run)


async def test_forgotten_events_are_not_sent_again(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    old = [(await anna.write(number)).hash for number in range(20)]
    await anna.sync(bert)
    await forget(bert, old)
    await bert.crash()
    await bert.sync(anna)
    for one, two in ((anna, bert), (bert, anna)):
        result = await one.sync(two)
        assert (result.complete, result.rounds, result.pulled, result.pushed) == (True, 1, 0, 0)
    assert not set(old) & await bert.hashes()


@pytest.mark.parametrize("newcomer_asks", [True, False])
async def test_what_a_partner_forgot_costs_a_newcomer_one_question(town, newcomer_asks):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    old = [(await anna.write(number)).hash for number in range(60)]
    await forget(anna, old)
    await anna.crash()
    pair = (bert, anna) if newcomer_asks else (anna, bert)
    first = await pair[0].sync(pair[1])
    assert first.complete
    for one, two in (pair, pair[::-1]):
        again = await one.sync(two)
        assert (again.complete, again.rounds) == (True, 1)
    assert anna.standing.points(bert.key.node_id) == bert.standing.points(anna.key.node_id) == 0


async def test_no_partner_can_hide_an_event_by_calling_it_forgotten(town):
    anna, bert, founder = (town.nodes[name] for name in ("anna", "bert", "founder"))
    kept = [(await founder.write(number)).hash for number in range(40)]
    await founder.sync(anna)
    await forget(anna, kept)
    await anna.crash()
    await bert.sync(anna)
    assert not set(kept) & await bert.hashes()
    await bert.sync(founder)
    assert set(kept) <= await bert.hashes()
    assert (await bert.sync(anna)).rounds == 1


async def test_damaged_bytes_are_not_passed_on(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    good, bad = await anna.write(1), await anna.write(2)

    def damage(tx):
        tx.execute("UPDATE events SET wire = ? WHERE hash = ?", (bad.wire[:-9] + b"2", bytes.fromhex(bad.hash[7:])))

    await anna.store.transact(damage)
    await bert.sync(anna)
    assert good.hash in await bert.hashes()
    assert bad.hash not in await bert.hashes()
    assert bert.bans == []


async def test_a_full_disk_ends_the_session_and_what_was_stored_stays(town, monkeypatch):
    monkeypatch.setattr(sync_session, "STORE_EVENTS", 300)
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    await anna.log.append_all([document(number) for number in range(1500)])
    bert.store.fill_disk(250_000)
    with pytest.raises(DiskFull):
        await bert.sync(anna)
    stored = await bert.hashes()
    assert len(stored) < 1500
    bert.store.free_disk()
    result = await bert.sync(anna)
    assert result.complete
    assert stored < await bert.hashes() == await anna.hashes()
    assert result.pulled == len(await bert.hashes()) - len(stored)


async def test_forgetting_is_remembered_of_a_bounded_number_of_partners(town):
    index = town.nodes["anna"].index
    for number in range(ASIDE_PARTNERS_MAX + 5):
        assert index.set_aside(f"partner {number}", [number.to_bytes(8) + bytes(32)]) == 1
    assert index.seen_by("partner 0") is index.keys
    last = index.seen_by(f"partner {ASIDE_PARTNERS_MAX + 4}")
    assert len(last) == len(index.keys) + 1


# ---- gossip -------------------------------------------------------------------------------------------------------


async def test_gossip_asks_partners_at_random_until_all_are_equal():
    names = ["founder", *(f"n{number}" for number in range(8))]
    town = await Town(seed=3).settle(*names)
    written = {(await node.write(number)).hash for number, node in enumerate(town.nodes.values())}
    rounds = 0
    while not all([written <= await node.hashes() for node in town.nodes.values()]):
        rounds += 1
        assert rounds <= 8
        for node in town.nodes.values():
            await node.gossip.tick()
    assert len({frozenset(await node.hashes()) for node in town.nodes.values()}) == 1
    await town.close()


async def test_gossip_runs_by_the_clock_and_sooner_when_woken(town):
    anna, bert = town.nodes["anna"], town.nodes["bert"]
    del town.nodes["founder"]
    running = asyncio.ensure_future(anna.gossip.run())
    await town.clock.advance(0.1)
    assert len(anna.results) == 1
    await bert.write(1)
    await town.clock.advance(100.0)
    assert len(anna.results) == 1
    anna.gossip.wake()
    for _ in range(200):  # verification takes real time
        await town.clock.advance(0.1)
        await asyncio.sleep(0.001)
    assert sum(result.pulled for result in anna.results) == 1
    held = len(anna.results)
    await town.clock.advance(400.0)
    assert len(anna.results) > held
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_partner_that_cannot_be_reached_is_left_alone_for_a_while(town):
    anna = town.nodes["anna"]
    town.nodes = {"anna": anna, "bert": town.nodes["bert"]}
    town.cut(["anna"], ["bert"])
    assert await town.patiently(anna.gossip.tick()) is None
    assert isinstance(anna.results[-1], CallTimeout)
    assert await anna.gossip.tick() is None
    assert len(anna.results) == 1
    town.network.heal()
    await town.clock.advance(30.0)
    assert (await anna.gossip.tick()).complete
