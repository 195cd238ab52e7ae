"""How the node is, and who may look inside."""

from __future__ import annotations

import re

import aiohttp
import pytest

from hearthnet.base.config import Config, ObservabilitySection, UiSection
from hearthnet.base.types import Role
from web.api_world import ApiWorld

INSIDE = ("/metrics", "/trace/recent", "/v1/doctor")


@pytest.fixture
async def http(api):
    async with aiohttp.ClientSession(api.url) as session:
        yield session


async def get(http, path, **more):
    async with http.get(path, **more) as reply:
        return reply.status, await reply.json()


async def test_health_says_who_lives_here(http):
    status, body = await get(http, "/health")
    assert (status, body["status"], body["name"]) == (200, "ok", "Kastanie")
    assert body["uptime_seconds"] >= 0


async def test_a_node_without_capabilities_is_alive_but_not_ready(tmp_path):
    world = ApiWorld(tmp_path, services=())
    await world.start()
    async with aiohttp.ClientSession(world.url) as http:
        assert await get(http, "/ready") == (503, {"ready": False, "capabilities": 0, "peers": 0})
        assert (await get(http, "/health"))[0] == 200
    await world.close()


async def test_a_community_of_one_is_ready(http):
    status, body = await get(http, "/ready")
    assert (status, body["ready"], body["capabilities"]) == (200, True, 5)


async def test_traces_come_newest_first_and_by_capability(api, http):
    for name, body in (
        ("rag.query", {"input": {"query": "a"}}),
        ("rag.query", {"input": {"query": "fail"}}),
        ("embed.text", {"input": {"texts": ["x"]}}),
    ):
        async with http.post(f"/v1/call/{name}", json=body) as reply:
            await reply.read()
    traces = (await get(http, "/trace/recent"))[1]["traces"]
    assert [(trace["capability"], trace["result"]) for trace in traces] == [
        ("embed.text", "ok"), ("rag.query", "bad_request"), ("rag.query", "ok"),
    ]  # fmt: skip
    assert len((await get(http, "/trace/recent?n=1"))[1]["traces"]) == 1
    for name in ("rag.query", "rag.query@1.0"):
        assert len((await get(http, f"/trace/recent?capability={name}"))[1]["traces"]) == 2


@pytest.mark.parametrize("query", ["n=0", "n=1001", "n=many", "size=3", f"capability={'x' * 129}"])
async def test_a_wrong_query_is_refused(http, query):
    status, body = await get(http, f"/trace/recent?{query}")
    assert (status, body["error"]) == (400, "schema_mismatch")


async def test_metrics_are_plain_text_for_prometheus(http):
    async with http.post("/v1/call/rag.query", json={"input": {"query": "a"}}) as reply:
        assert reply.status == 200
    async with http.get("/metrics") as reply:
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = (await reply.text()).splitlines()
    assert 'hearthnet_requests_total{capability="rag.query",result="ok"} 1' in lines
    assert [line for line in lines if not re.fullmatch(r"#.*|[a-z_]+(\{[^{}]*\})? [-+.\de]+", line)] == []


async def test_metrics_can_be_switched_off(tmp_path):
    world = ApiWorld(tmp_path, Config(observability=ObservabilitySection(metrics_enabled=False)))
    await world.start()
    async with aiohttp.ClientSession(world.url) as http:
        assert (await get(http, "/metrics"))[0] == 404
    await world.close()


async def test_the_check_up_of_a_running_node_knows_more(http):
    findings = (await get(http, "/v1/doctor"))[1]["findings"]
    found = {finding["check"]: finding for finding in findings}
    assert found["at_least_one_capability"]["values"] == {"count": "5"}
    assert found["ui_port"]["reason"] == "ours"
    assert [finding["check"] for finding in (await get(http, "/v1/doctor?check=disk_space"))[1]["findings"]] == [
        "disk_space"
    ]
    assert (await get(http, "/v1/doctor?check=tyres"))[0] == 404


@pytest.mark.parametrize("path", INSIDE)
async def test_the_inside_is_for_this_machine_for_tokens_and_for_admins(tmp_path, monkeypatch, path):
    world = ApiWorld(tmp_path, Config(ui=UiSection(loopback_role="member")))
    await world.start()
    member, admin = [await world.sessions.open_session(role, "phone") for role in (Role.MEMBER, Role.ADMIN)]
    _, token = await world.sessions.create_token("prometheus", Role.MEMBER)
    async with aiohttp.ClientSession(world.url) as http:
        seen = {"this machine": (await fetch(http, path))}
        monkeypatch.setattr("hearthnet.web.admission.is_loopback", lambda request: False)
        seen["guest"] = await fetch(http, path)
        seen["member"] = await fetch(http, path, {"Cookie": f"hearthnet_session={member}"})
        seen["admin"] = await fetch(http, path, {"Cookie": f"hearthnet_session={admin}"})
        seen["token"] = await fetch(http, path, {"Authorization": f"Bearer {token}"})
    assert seen == {"this machine": 200, "guest": 401, "member": 401, "admin": 200, "token": 200}
    await world.close()


async def test_where_this_machine_is_only_a_guest_it_sees_nothing_inside(tmp_path):
    world = ApiWorld(tmp_path, Config(ui=UiSection(loopback_role="guest")))
    await world.start()
    async with aiohttp.ClientSession(world.url) as http:
        assert {await fetch(http, path) for path in INSIDE} == {401}
        assert await fetch(http, "/health") == 200
    await world.close()


async def fetch(http, path, headers=None):
    async with http.get(path, headers=headers) as reply:
        return reply.status
