"""Where a node lives is remembered, and moving begins a new run (decision 27)."""

from __future__ import annotations

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.base.types import CommunityID
from hearthnet.mesh.residence import MIGRATIONS, Residences, residence_of

OWN, STREET, TOWN = CommunityID("own"), CommunityID("street"), CommunityID("town")


async def test_the_last_move_counts_also_when_the_clock_goes_back():
    store, clock, begun, opened = FakeStore(MIGRATIONS), FakeClock(), [], []

    async def open_log(community):
        opened.append(community)
        return f"log of {community}"

    residences = Residences(store, clock, open_log, lambda community: {"for": community}, lambda: begun.append(1))
    assert await residence_of(store, OWN) == OWN
    assert await residences.open(STREET) == await residences.open(STREET) == "log of street"
    assert opened == [STREET]
    assert await residences.describe(STREET) == {"for": STREET}
    for community in (STREET, TOWN, STREET):
        clock.jump(-3600)
        await residences.move(community)
        assert await residence_of(store, OWN) == community
    assert len(begun) == 3
