"""The pages over fake services on a port, for looking at: `python tests/web/serve.py 7999 [role]`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

sys.path[:0] = ["edge", "tests"]

from aiohttp import web  # noqa: E402  after the path

from hearthnet.base.config import Config, UiSection  # noqa: E402
from web.world import World  # noqa: E402


async def serve(port: int, role: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        world = World(Path(home), Config(ui=UiSection(loopback_role=role)))
        runner = web.AppRunner(world.app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        port = runner.addresses[0][1]
        print(f"http://127.0.0.1:{port}/", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "member"))
