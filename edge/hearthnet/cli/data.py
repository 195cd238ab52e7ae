"""`export` and `erase` (M12): neither needs a running node, `erase` refuses one."""

from __future__ import annotations

import importlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hearthnet import __version__

if TYPE_CHECKING:
    import argparse

    from hearthnet.cli.output import Console
    from hearthnet.web.i18n import Texts


def add_arguments(name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Options of these commands."""
    if name == "export":
        parser.add_argument("--out", type=Path, default=None, help=t("cli.opt.out"))
        parser.add_argument("--tables", choices=("csv", "json"), default=None, help=t("cli.opt.tables"))
        return
    for keep in ("keys", "blobs", "logs", "models"):
        parser.add_argument(f"--keep-{keep}", action="store_true", help=t(f"cli.opt.keep_{keep}"))
    parser.add_argument("--yes", action="store_true", help=t("cli.opt.yes"))
    parser.add_argument("--dry-run", action="store_true", help=t("cli.opt.dry_run"))


def run_command(name: str, options: argparse.Namespace, console: Console) -> int:
    """Run one of these commands."""
    return _export(options, console) if name == "export" else _erase(options, console)


def _export(options: argparse.Namespace, console: Console) -> int:
    export_zip = importlib.import_module("hearthnet.adapters.export_zip")
    paths = console.paths
    if options.tables:
        folder = options.out or Path(f"hearthnet-tables-{time.strftime('%Y%m%d')}")
        written = [str(path) for path in export_zip.write_tables(folder, paths.data, options.tables)]
        if console.as_json:
            console.data({"files": written})
        else:
            console.line("\n".join(written))
        return 0
    key = importlib.import_module("hearthnet.adapters.keyfile").load_key(paths.keys)
    domain = importlib.import_module("hearthnet.wire.identity").Domain.EXPORT
    target = options.out or Path(f"hearthnet-export-{time.strftime('%Y%m%d-%H%M%S')}.zip")
    node = (key.node_id, int(time.time()), __version__)
    config_file = paths.config / "config.toml"

    def sign(message: bytes) -> bytes:
        signature: str = key.sign(domain, key.node_id, message)
        return signature.encode()

    manifest = export_zip.write_export(target, paths.data, config_file, node, sign)
    if console.as_json:
        console.data({"file": str(target), "members": manifest.files})
    else:
        console.line(str(target))
        console.note(console.t("cli.export.no_key"))
    return 0


def _doomed(options: argparse.Namespace, console: Console) -> list[Path]:
    paths = console.paths
    kept = {
        paths.keys: options.keep_keys, paths.blobs: options.keep_blobs, paths.models: options.keep_models,
        paths.log: options.keep_logs,
    }  # fmt: skip
    inside = sorted(paths.data.iterdir()) if paths.data.exists() else []
    chosen = [path for path in (*inside, paths.cache, paths.log) if path.exists() and not kept.get(path, False)]
    return [path for path in chosen if path != paths.lock_file]


def _erase(options: argparse.Namespace, console: Console) -> int:
    lock = importlib.import_module("hearthnet.adapters.home_lock")
    doomed = _doomed(options, console)
    if options.dry_run or not doomed:
        if console.as_json:
            console.data({"would_erase": [str(path) for path in doomed]})
        else:
            console.line("\n".join(str(path) for path in doomed) or console.t("cli.erase.nothing"))
        return 0
    held = lock.HomeLock(console.paths.lock_file)
    try:
        if not options.yes and not _confirmed(len(doomed), console):
            console.note(console.t("cli.erase.kept"))
            return 2
        for path in doomed:
            _remove(path)
    finally:
        held.release()
    if console.as_json:
        console.data({"erased": [str(path) for path in doomed]})
    else:
        console.line(console.t("cli.erase.done", count=len(doomed)))
    return 0


def _confirmed(count: int, console: Console) -> bool:
    return all(console.confirm(console.t(f"cli.erase.ask{number}", count=count)) for number in (1, 2, 3))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
