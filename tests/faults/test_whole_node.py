"""A whole node on a damaged, a full and a growing disk: it starts, says what happened, and loses nothing it has."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess

import pytest

from cli.conftest import Cli

pytestmark = [pytest.mark.xdist_group("cli"), pytest.mark.timeout(120)]
PAGE_BYTES = 4096
ROOMY = {"HEARTHNET_FILE_MIN_FREE_BYTES": "0"}


@pytest.fixture
def start():
    """Start a node in a home; whatever still runs is ended."""
    running = []

    def begin(cli, **environ):
        node = cli.start(**environ)
        running.append(node)
        return node

    yield begin
    for node in running:
        end(node)


def end(node):
    """End a node as Ctrl+C does; what it wrote to the terminal."""
    node.terminate()
    return node.communicate(timeout=30)[0]


def token_of(cli):
    return json.loads(cli.run("token", "create", "kept", "--json").stdout)["id"]


def notices(cli):
    return json.loads(cli.run("status", "--json").stdout)["notices"]


def damage(path):
    """Garbage in the middle of a database, where a walk over all pages meets it."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // PAGE_BYTES * PAGE_BYTES)
        file.write(b"\xa5" * 2 * PAGE_BYTES)
    assert path.stat().st_size == size


def answers(cli):
    return "Boil water" in cli.run("ask", "how", "long", "to", "boil", "water").stdout


def test_a_damaged_database_is_restored_from_its_backup_and_said_so(cli, start):
    kept = token_of_first_run(cli, start)
    database = cli.home / "data" / "node.sqlite"
    (cli.home / "data" / "backups").mkdir(exist_ok=True)
    shutil.copy(database, cli.home / "data" / "backups" / "node-00000001.sqlite")
    damage(database)
    node = start(cli)
    assert notices(cli) == ["notice.store.restored"]
    assert "backup" in cli.run("status").stdout
    assert kept in cli.run("token", "list").stdout
    assert answers(cli)
    assert (cli.home / "data" / "node.sqlite.damaged-1").exists()
    assert "database damaged" in end(node)


def test_a_damaged_database_without_a_copy_starts_empty_and_says_so(cli, start):
    token_of_first_run(cli, start)
    damage(cli.home / "data" / "node.sqlite")
    start(cli)
    assert notices(cli) == ["notice.store.started_empty"]
    assert answers(cli)


def token_of_first_run(cli, start):
    node = start(cli)
    kept = token_of(cli)
    end(node)
    return kept


def test_a_document_that_does_not_fit_is_refused_and_fits_when_the_disk_has_grown(small_disk, tmp_path, start):
    disk = small_disk(32 * 1024)
    cli = Cli(disk / "home")
    start(cli, **ROOMY)
    kept = token_of(cli)
    rules = tmp_path / "rules.txt"
    rules.write_text("The key of the bicycle cellar hangs on the second floor.\n" * 500_000, encoding="utf-8")
    refused = cli.run("rag", "ingest", str(rules))
    assert refused.returncode == 5
    assert "capacity_exceeded" in refused.stderr
    assert kept in cli.run("token", "list").stdout
    assert answers(cli)
    assert "rules" not in cli.run("rag", "query", "bicycle", "cellar").stdout
    subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
    rules.write_text("The key of the bicycle cellar hangs on the second floor.\n", encoding="utf-8")
    assert cli.run("rag", "ingest", str(rules)).returncode == 0
    assert "second floor" in cli.run("rag", "query", "bicycle", "cellar", "--corpus", "personal").stdout


def test_a_disk_without_any_room_is_named_at_the_start(small_disk):
    disk = small_disk(256)
    shown = Cli(disk / "home").run("run")
    assert shown.returncode == 5
    assert "Traceback" not in shown.stderr + shown.stdout


def test_a_database_of_something_else_is_set_aside_not_overwritten(cli, start):
    folder = cli.home / "data"
    folder.mkdir(parents=True)
    (folder / "node.sqlite").write_bytes(b"my only holiday photograph" * 1000)
    start(cli)
    assert notices(cli) == ["notice.store.started_empty"]
    assert (folder / "node.sqlite.damaged-1").read_bytes().startswith(b"my only holiday photograph")
    with sqlite3.connect(folder / "node.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
