"""Announcers, the fake and the real ones on this machine's own interfaces: heard, changed, gone (M02)."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hearthnet.adapters.announcer_fake import FakeAnnouncer, FakeLink
from hearthnet.adapters.announcer_mdns import MdnsAnnouncer
from hearthnet.adapters.announcer_udp import UdpAnnouncer
from hearthnet.adapters.network_interfaces import list_interfaces, outward
from hearthnet.wire.discovery import Hint
from hearthnet.wire.identity import KeyPair


def hint_of(number, **fields):
    node = KeyPair(bytes([number]) * 32).node_id
    return Hint(node, KeyPair(bytes(32)).node_id, 7000 + number, ("rag.query",), **fields)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        return sock.getsockname()[1]


def make_pair(kind):
    if kind == "fake":
        link = FakeLink()
        return FakeAnnouncer(link, "10.0.0.1"), FakeAnnouncer(link, "10.0.0.2")
    if kind == "udp":
        port = free_port()
        return UdpAnnouncer(port=port), UdpAnnouncer(port=port)
    return MdnsAnnouncer("hearth"), MdnsAnnouncer("spark")


@pytest.fixture(params=["fake", "udp", "mdns"])
async def pair(request):
    """Two announcers on one link with what each has heard."""
    one, two = make_pair(request.param)
    heard = asyncio.Queue(), asyncio.Queue()
    await one.open(heard[0].put_nowait)
    await two.open(heard[1].put_nowait)
    yield one, two, heard
    await one.close()
    await two.close()


async def next_of(queue, hint, within_s=15):
    """The next sighting of that very hint."""
    async with asyncio.timeout(within_s):
        while True:
            sighting = await queue.get()
            if sighting.hint == hint:
                return sighting


async def test_each_hears_the_other_with_an_address_to_ask(pair):
    one, two, heard = pair
    await one.announce(hint_of(1))
    await two.announce(hint_of(2))
    for queue, hint in ((heard[0], hint_of(2)), (heard[1], hint_of(1))):
        sighting = await next_of(queue, hint)
        assert sighting.addresses
        assert {address.port for address in sighting.addresses} == {hint.port}


async def test_a_changed_hint_is_heard_again(pair):
    _, two, heard = pair
    await two.announce(hint_of(2))
    await next_of(heard[0], hint_of(2))
    await two.announce(hint_of(2, rev=5))
    assert (await next_of(heard[0], hint_of(2, rev=5))).hint.rev == 5


async def test_closing_twice_is_harmless_and_an_unchanged_network_is_said_to_be(pair):
    one, _, _ = pair
    assert one.refresh() is False
    await one.close()
    await one.close()


async def test_whoever_does_not_look_is_still_found(pair):
    one, _, heard = pair
    await one.look(active=False)
    await one.announce(hint_of(1))
    assert (await next_of(heard[1], hint_of(1))).addresses
    await one.look(active=True)


async def test_garbage_on_the_port_is_dropped_and_the_next_hint_heard():
    port, heard = free_port(), asyncio.Queue()
    announcer = UdpAnnouncer(port=port)
    await announcer.open(heard.put_nowait)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in (b"", b"\xff" * 9000, b"{}", b'{"v":1,"node":"x"}'):
            sock.sendto(data, ("127.0.0.1", port))
    await announcer.announce(hint_of(3))
    assert (await next_of(heard, hint_of(3))).source == "udp"
    await announcer.close()


async def test_ipv6_link_local_addresses_come_with_their_zone():
    links = [item for item in outward(list_interfaces()) if any(ip.startswith("fe80:") for ip in item.ipv6)]
    if not links:
        pytest.skip("this machine has no IPv6 link-local address")
    port, heard = free_port(), asyncio.Queue()
    announcer = UdpAnnouncer(port=port)
    await announcer.open(heard.put_nowait)
    await announcer.announce(hint_of(4))
    hosts = set()
    async with asyncio.timeout(10):
        while not any(host.startswith("fe80:") for host in hosts):
            hosts |= {address.host for address in (await heard.get()).addresses}
    await announcer.close()
    assert any(host.endswith(f"%{link.name}") for host in hosts for link in links)


def test_loopback_is_used_only_where_nothing_else_is():
    interfaces = list_interfaces()
    chosen = outward(interfaces)
    assert chosen
    assert not any(item.is_loopback for item in chosen) or all(item.is_loopback for item in interfaces)
