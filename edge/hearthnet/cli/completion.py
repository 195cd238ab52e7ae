"""`completion`: what a shell offers after `hearthnet`, read from the parser itself (M12)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hearthnet.cli.main import GLOBAL_FLAGS, build_parser

if TYPE_CHECKING:
    from hearthnet.cli.output import Console
    from hearthnet.web.i18n import Texts

SHELLS = ("bash", "zsh", "fish")
_BASH = """_hearthnet() {{
  local words
  if [ "$COMP_CWORD" -le 1 ]; then words="{top}"; else
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _hearthnet hearthnet"""


def add_arguments(_name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Options of `completion`."""
    parser.add_argument("shell", choices=SHELLS, help=t("cli.opt.shell"))


def run_command(_name: str, options: argparse.Namespace, console: Console) -> int:
    """Print the script for one shell; it is meant for `eval` or the shell's completion folder."""
    script = render_script(options.shell, words_of(build_parser(console.t, None)))
    if console.as_json:
        console.data({"shell": options.shell, "script": script})
    else:
        console.line(script)
    return 0


def words_of(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Command -> its verbs, fixed values and options, with those of its verbs."""
    return {name: sorted({*_words(child), *GLOBAL_FLAGS}) for name, child in _children(parser).items()}


def render_script(shell: str, words: dict[str, list[str]]) -> str:
    """The script for one of `SHELLS`."""
    if shell == "fish":
        lines = [f'complete -c hearthnet -n __fish_use_subcommand -a "{" ".join(words)}"']
        lines += [
            f'complete -c hearthnet -n "__fish_seen_subcommand_from {name}" -a "{" ".join(offered)}"'
            for name, offered in words.items()
        ]
        return "\n".join(lines)
    cases = "\n".join(f'      {name}) words="{" ".join(offered)}" ;;' for name, offered in words.items())
    script = _BASH.format(top=" ".join((*words, *GLOBAL_FLAGS, "--help")), cases=cases)
    return script if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{script}"


def help_text(t: Texts) -> str:
    """The full help of all commands, for the reference page."""
    parser = build_parser(t, None)
    return "\n".join([parser.format_help(), *(child.format_help() for child in _children(parser).values())])


def _children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001  argparse has no public way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  told nowhere else
            found.update(action.choices)
    return found


def _words(parser: argparse.ArgumentParser) -> set[str]:
    found = {word for word in parser._option_string_actions if word.startswith("--")}  # noqa: SLF001  told nowhere else
    for action in parser._actions:  # noqa: SLF001  told nowhere else
        if action.choices and not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  told nowhere else
            found |= {str(choice) for choice in action.choices}
    for verb, child in _children(parser).items():
        found |= {verb, *_words(child)}
    return found
