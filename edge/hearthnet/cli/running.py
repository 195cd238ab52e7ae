"""Runs a node until it is told to stop; the CLI's `run` (M12)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from hearthnet.base.configfile import load_config
from hearthnet.base.log import start_logging
from hearthnet.startup import Startup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hearthnet.base.config import Config
    from hearthnet.base.paths import Paths
    from hearthnet.cli.output import Console
    from hearthnet.node import Node

log = logging.getLogger(__name__)


def run_node(
    environ: Mapping[str, str], flags: Mapping[str, str], config_file: str | None,
    *, with_ui: bool, console: Console, debug: bool,
) -> int:  # fmt: skip
    """Run the node of the console's home; the exit code. Raises StartupError and its kinds."""
    paths = console.paths
    config = load_config(paths, environ, extra_file=Path(config_file) if config_file else None, flags=flags)
    paths.create()
    handlers = start_logging("debug" if debug else config.observability.log_level, paths.log)
    started = time.monotonic()
    try:
        asyncio.run(_run(paths, config, console, with_ui=with_ui))
    finally:
        log.info("ran for %.0f s, pid %s", time.monotonic() - started, os.getpid())
        with contextlib.suppress(OSError):
            handlers.close()
    return 0


async def _run(paths: Paths, config: Config, console: Console, *, with_ui: bool) -> None:
    while await _run_once(paths, config, console, with_ui=with_ui):  # moved: the next run lives elsewhere
        log.info("beginning again in another community")


async def _run_once(paths: Paths, config: Config, console: Console, *, with_ui: bool) -> bool:
    """One run; whether the node moved and another one follows."""
    startup = Startup(paths, config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, startup.stopping.set)
    await startup.open(with_ui=with_ui)
    try:
        # in a thread: the listeners stand already, and `/health` answers while services and pages are loaded
        module = await asyncio.to_thread(import_module, "hearthnet.node")
        node = module.Node(startup)
        await _serve(node, console, with_ui=with_ui)
    finally:
        await startup.close()
    return bool(node.moved)


async def _serve(node: Node, console: Console, *, with_ui: bool) -> None:
    startup, config = node.startup, node.config
    await node.start(with_ui=with_ui)
    try:
        host = config.ui.host if config.ui.host not in ("0.0.0.0", "::", "") else "127.0.0.1"  # noqa: S104
        if with_ui:
            url = f"http://{host}:{startup.ui_port}"
            console.line(console.t("cli.run.ready", name=config.node.name or "HearthNet", url=url))
            console.note(console.t("cli.run.admin", url=url + node.admin_path))
        console.note(console.t("cli.run.stop"))
        await startup.stopping.wait()
        console.note(console.t("cli.run.stopping"))
    finally:
        await node.stop()
