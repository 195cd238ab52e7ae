"""Fetching a model from an address, with resumption and hash (M04)."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from hearthnet.adapters.disk import sync, translate_os
from hearthnet.adapters.models_dir import ModelsDir, Progress, check_memory, describe_file, name_of_file
from hearthnet.base.errors import BadRequest, HashMismatch, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BLOCK: Final = 1_048_576
_SILENCE_S: Final = 60.0
_FIX: Final = "repeat the command: it goes on where it stopped"


class _Mark(Struct, frozen=True):
    """What is known of a part: which version of the file it belongs to."""

    etag: str = ""
    total_bytes: int = 0


async def add_url(models: ModelsDir, url: str, *, name: str = "", sha256: str = "") -> AsyncIterator[Progress]:
    """Download a .gguf file; a broken download is resumed by the next call with the same address.

    Raises BadRequest (address, not a model), Unavailable (network; the part is kept), HashMismatch (the part is
    removed), DiskFull, CapacityExceeded.
    """
    part = _part_of(models, url)
    label = name or name_of_file(_file_name(url))
    yield Progress("checking", label)
    try:
        async for step in _download(models, url, part, label):
            yield step
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"the download broke off: {str(error)[:200] or type(error).__name__}", fix=_FIX) from None
    except OSError as error:
        raise translate_os(error, part) from None
    size = part.stat().st_size
    yield Progress("verifying", label, size, size)
    try:
        digest = await asyncio.to_thread(_hash_of, part)
        if sha256 and digest != sha256.lower():
            raise HashMismatch(
                f"{_file_name(url)} has the hash {digest}, not the announced one", fix="check the address"
            )
        await asyncio.to_thread(check_memory, part)
        with models.staging() as stage:
            target = part.rename(stage / _file_name(url))
            source = f"url {urlsplit(url).hostname}"
            manifest = await asyncio.to_thread(describe_file, target, digest, name=name, source=source)
            models.admit(stage, manifest)
    finally:
        shutil.rmtree(part.parent, ignore_errors=True)  # complete or wrong: in both cases of no more use
    yield Progress("done", manifest.name, size, size)


async def _download(models: ModelsDir, url: str, part: Path, label: str) -> AsyncIterator[Progress]:
    mark = _read_mark(part)
    have = _size_of(part) if mark.etag else 0
    headers = {"Range": f"bytes={have}-", "If-Range": mark.etag} if have else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=_SILENCE_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
        session.get(url, headers={"Accept-Encoding": "identity", **headers}) as reply,
    ):
        if reply.status == 416 and have == mark.total_bytes:
            return
        _check_status(reply.status)
        have = have if reply.status == 206 else 0
        total = have + (reply.content_length or 0)
        models.check_room(total - have)
        part.parent.mkdir(parents=True, exist_ok=True)
        fresh = _Mark(reply.headers.get("ETag", ""), total)
        (part.parent / "mark.json").write_bytes(msgspec.json.encode(fresh))
        with part.open("ab" if have else "wb") as output:
            async for block in reply.content.iter_chunked(_BLOCK):
                await asyncio.to_thread(output.write, block)
                have += len(block)
                yield Progress("downloading", label, have, total)
        if total and have != total:
            raise Unavailable(f"the download broke off after {have} of {total} bytes", fix=_FIX)
        sync(part)


def _check_status(status: int) -> None:
    if status in (404, 410):
        raise NotFound("the address holds no file", fix="check the address")
    if status not in (200, 206):
        raise Unavailable(f"the server answered with status {status}", fix="repeat later, or check the address")


def _part_of(models: ModelsDir, url: str) -> Path:
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise BadRequest("a model address begins with https:// or http://", fix="check the address")
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    return models.folder / f".part-{key}" / "model.part"


def _file_name(url: str) -> str:
    last = Path(unquote(urlsplit(url).path)).name
    return f"{name_of_file(last)}.gguf"


def _read_mark(part: Path) -> _Mark:
    try:
        return msgspec.json.decode((part.parent / "mark.json").read_bytes(), type=_Mark)
    except (OSError, msgspec.DecodeError):
        return _Mark()


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
