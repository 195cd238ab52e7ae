"""A real node in a process of its own, one for all command-line tests of a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

EDGE = Path(__file__).resolve().parents[2] / "edge"


class Cli:
    """Runs `hearthnet` commands in one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("HEARTHNET_", "LC_", "LANG"))},
            "HEARTHNET_HOME": str(home), "PYTHONPATH": str(EDGE), "HEARTHNET_UI_PORT": "0", "NO_COLOR": "1",
            "HEARTHNET_TRANSPORT_PORT": "0", "LANG": "en_GB.UTF-8", "COLUMNS": "100",
        }  # fmt: skip

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hearthnet.cli.main", *words]

    def run(self, *words: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env={**self.environ, **environ}, input=stdin, capture_output=True, text=True, timeout=60,
            cwd=self.home.parent, check=False,
        )  # fmt: skip

    def start(self, **environ: str) -> subprocess.Popen[str]:
        node = subprocess.Popen(
            self.command("run"),
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 15
        while not (self.home / "run" / "control.sock").exists() or self.run("status").returncode != 0:
            if node.poll() is not None or time.monotonic() > deadline:
                node.kill()
                raise RuntimeError(node.communicate()[0])
            time.sleep(0.05)
        return node


@pytest.fixture(scope="session")
def running():
    with tempfile.TemporaryDirectory() as folder:
        cli = Cli(Path(folder) / "home")
        node = cli.start()
        yield cli
        node.terminate()
        node.communicate(timeout=10)


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path / "home")
