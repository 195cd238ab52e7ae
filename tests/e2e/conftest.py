"""A node-like server in a process of its own, and Debian's Chromium."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
PICTURES = Path(os.environ.get("HEARTHNET_PICTURES", ROOT / ".e2e"))
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP hearthnet-k7qx.local 127.0.0.1",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    """Everything here needs a browser, and one process at a time."""
    missing = pytest.mark.skip(reason="Chromium is not installed: apt-get install chromium")
    for item in items:
        if "tests/e2e" in str(item.path):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("e2e"))
            if not Path(CHROMIUM).exists():
                item.add_marker(missing)


@contextmanager
def run_server(role):
    """The server; gives its address."""
    command = [sys.executable, "tests/web/serve.py", "0", role]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        process.terminate()


@pytest.fixture(scope="session")
def address():
    """Pages as a member sees them."""
    with run_server("member") as url:
        yield url


@pytest.fixture(scope="session")
def admin_address():
    """Pages as an admin sees them."""
    with run_server("admin") as url:
        yield url


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open a fresh browser profile: `open_page(width=360, dark=False, language="de", scripts=True)`.

    A request that leaves the node, a script error or a refused resource fails the test.
    """
    contexts, faults = [], []

    def start(width=1280, height=800, *, dark=False, language="de", scripts=True, **more):
        context = browser.new_context(
            viewport={"width": width, "height": height}, locale=language, java_script_enabled=scripts,
            color_scheme="dark" if dark else "light", **more,
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: faults.append(request.url) if _leaves(request.url) else None)
        page.faults = faults
        return page

    yield start
    for context in contexts:
        context.close()
    assert not faults


def _leaves(url):
    return not re.match(r"(http://(127\.0\.0\.1|hearthnet-k7qx\.local):\d+/|data:|about:)", url)


@pytest.fixture
def take_picture():
    """Keep a screenshot of the whole page under a name."""
    PICTURES.mkdir(exist_ok=True)

    def take(page, name):
        size = page.viewport_size
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
        page.set_viewport_size(size)

    return take
