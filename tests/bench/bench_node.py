"""Memory and start-up of the node without engines beside a bare aiohttp + zeroconf + PyNaCl server in the same run.

    python tests/bench/bench_node.py [--json] [--rounds 3]

Bars (issue 2, section 6): at most 1.5x of the bare server, and at most 90 MB resident. The node starts on an empty home
(first) and again on the same one (warm); `/health` says `starting` until `/ready` answers, so that is timed too.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

BARE = """
import asyncio, sys
import nacl.signing, zeroconf
from aiohttp import web
key = nacl.signing.SigningKey.generate()
async def health(request): return web.json_response({"ok": True})
app = web.Application(); app.router.add_get("/health", health); app.router.add_get("/ready", health)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answer(port: int, path: str, timeout_s: float) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as reply:
        reply.read()


def measure(command: list[str], port: int, environ: dict[str, str]) -> tuple[float, float, float]:
    """Seconds to the first /health, resident megabytes two seconds after /ready, seconds to /ready."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode}")
            try:
                answer(port, "/health", 1)
                break
            except OSError:
                if time.monotonic() - started > 60:
                    raise
                time.sleep(0.01)
        seconds = time.monotonic() - started
        answer(port, "/ready", 60)
        ready = time.monotonic() - started
        time.sleep(2)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return seconds, rss / 1024, ready
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: dict[str, list[tuple[float, float, float]]] = {"bare": [], "first": [], "node": []}
    root = Path(__file__).resolve().parents[2]
    for _ in range(options.rounds):
        port = free_port()
        figures["bare"].append(measure([sys.executable, "-c", BARE, str(port)], port, dict(os.environ)))
        with tempfile.TemporaryDirectory() as home:
            port = free_port()
            environ = {
                **os.environ, "HEARTHNET_HOME": home, "PYTHONPATH": str(root / "edge"), "HEARTHNET_UI_PORT": str(port),
                "HEARTHNET_TRANSPORT_PORT": "0",
            }  # fmt: skip
            # the first start makes key, certificate, databases and reads the handbook
            figures["first"].append(measure([sys.executable, "-m", "hearthnet.cli.main", "run"], port, environ))
            figures["node"].append(measure([sys.executable, "-m", "hearthnet.cli.main", "run"], port, environ))
    seconds = {name: statistics.median(item[0] for item in rounds) for name, rounds in figures.items()}
    memory = {name: statistics.median(item[1] for item in rounds) for name, rounds in figures.items()}
    ready = {name: statistics.median(item[2] for item in rounds) for name, rounds in figures.items()}
    result = {
        "start_s": seconds, "rss_mb": memory, "start_ratio": seconds["node"] / seconds["bare"],
        "first_start_ratio": seconds["first"] / seconds["bare"], "ready_s": ready,
        "rss_ratio": memory["node"] / memory["bare"],
    }  # fmt: skip
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"start to /health, warm home: bare {seconds['bare']:.2f} s, node {seconds['node']:.2f} s, "
        f"ratio {result['start_ratio']:.2f} (bar 1.5)"
    )
    print(f"the same, first start: node {seconds['first']:.2f} s, ratio {result['first_start_ratio']:.2f} (bar 1.5)")
    print(
        f"start to /ready: bare {ready['bare']:.2f} s, warm {ready['node']:.2f} s, first {ready['first']:.2f} s (no bar)"
    )
    print(
        f"resident: bare {memory['bare']:.0f} MB, node {memory['node']:.0f} MB, ratio {result['rss_ratio']:.2f} (bar 1.5, 90 MB)"
    )


if __name__ == "__main__":
    main()
