"""`config show|check|path` (X04)."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import argparse

    from hearthnet.cli.output import Console
    from hearthnet.web.i18n import Texts


def add_arguments(_name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Verbs of `config`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar=t("cli.command"))
    for verb in ("show", "check", "path", "default"):
        child = verbs.add_parser(verb, help=t(f"cli.config.{verb}"))
        if verb in ("show", "check"):
            child.add_argument("--config", default=None, help=t("cli.opt.config"))


def run_command(_name: str, options: argparse.Namespace, console: Console) -> int:
    """Show or check what the node would use."""
    configfile = importlib.import_module("hearthnet.base.configfile")
    if options.verb == "path":
        return _say(console, "path", str(console.paths.config / "config.toml"))
    if options.verb == "default":
        return _say(console, "toml", configfile.render_default({}))
    extra = Path(options.config) if options.config else None
    config = configfile.load_config(console.paths, os.environ, extra_file=extra)
    if options.verb == "check":
        return _say(console, "checked", console.t("cli.config.good"))
    if console.as_json:
        console.data(config)
    else:
        for section, values in msgspec.to_builtins(config).items():
            console.line(console.paint(f"[{section}]", "bold"))
            for key, value in values.items():
                console.line(f"{key} = {msgspec.json.encode(value).decode()}")
    return 0


def _say(console: Console, key: str, text: str) -> int:
    if console.as_json:
        console.data({key: text})
    else:
        console.line(text)
    return 0
