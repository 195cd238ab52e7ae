"""Killed at any point of an ingestion: what was acknowledged is there, what was half is taken in again."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.mesh.library_schema import MIGRATIONS, word_index

CHILD = Path(__file__).with_name("library_crash_child.py")
PAGES = 90


def run_and_kill(home, first, rng):
    """Numbers that were acknowledged before the kill."""
    child = subprocess.Popen([sys.executable, str(CHILD), str(home), str(first)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "started\n"
    time.sleep(rng.uniform(0, 0.05))  # the moment of the kill
    lines = [child.stdout.readline() for _ in range(rng.randrange(3))]
    time.sleep(rng.uniform(0, 0.02))
    child.kill()
    lines += child.communicate()[0].splitlines()
    return {int(line) for line in lines}


def ready_documents(home):
    """Numbers of documents that are whole: ready, all pages there, found by words."""
    with sqlite3.connect(home / "node.sqlite") as database:
        corpus = database.execute("SELECT id FROM library_corpora WHERE name = 'street'").fetchone()
        if corpus is None:
            return set(), 0
        found = set()
        for key, text, pages in database.execute(
            "SELECT d.id, min(c.text), count(*) FROM library_docs d JOIN library_chunks c ON c.doc = d.id"
            " WHERE d.state = 'ready' GROUP BY d.id"
        ):
            number = int(text.split("marker")[1].split("x")[0])
            match = f'"marker{number}x"'
            words = f"SELECT count(*) FROM {word_index(corpus[0])} WHERE {word_index(corpus[0])} MATCH ?"
            assert pages == PAGES, key
            assert database.execute(words, (match,)).fetchone()[0] == PAGES
            found.add(number)
        (half,) = database.execute("SELECT count(*) FROM library_docs WHERE state = 'reading'").fetchone()
        return found, half


def kill_often(home, rounds, seed):
    rng, promised, first = random.Random(seed), set(), 0
    halves = 0
    for _ in range(rounds):
        promised |= run_and_kill(home, first, rng)
        ready, half = ready_documents(home)
        assert promised <= ready
        halves += half
        first += 100
    asyncio.run(SqliteStore.open(home / "node.sqlite", MIGRATIONS).close())  # passes the integrity check
    return promised, halves


@pytest.mark.timeout(60)
def test_twenty_kills_lose_nothing_that_was_acknowledged(tmp_path):
    promised, _ = kill_often(tmp_path, 20, seed=1)
    assert promised


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_kills_lose_nothing_that_was_acknowledged(tmp_path):
    promised, halves = kill_often(tmp_path, 200, seed=2)
    assert len(promised) > 100
    assert halves  # some kills fell into the middle of a document
