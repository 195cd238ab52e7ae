"""The description of the doors: complete, valid and true; an independent program tries every operation."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import aiohttp
import pytest

from hearthnet.base.types import Role
from hearthnet.web import blobs_api
from hearthnet.web.calls import CALL_PATH
from hearthnet.web.i18n import load_texts
from web.api_world import TABLES, ApiWorld, Reader

# what these refuse depends on more than one field (a tool_choice without its tool, a shape for a quote)
CROSS_FIELD = """
[checks.positive_data_acceptance]
expected-statuses = [200, 201, 202, 204, 404]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413, 415, 422, 429]

[[operations]]
include-path-regex = "^/v1/(chat/completions|completions|embeddings|call/llm.*)$"
checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture
async def document(api):
    async with aiohttp.ClientSession(api.url) as http, http.get("/openapi.json") as reply:
        return await reply.json()


def documented(document):
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def described_routes(tables=TABLES):
    return [route for table in tables for route in table.routes if route.api and route.path != CALL_PATH]


def test_every_api_route_declares_what_travels_on_it():
    routes = described_routes((*TABLES, blobs_api.routes))
    assert [f"{route.method} {route.path}" for route in routes if route.contract is None] == []


def test_every_operation_has_a_sentence_in_both_languages():
    keys = {f"api.{route.handler.__name__}" for route in described_routes((*TABLES, blobs_api.routes))}
    for texts in load_texts().values():
        assert keys - texts.keys() == set()


async def test_every_route_and_every_capability_is_described(api, document):
    places = {(route.method, re.sub(r":[^}]*}", "}", route.path)) for route in described_routes()}
    calls = {("POST", f"/v1/call/{descriptor.name}") for descriptor in api.bus.descriptors()}
    assert documented(document) == places | calls


async def test_a_capability_that_comes_later_is_described_too(tmp_path):
    world = ApiWorld(tmp_path, services=())
    await world.start()
    async with aiohttp.ClientSession(world.url) as http:
        for expected in (False, True):
            async with http.get("/openapi.json") as reply:
                assert ("/v1/call/ocr.pdf@1.0" in (await reply.json())["paths"]) is expected
            if not expected:
                world.bus.register(Reader())
    await world.close()


async def test_references_lead_somewhere_and_names_are_unique(document):
    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for item in node.values():
                yield from walk(item)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(walk(document["paths"])) | set(walk(document["components"])) <= known
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


async def test_the_meta_of_a_capability_is_in_its_reply_and_not_in_its_output(document):
    schemas = document["components"]["schemas"]
    reply = schemas["Reply_rag.query_1.0_"]
    output, meta = (schemas[reply["properties"][name]["$ref"].rpartition("/")[2]] for name in ("output", "meta"))
    assert set(output["properties"]) == {"chunks"}
    assert {"embedding_model", "ms", "trace_id"} <= set(meta["properties"])


async def test_the_page_shows_every_operation_in_the_language_of_its_reader(api, document):
    async with aiohttp.ClientSession(api.url) as http:
        for language, word in (("de", "Anfrage"), ("en", "Request")):
            async with http.get("/docs", headers={"Accept-Language": language}) as reply:
                page = await reply.text()
                assert reply.headers["Content-Language"] == language
            assert word in page
            shown = set(re.findall(r"<summary><code>(\w+) ([^<]+)</code>", page))
            assert shown == documented(document)
            assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)


async def test_the_settings_on_the_page_use_the_address_it_was_asked_at(api):
    async with (
        aiohttp.ClientSession(api.url) as http,
        http.get("/docs", headers={"Host": "hearthnet.local:7860"}) as reply,
    ):
        page = await reply.text()
    assert "http://hearthnet.local:7860/v1" in page
    assert "api_key=&#34;hn-...&#34;" in page or 'api_key="hn-..."' in page


@pytest.mark.timeout(240)
async def test_schemathesis_finds_nothing_that_the_description_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr("hearthnet.web.admission.is_loopback", lambda request: False)
    world = ApiWorld(tmp_path / "home")
    await world.start()
    _, secret = await world.sessions.create_token("schemathesis", Role.ADMIN)
    (tmp_path / "schemathesis.toml").write_text(CROSS_FIELD)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"), "--config-file", "schemathesis.toml",
        "run", f"{world.url}/openapi.json", "-H", f"Authorization: Bearer {secret}", "--phases", "examples,coverage,fuzzing",
        "--max-examples", "12", "--seed", "1", "--request-timeout", "10", "--continue-on-failure", "--warnings", "off",
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out = (await process.communicate())[0].decode()
    await world.close()
    assert process.returncode == 0, out
    operations = len(described_routes()) + len(world.bus.descriptors())
    assert int(re.search(r"Tested: (\d+)", out)[1]) == operations - 1, out  # it leaves out the description itself
    assert int(re.search(r"(\d+) generated", out)[1]) > 500
