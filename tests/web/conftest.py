"""Fixtures: a world, and browsers in it."""

from __future__ import annotations

import json

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hearthnet.adapters.clock_fake import FakeClock
from web.api_world import ApiWorld
from web.world import World

SAME_SITE = {"Sec-Fetch-Site": "same-origin"}  # what a browser sends with a form of our own pages
GUEST_HOST = {"Host": "hearthnet-k7qx.local"}  # a browser that came over the network


def events_of(text):
    """Server-sent events as (name, data)."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        found.append((lines.get("event", ""), json.loads(lines["data"])))
    return found


@pytest.fixture
async def world(tmp_path):
    world = World(tmp_path)
    yield world
    await world.close()


@pytest.fixture
async def member(world):
    """A browser on the machine itself."""
    async with TestClient(TestServer(world.app)) as client:
        yield client


@pytest.fixture
async def slow_world(tmp_path):
    """A world whose time stands still, with a browser."""
    world = World(tmp_path, clock=FakeClock())
    async with TestClient(TestServer(world.app)) as client:
        yield world, client
    await world.close()


@pytest.fixture
async def api(tmp_path):
    """A node's doors for programs, on a port of this machine."""
    world = ApiWorld(tmp_path)
    await world.start()
    yield world
    await world.close()
