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
        console.line(str(console.paths.config / "config.toml"))
        return 0
    if options.verb == "default":
        console.line(configfile.render_default({}))
        return 0
    extra = Path(options.config) if options.config else None
    config = configfile.load_config(console.paths, os.environ, extra_file=extra)
    if options.verb == "check":
        console.line(console.t("cli.config.good"))
    elif console.as_json:
        console.data(config)
    else:
        for section, values in msgspec.to_builtins(config).items():
            console.line(console.paint(f"[{section}]", "bold"))
            for key, value in values.items():
                console.line(f"{key} = {msgspec.json.encode(value).decode()}")
    return 0
