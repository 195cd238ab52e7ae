"""`init`, `run`, `status`, `version` (M12)."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from hearthnet import __version__

if TYPE_CHECKING:
    import argparse

    from hearthnet.cli.output import Console
    from hearthnet.web.i18n import Texts


def add_arguments(name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Options of these commands."""
    if name in ("run", "init"):
        parser.add_argument("--name", default=None, help=t("cli.opt.name"))
    if name == "run":
        parser.add_argument("--ui-port", type=int, default=None, help=t("cli.opt.ui_port"))
        parser.add_argument("--http-port", type=int, default=None, help=t("cli.opt.http_port"))
        parser.add_argument("--host", default=None, help=t("cli.opt.host"))
        parser.add_argument("--config", default=None, help=t("cli.opt.config"))
        parser.add_argument("--no-ui", action="store_true", help=t("cli.opt.no_ui"))
    if name == "init":
        parser.add_argument("--profile", choices=("anchor", "hearth", "spark", "bridge"), help=t("cli.opt.profile"))
        parser.add_argument("--non-interactive", action="store_true", help=t("cli.opt.non_interactive"))


def run_command(name: str, options: argparse.Namespace, console: Console) -> int:
    """Run one of these commands."""
    return {"init": _init, "run": _run, "status": _status, "version": _version}[name](options, console)


def _flags(options: argparse.Namespace) -> dict[str, str]:
    chosen = {
        "node.name": options.name,
        "ui.port": getattr(options, "ui_port", None),
        "transport.port": getattr(options, "http_port", None),
        "ui.host": getattr(options, "host", None),
        "node.profile": getattr(options, "profile", None),
    }
    return {key: str(value) for key, value in chosen.items() if value is not None}


def _run(options: argparse.Namespace, console: Console) -> int:
    running = importlib.import_module("hearthnet.cli.running")
    result: int = running.run_node(
        environ=os.environ, flags=_flags(options), config_file=options.config,
        with_ui=not options.no_ui, console=console, debug=options.debug,
    )  # fmt: skip
    return result


def _init(options: argparse.Namespace, console: Console) -> int:
    configfile = importlib.import_module("hearthnet.base.configfile")
    keyfile = importlib.import_module("hearthnet.adapters.keyfile")
    console.paths.create()
    target = console.paths.config / "config.toml"
    made = not target.exists()
    if made:
        target.write_text(configfile.render_default(_flags(options)), encoding="utf-8")
    identity = importlib.import_module("hearthnet.wire.identity")
    key = keyfile.open_key(console.paths.keys, create=True)
    short = identity.short_id(key.node_id)
    if console.as_json:
        console.data({"node_id": key.node_id, "short_id": short, "config": str(target), "created": made})
        return 0
    console.line(console.t("cli.init.node", id=short))
    console.line(console.t("cli.init.config" if made else "cli.init.kept", path=target))
    console.line(console.t("cli.init.next"))
    return 0


def _status(_options: argparse.Namespace, console: Console) -> int:
    state = console.client.get("/v1/status")
    if console.as_json:
        console.data(state)
        return 0
    t = console.t
    letters = "" if state["letters"] in state["name"] else f"  {state['letters']}"
    console.line(f"{console.paint(state['name'], 'bold')}{letters}  {state['short_id']}")
    minutes = state["uptime_seconds"] // 60
    console.line(t("cli.status.up", hours=minutes // 60, minutes=minutes % 60, version=state["version"]))
    console.line(t("cli.status.pages", url=f"http://127.0.0.1:{state['ui_port']}"))
    console.line(t("cli.status.capabilities", count=state["capabilities"], calls=state["calls"]))
    models = ", ".join(model["name"] for model in state["models"]) or t("cli.status.no_model")
    console.line(t("cli.status.models", models=models))
    for engine in state["engines"]:
        mark = "fail" if engine["state"] in ("absent", "backing_off") else "ok"
        detail = f" · {engine['detail']}" if engine["detail"] else ""
        console.line(f"  {engine['name']}: {console.paint(t('engine.' + engine['state']), mark)}{detail}")
    for notice in state["notices"]:
        console.line(console.paint(t(notice), "warn"))
    return 0


def _version(_options: argparse.Namespace, console: Console) -> int:
    if console.as_json:
        console.data({"version": __version__, "contract_versions": ["1.0"]})
    else:
        console.line(f"hearthnet {__version__}")
    return 0
