"""Settings: what lies on this box, how much room is left, tidying up (M08, M07)."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

from aiohttp import web
from msgspec import Struct

from hearthnet.base.types import Role
from hearthnet.web.door import door_of
from hearthnet.web.pages import redirect, render
from hearthnet.web.routing import RouteTable

if TYPE_CHECKING:
    from pathlib import Path

    from hearthnet.base.paths import Paths
    from hearthnet.web.model_desk import ModelShelf

routes = RouteTable()


class Room(Struct, frozen=True):
    """The disk, and what of it is ours; `shares` are (locale key, bytes)."""

    total_bytes: int
    free_bytes: int
    shares: tuple[tuple[str, int], ...]


def measure_room(paths: Paths, shelf: ModelShelf) -> Room:
    """Sizes by kind; models count wherever they lie; blocking."""
    disk = shutil.disk_usage(paths.data)
    models = sum(model.size_bytes for model in shelf.installed())
    blobs = _size(paths.blobs)
    rest = max(0, _size(paths.data) - _size(paths.models) - blobs)
    logs = _size(paths.log) + _size(paths.cache)
    shares = (("models", models), ("blobs", blobs), ("store", rest), ("logs", logs))
    return Room(disk.total, disk.free, shares)


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  called for every file
            except FileNotFoundError:
                continue  # gone while we looked
    return total


@routes.add("GET", "/settings/storage", role=Role.MEMBER)
async def show_storage(request: web.Request) -> web.StreamResponse:
    """Sizes and free space; `?freed=` tells the result of tidying up."""
    door = door_of(request)
    room = await asyncio.to_thread(measure_room, door.paths, door.extras["models"])
    freed = request.query.get("freed", "")
    used = 1 - room.free_bytes / room.total_bytes if room.total_bytes else 0.0
    return render(
        request,
        "settings/storage.html",
        room=room,
        used=used,
        least_free=door.config.file.min_free_bytes,
        threshold=door.config.file.gc_threshold,
        freed=int(freed) if freed.isdecimal() and len(freed) < 16 else None,
    )


@routes.add("POST", "/settings/storage/tidy", role=Role.ADMIN)
async def tidy(request: web.Request) -> web.StreamResponse:
    """Remove files that nothing needs, while the disk is above its threshold."""
    freed = await door_of(request).services.blobs.collect_garbage()
    return redirect(f"/settings/storage?freed={freed}")
