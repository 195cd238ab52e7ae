"""The first application: health tells the truth, everything else waits and is then answered, never refused."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from hearthnet.web.serving import Listener
from hearthnet.web.threshold import HealthReply, Threshold

NAME = web.AppKey("name", str)


async def echo(request):
    return web.json_response({"path": request.path, "body": await request.text(), "app": request.app[NAME]})


def whole_app():
    app = web.Application()
    app[NAME] = "whole"
    app.router.add_get("/health", echo)
    app.router.add_route("*", "/{rest:.*}", echo)
    return app


@pytest.fixture
async def threshold():
    return Threshold(lambda: HealthReply("starting", "ed25519:x", "Kastanie", "1", 0), lambda host: "evil" not in host)


@pytest.fixture
async def http(threshold):
    listener = Listener(threshold.app)
    await listener.open()
    port = await listener.listen("127.0.0.1", 0, "ui.port")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    await listener.close()


async def ask(http, path, **more):
    async with http.request(more.pop("method", "GET"), path, **more) as reply:
        return reply.status, await reply.json(), reply.headers


async def test_health_says_starting_with_the_security_headers(http):
    status, body, headers = await ask(http, "/health")
    assert (status, body["status"], body["name"]) == (200, "starting", "Kastanie")
    assert "default-src 'self'" in headers["Content-Security-Policy"]


async def test_a_foreign_host_name_is_refused_at_the_threshold_too(http):
    status, body, _ = await ask(http, "/health", headers={"Host": "evil.example"})
    assert (status, body["error"]) == (400, "bad_request")


async def test_requests_wait_with_their_bodies_and_are_answered_by_the_whole_application(threshold, http):
    asked = [asyncio.ensure_future(ask(http, f"/p{n}", method="POST", data=b"x" * n)) for n in (1, 70_000)]
    await ask(http, "/health")
    assert not any(one.done() for one in asked)
    threshold.admit(whole_app())
    answers = [(await one)[1] for one in asked]
    assert [(a["path"], len(a["body"]), a["app"]) for a in answers] == [
        ("/p1", 1, "whole"),
        ("/p70000", 70_000, "whole"),
    ]
    assert (await ask(http, "/health"))[1]["app"] == "whole"


async def test_closing_ends_the_ones_that_wait(threshold):
    listener = Listener(threshold.app)
    await listener.open()
    port = await listener.listen("127.0.0.1", 0, "ui.port")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        asked = asyncio.ensure_future(ask(session, "/"))
        await ask(session, "/health")
        await listener.close()
        with pytest.raises(aiohttp.ClientError):
            await asked
