"""`doctor`: the check-up, with or without a running node (M12, X03)."""

from __future__ import annotations

import importlib
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from hearthnet.base.errors import ConfigError, HearthNetError

if TYPE_CHECKING:
    import argparse

    from hearthnet.cli.output import Console
    from hearthnet.mesh.doctor_finding import Finding, NodeView, Scene
    from hearthnet.web.i18n import Texts

_MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}


def add_arguments(_name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Options of `doctor`."""
    parser.add_argument("--fix", action="store_true", help=t("cli.opt.fix"))
    parser.add_argument("--check", default="", help=t("cli.opt.check"))


def run_command(_name: str, options: argparse.Namespace, console: Console) -> int:
    """Look, mend what is safe if asked, and say it; 1 when something fails, 2 when the check-up itself broke."""
    doctor = importlib.import_module("hearthnet.mesh.doctor")
    scene = _scene(console)
    findings: list[Finding] = doctor.examine(scene, options.check)
    if options.fix:
        findings = [_mended(doctor, scene, item, console) for item in findings]
    if console.as_json:
        console.data({"node_running": scene.node is not None, "findings": findings})
    else:
        _show(findings, console)
    return 1 if any(item.state == "fail" for item in findings) else 0


def _mended(doctor: Any, scene: Scene, finding: Finding, console: Console) -> Finding:
    if not finding.mendable:
        return finding
    again: Finding = doctor.mend(scene, finding)
    if again.state == "ok":
        console.note(console.t("cli.doctor.mended", name=console.t(f"doctor.{finding.check}")))
    return again


def _scene(console: Console) -> Scene:
    finding = importlib.import_module("hearthnet.mesh.doctor_finding")
    config_module = importlib.import_module("hearthnet.base.config")
    configfile = importlib.import_module("hearthnet.base.configfile")
    fault = ""
    try:
        config = configfile.load_config(console.paths, os.environ)
    except ConfigError as error:
        config, fault = config_module.Config(), error.detail
    scene: Scene = finding.Scene(config, console.paths, time.time(), fault, _view(finding, console))
    return scene


def _view(finding: Any, console: Console) -> NodeView | None:
    try:
        state = console.client.get("/v1/status")
    except (HearthNetError, OSError):
        return None
    view: NodeView = msgspec.convert(
        {key: state[key] for key in ("capabilities", "faults", "engines", "models")}, finding.NodeView
    )
    return view


def _show(findings: list[Finding], console: Console) -> None:
    t, group = console.t, ""
    for item in findings:
        if item.group != group:
            group = item.group
            console.line(console.paint(t(f"doctor.group.{group}"), "bold"))
        mark = console.paint(_MARKS[item.state], item.state)
        console.line(f"  {mark} {t(f'doctor.{item.check}')}: {t(item.key, **item.values)}")
        if item.fix and item.state != "ok":
            console.line(f"      {t('cli.do')} {item.fix}")
    if all(item.state == "ok" for item in findings):
        console.line(t("cli.doctor.good"))
