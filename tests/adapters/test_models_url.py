"""Models from an address: resumed, verified, never half."""

from __future__ import annotations

import hashlib

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.gguf_maker import gguf
from hearthnet.adapters.model_url import add_url
from hearthnet.adapters.models_dir import ModelsDir
from hearthnet.base.errors import BadRequest, HashMismatch, NotFound, Unavailable

DATA = gguf(tensors=((1024, 700),))


class Shelf:
    """A server of one file; breaks off as often as told."""

    def __init__(self):
        self.breaks = 0
        self.requests = []
        self.etag = '"v1"'
        self.data = DATA
        self.ranges = True

    async def serve(self, request):
        asked = request.headers.get("Range", "")
        fresh = request.headers.get("If-Range", self.etag) == self.etag
        start = int(asked[6:].rstrip("-")) if asked and fresh and self.ranges else 0
        self.requests.append(start)
        rest = self.data[start:]
        headers = {"ETag": self.etag, "Content-Length": str(len(rest))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        if self.breaks:
            self.breaks -= 1
            await response.write(rest[: len(rest) // 2])
            request.transport.close()
            return response
        await response.write(rest)
        return response


@pytest.fixture
async def shelf():
    found = Shelf()
    app = web.Application()
    app.router.add_get("/files/{name}", found.serve)
    server = TestServer(app)
    await server.start_server()
    found.url = str(server.make_url("/files/My%20Model.gguf"))
    found.other = str(server.make_url("/none/x.gguf"))
    yield found
    await server.close()


@pytest.fixture
def models(tmp_path):
    return ModelsDir(tmp_path / "models")


async def fetch(models, url, **more):
    return [step async for step in add_url(models, url, **more)]


def left(models):
    return sorted(path.name for path in models.folder.glob("*")) if models.folder.exists() else []


async def test_file_arrives_with_progress(models, shelf):
    steps = await fetch(models, shelf.url, sha256=hashlib.sha256(DATA).hexdigest().upper())
    assert [step.stage for step in steps][0 :: len(steps) - 1] == ["checking", "done"]
    assert [step.done_bytes for step in steps if step.stage == "downloading"][-1] == len(DATA)
    assert all(step.total_bytes == len(DATA) for step in steps if step.stage == "downloading")
    (model,) = models.installed()
    assert (model.name, model.manifest.source) == ("my-model", "url 127.0.0.1")
    assert left(models) == ["my-model"]


async def test_broken_download_goes_on_where_it_stopped(models, shelf):
    shelf.breaks = 2
    for _ in range(2):
        with pytest.raises(Unavailable) as broken:
            await fetch(models, shelf.url)
        assert "goes on" in broken.value.fix
        assert models.installed() == []
    await fetch(models, shelf.url)
    assert shelf.requests[0] == 0 < shelf.requests[1] < shelf.requests[2]
    assert models.installed()[0].path.read_bytes() == DATA


async def test_file_that_changed_meanwhile_starts_again(models, shelf):
    shelf.breaks = 1
    with pytest.raises(Unavailable):
        await fetch(models, shelf.url)
    shelf.etag, shelf.data = '"v2"', gguf(tensors=((1024, 700),), **{"general.name": "Second"})
    await fetch(models, shelf.url)
    assert models.installed()[0].path.read_bytes() == shelf.data


async def test_server_without_ranges_starts_again(models, shelf):
    shelf.breaks, shelf.ranges = 1, False
    with pytest.raises(Unavailable):
        await fetch(models, shelf.url)
    await fetch(models, shelf.url)
    assert models.installed()[0].path.read_bytes() == DATA


async def test_wrong_hash_removes_every_trace(models, shelf):
    with pytest.raises(HashMismatch):
        await fetch(models, shelf.url, sha256="0" * 64)
    assert left(models) == []


async def test_page_instead_of_a_model_removes_every_trace(models, shelf):
    shelf.data = b"<!DOCTYPE html><title>Sign in</title>" * 10
    with pytest.raises(BadRequest):
        await fetch(models, shelf.url)
    assert left(models) == []


@pytest.mark.parametrize("url", ["ftp://example.org/x.gguf", "file:///etc/passwd", "nonsense", "http://"])
async def test_address_of_another_kind_is_refused(models, url):
    with pytest.raises(BadRequest):
        await fetch(models, url)


async def test_address_without_a_file_is_said(models, shelf):
    with pytest.raises(NotFound):
        await fetch(models, shelf.other)


async def test_no_network_is_said(models):
    with pytest.raises(Unavailable):
        await fetch(models, "http://127.0.0.1:9/x.gguf")
    assert models.installed() == []
