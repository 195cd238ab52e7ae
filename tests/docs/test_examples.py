"""The examples of the documentation run as they stand, against a real node with its real models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import EDGE, Cli

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
# what a reader must find in the output
EXPECTED = {
    "ask.py": "(quoted,",
    "openai_client.py": "hearthnet",
    "search_library.py": "1 ",
    "canonical_json.py": '"a":[1e+21,"ö",null]',
}

pytestmark = [pytest.mark.xdist_group("examples"), pytest.mark.timeout(90)]


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    cli = Cli(tmp_path_factory.mktemp("box") / "home")
    node = cli.start()
    port = json.loads(cli.run("status", "--json").stdout)["ui_port"]
    yield f"http://127.0.0.1:{port}"
    node.terminate()
    node.communicate(timeout=15)


def test_every_example_is_expected_to_say_something():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_example_runs(name, box):
    shown = subprocess.run(
        [sys.executable, EXAMPLES / name], env={"HEARTHNET_URL": box, "PYTHONPATH": str(EDGE), "PATH": "/usr/bin"},
        capture_output=True, text=True, timeout=80, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert EXPECTED[name] in shown.stdout
