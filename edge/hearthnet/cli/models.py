"""`models list|add|use|remove` (M04): works with and without a running node, which notices by itself."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from hearthnet.adapters.models_dir import ModelsDir, Progress
    from hearthnet.cli.output import Console
    from hearthnet.web.i18n import Texts


def add_arguments(_name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Verbs of `models`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar=t("cli.command"))
    verbs.add_parser("list", help=t("cli.models.list"))
    add = verbs.add_parser("add", help=t("cli.models.add"))
    add.add_argument("source", help=t("cli.opt.model_source"))
    add.add_argument("--name", default="", help=t("cli.opt.model_name"))
    add.add_argument("--sha256", default="", help=t("cli.opt.sha256"))
    for verb in ("use", "remove"):
        child = verbs.add_parser(verb, help=t(f"cli.models.{verb}"))
        child.add_argument("name", help=t("cli.opt.model_name"))


def run_command(_name: str, options: argparse.Namespace, console: Console) -> int:
    """Run one verb."""
    models: ModelsDir = importlib.import_module("hearthnet.adapters.models_dir").open_models(console.paths)
    if options.verb == "list":
        return _list(models, console)
    if options.verb == "add":
        return asyncio.run(_add(models, options, console))
    change = models.use if options.verb == "use" else models.remove
    change(options.name)
    text = console.t("cli.models.used" if options.verb == "use" else "cli.models.removed", name=options.name)
    if console.as_json:
        console.data({options.verb: options.name})
    else:
        console.line(text)
    return 0


def _list(models: ModelsDir, console: Console) -> int:
    known = importlib.import_module("hearthnet.adapters.model_catalogue").known_models()
    here = models.installed()
    absent = [model for name, model in known.items() if name not in {item.name for item in here}]
    if console.as_json:
        console.data(
            {
                "installed": [{"manifest": m.manifest, "path": str(m.path), "chosen": m.chosen} for m in here],
                "available": absent,
            }
        )
        return 0
    t = console.t
    used = next((m.name for m in here if m.manifest.kind == "text"), "")  # the chosen one comes first
    states = {True: t("cli.models.state.used"), False: t("cli.models.state.here")}
    rows = [(m.name, m.manifest.kind, f"{m.manifest.bytes / 1e6:.1f} MB", states[m.name == used]) for m in here] + [
        (m.name, m.kind, f"{m.bytes / 1e6:.1f} MB", t("cli.models.state.known")) for m in absent
    ]
    console.table(rows, (t("cli.caps.name"), t("cli.models.kind"), t("cli.models.size"), t("cli.trace.result")))
    return 0


def _steps(models: ModelsDir, options: argparse.Namespace) -> AsyncIterator[Progress]:
    source, folder = str(options.source), Path(options.source)
    wanted = {"name": options.name, "sha256": options.sha256}
    known = importlib.import_module("hearthnet.adapters.model_catalogue").known_models()
    if source in known:
        steps: AsyncIterator[Progress] = importlib.import_module("hearthnet.adapters.model_package").add_known(
            models, source
        )
    elif source.startswith(("http://", "https://")):
        steps = importlib.import_module("hearthnet.adapters.model_url").add_url(models, source, **wanted)
    elif folder.is_dir():
        steps = importlib.import_module("hearthnet.adapters.model_sources").add_folder(models, folder)
    else:
        steps = importlib.import_module("hearthnet.adapters.model_sources").add_file(models, folder, **wanted)
    return steps


async def _add(models: ModelsDir, options: argparse.Namespace, console: Console) -> int:
    done = ""
    async for step in _steps(models, options):
        share = f" {100 * step.done_bytes // step.total_bytes} %" if step.total_bytes else ""
        console.progress(f"{step.model}: {console.t(f'progress.{step.stage}')}{share}")
        done = step.model
    console.progress("")
    if console.as_json:
        console.data({"added": done})
    else:
        console.line(console.t("cli.models.added", name=done))
    return 0
