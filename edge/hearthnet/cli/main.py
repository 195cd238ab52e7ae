"""The `hearthnet` command: parses, dispatches, turns errors into exit codes (M12).

Exit codes: 0 ok, 1 error, 2 usage or abort, 3 no running node, 4 not allowed, 5 disk or capacity.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import HearthNetError, SystemRefused
from hearthnet.base.paths import resolve_paths
from hearthnet.cli.client import NodeClient
from hearthnet.cli.output import Console
from hearthnet.cli.parsing import speak
from hearthnet.web.i18n import load_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.web.i18n import Texts

# command -> module that adds and runs it; imported only when chosen, so that `status` starts fast
COMMANDS: Final = {
    "init": "nodes", "run": "nodes", "status": "nodes", "version": "nodes", "completion": "completion",
    "caps": "calls", "call": "calls", "trace": "calls", "log": "calls", "help": "calls",
    "doctor": "doctor", "export": "data", "erase": "data",
    "rag": "library", "ask": "library", "models": "models", "config": "settings", "pair": "access", "token": "access",
}  # fmt: skip
GLOBAL_FLAGS: Final = ("--json", "--debug")
_EXIT_BY_STATUS: Final = {401: 4, 403: 4, 408: 1, 429: 5, 507: 5}


def exit_code(error: HearthNetError) -> int:
    """The process exit code of an error."""
    code: int = getattr(error, "exit_code", _EXIT_BY_STATUS.get(error.status, 1))
    return code


def language_of(environ: dict[str, str]) -> str:
    """`de` or `en` by the usual variables."""
    value = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return "de" if value.lower().startswith("de") else "en"


def build_parser(texts: Texts, chosen: str | None) -> argparse.ArgumentParser:
    """The parser with all command names; only the chosen command's module is imported (None = all)."""
    speak(texts)
    parser = argparse.ArgumentParser(
        prog="hearthnet", description=texts("cli.about"), epilog=texts("cli.exit_codes"), add_help=True
    )
    for flag in GLOBAL_FLAGS:  # taken out by `main` wherever they stand; here for the help only
        parser.add_argument(flag, action="store_true", help=texts(f"cli.opt.{flag[2:]}"))
    commands = parser.add_subparsers(dest="command", metavar=texts("cli.command"))
    for name, module in COMMANDS.items():
        child = commands.add_parser(name, help=texts(f"cli.{name}"), description=texts(f"cli.{name}"))
        if chosen in (None, name):
            importlib.import_module(f"hearthnet.cli.{module}").add_arguments(name, child, texts)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = [word for word in given if word not in GLOBAL_FLAGS]
    texts = load_texts()[language_of(dict(os.environ))]
    chosen = next((word for word in arguments if word in COMMANDS), "" if arguments else None)
    parser = build_parser(texts, chosen)
    options = parser.parse_args(arguments)
    options.debug = "--debug" in given
    if not options.command:
        parser.print_help()
        return 2
    paths = resolve_paths(os.environ)
    client = NodeClient(paths.control_socket, texts.language)
    console = Console(texts, paths, client, as_json="--json" in given)
    module = importlib.import_module(f"hearthnet.cli.{COMMANDS[options.command]}")
    try:
        result: int = module.run_command(options.command, options, console)
    except KeyboardInterrupt:
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (HearthNetError, OSError) as fault:
        if "--debug" in given:
            raise
        error = fault if isinstance(fault, HearthNetError) else SystemRefused(fault)
        console.fail(error)
        return exit_code(error)
    return result


if __name__ == "__main__":
    sys.exit(main())
