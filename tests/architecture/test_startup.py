"""What may be loaded before a starting node answers `/health`: the guard of its start time, without a clock."""

from __future__ import annotations

import os
import subprocess
import sys

from architecture.source_tree import PACKAGE

# loaded by the command line up to its listeners; a new name here costs every start, so it needs a reason
BEFORE_THE_LISTENERS = {
    "hearthnet.adapters.clock", "hearthnet.adapters.home_lock", "hearthnet.adapters.keyfile",
    "hearthnet.base.config", "hearthnet.base.configfile", "hearthnet.base.configline", "hearthnet.base.constants",
    "hearthnet.base.errors", "hearthnet.base.log", "hearthnet.base.paths", "hearthnet.base.types",
    "hearthnet.cli.client", "hearthnet.cli.main", "hearthnet.cli.nodes", "hearthnet.cli.output",
    "hearthnet.cli.parsing", "hearthnet.cli.running", "hearthnet.startup", "hearthnet.web.connections",
    "hearthnet.web.headers",
    "hearthnet.web.hosts", "hearthnet.web.i18n", "hearthnet.web.serving", "hearthnet.web.threshold",
    "hearthnet.wire.identity",
}  # fmt: skip
HEAVY = {"cryptography", "jinja2", "numpy", "sqlite3", "zeroconf"}
LISTEN_AND_LIST = """
import asyncio, sys
import hearthnet.cli.main, hearthnet.cli.nodes, hearthnet.cli.running
from hearthnet.base.config import Config, UiSection
from hearthnet.base.paths import resolve_paths
from hearthnet.startup import Startup

async def listen():
    startup = Startup(resolve_paths({"HEARTHNET_HOME": sys.argv[1]}), Config(ui=UiSection(port=0)))
    await startup.open()
    assert startup.ui_port
    await startup.close()

asyncio.run(listen())
print("\\n".join(sys.modules))
"""


def test_the_listeners_stand_before_services_and_pages_are_loaded(tmp_path):
    environ = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", LISTEN_AND_LIST, str(tmp_path)]
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    loaded = set(shown.stdout.split())
    ours = {name for name in loaded if name.count(".") > 0 and name.startswith("hearthnet.")}
    packages = {"hearthnet.adapters", "hearthnet.base", "hearthnet.cli", "hearthnet.web", "hearthnet.wire"}
    assert "hearthnet.web.threshold" in ours
    assert not ours - packages - BEFORE_THE_LISTENERS
    assert not loaded & HEAVY
