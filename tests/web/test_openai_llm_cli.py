"""The real `llm` program, set up with what the docs page prints."""

from __future__ import annotations

import asyncio
import html
import os
import re
import sys
from pathlib import Path

import aiohttp
import pytest

from hearthnet.base.types import Role
from web.api_world import BARE

pytestmark = pytest.mark.timeout(120)  # starts the real program, twice, also on a busy machine


async def page_settings(api):
    """The YAML block of the docs page."""
    async with aiohttp.ClientSession() as session, session.get(f"{api.url}/docs") as reply:
        page = await reply.text()
    return html.unescape(re.search(r'<pre[^>]*id="llm-yaml"><code>(.*?)</code>', page, re.DOTALL)[1])


async def run_llm(home, *arguments):
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "llm"), *arguments,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LLM_USER_PATH": str(home / "llm")},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def home(api, tmp_path):
    folder = tmp_path / "llm"
    folder.mkdir()
    (folder / "extra-openai-models.yaml").write_text(await page_settings(api))
    return tmp_path


async def test_a_question_is_answered_with_sources(home):
    code, out, err = await run_llm(home, "-m", "hearthnet", "May a generator run in the cellar?")
    assert (code, err) == (0, "")
    assert out.startswith("Only outdoors. [1]\nSix metres from doors. [1]")
    assert "[1] Generators and fuel · BBK, CDC · 2026-11" in out


async def test_a_bare_model_takes_options_and_a_system_prompt(api, home):
    code, out, err = await run_llm(
        home,
        "-m",
        f"hearthnet/{BARE}",
        "--no-stream",
        "-o",
        "temperature",
        "0.2",
        "-o",
        "max_tokens",
        "5",
        "-s",
        "Be kind.",
        "good day",
    )
    assert (code, out.strip(), err) == (0, "good day", "")
    (asked,) = api.talker.asked
    assert (asked.temperature, asked.max_tokens, asked.messages[0].content) == (0.2, 5, "Be kind.")


async def test_busy_is_said_and_fails(api, home):
    api.talker.retry_after_ms = 100  # its client waits and tries again twice
    code, _, err = await run_llm(home, "-m", "hearthnet", "busy")
    assert code != 0
    assert "all places are taken" in err


async def test_from_the_network_it_says_how_to_get_in_and_then_gets_in(api, home, monkeypatch):
    monkeypatch.setattr("hearthnet.web.admission.is_loopback", lambda request: False)
    settings = await page_settings(api)
    assert "api_key_name: hearthnet" in settings
    (home / "llm" / "extra-openai-models.yaml").write_text(settings)
    (home / "llm" / "keys.json").write_text('{"hearthnet": "sk-wrong"}')
    code, _, err = await run_llm(home, "-m", "hearthnet", "hello")
    assert code != 0
    assert "llm keys set hearthnet" in err
    _, secret = await api.sessions.create_token("llm", Role.MEMBER)
    (home / "llm" / "keys.json").write_text(f'{{"hearthnet": "{secret}"}}')
    code, out, _ = await run_llm(home, "-m", "hearthnet", "hello")
    assert (code, out[:9]) == (0, "Only outd")
