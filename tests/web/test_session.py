"""Pairing codes, sessions and tokens: each opens what it was made for, for as long as it was made for (decision 24)."""

from __future__ import annotations

import pytest

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.base.errors import Expired, NotFound, TokenInvalid, TokenRevoked
from hearthnet.base.types import Role
from hearthnet.web.session import PAIRING_TTL_S, SESSION_TTL_S
from web.world import World


@pytest.fixture
async def desk(tmp_path):
    """Sessions over a real store, with a clock to turn."""
    clock = FakeClock()
    world = World(tmp_path, clock=clock)
    yield world.sessions, clock
    await world.close()


async def test_a_wrong_code_opens_nothing_while_a_right_one_waits(desk):
    sessions, _ = desk
    code = await sessions.open_pairing(Role.ADMIN)
    for wrong in ("none", code[:-1], code + "A", code.swapcase()):
        with pytest.raises(NotFound):
            await sessions.redeem_pairing(wrong, "thief")
    assert (await sessions.redeem_pairing(code, "phone"))[1] is Role.ADMIN


async def test_a_code_works_once_and_not_after_a_quarter_of_an_hour(desk):
    sessions, clock = desk
    code, late = await sessions.open_pairing(Role.MEMBER), await sessions.open_pairing(Role.MEMBER)
    await sessions.redeem_pairing(code, "phone")
    with pytest.raises(NotFound):
        await sessions.redeem_pairing(code, "again")
    await clock.advance(PAIRING_TTL_S + 1)
    with pytest.raises(Expired):
        await sessions.redeem_pairing(late, "late")
    with pytest.raises(NotFound):
        await sessions.redeem_pairing(late, "late again")


async def test_a_session_lives_while_it_is_used_and_ends_when_it_is_not(desk):
    sessions, clock = desk
    secret = await sessions.open_session(Role.MEMBER, "phone")
    for _ in range(3):
        await clock.advance(SESSION_TTL_S * 0.9)
        assert (await sessions.visitor_of_cookie(secret)).role is Role.MEMBER
    await clock.advance(SESSION_TTL_S + 1)
    assert await sessions.visitor_of_cookie(secret) is None
    assert await sessions.list_sessions() == []


async def test_a_foreign_cookie_and_an_unpaired_device_are_nobody(desk):
    sessions, _ = desk
    secret = await sessions.open_session(Role.ADMIN, "phone")
    assert await sessions.visitor_of_cookie(secret[:-1]) is None
    [row] = await sessions.list_sessions()
    await sessions.end_session(row.id)
    assert await sessions.visitor_of_cookie(secret) is None
    with pytest.raises(NotFound):
        await sessions.end_session(row.id)


async def test_a_token_opens_until_it_is_revoked_and_no_other_does(desk):
    sessions, _ = desk
    identifier, secret = await sessions.create_token("tablet", Role.MEMBER)
    assert (await sessions.visitor_of_token(secret)).role is Role.MEMBER
    with pytest.raises(TokenInvalid):
        await sessions.visitor_of_token(secret[:-1] + ("a" if secret[-1] != "a" else "b"))
    await sessions.revoke_token(identifier)
    with pytest.raises(TokenRevoked):
        await sessions.visitor_of_token(secret)


async def test_no_secret_stands_in_the_database(tmp_path):
    world = World(tmp_path)
    sessions = world.sessions
    secrets = [
        await sessions.open_pairing(Role.MEMBER),
        await sessions.open_session(Role.MEMBER, "phone"),
        (await sessions.create_token("tablet", Role.MEMBER))[1],
    ]
    tables = [await world.store.query(f"SELECT * FROM {table}") for table in ("pairing", "session", "token")]
    stored = repr(tables)
    assert all(secret not in stored and secret.removeprefix("hn-") not in stored for secret in secrets)
    assert all(len(rows) == 1 for rows in tables)
    await world.close()
