"""`caps`, `call`, `trace`, `log`, `help` (M12)."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hearthnet.base.errors import WIRE_CODES, BadRequest, NotFound

if TYPE_CHECKING:
    import argparse

    from hearthnet.cli.output import Console
    from hearthnet.web.i18n import Texts

_BODY_MAX_BYTES = 1_048_576


def add_arguments(name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Options of these commands."""
    if name == "caps":
        parser.add_argument("--name", default="", help=t("cli.opt.cap_name"))
    elif name == "call":
        parser.add_argument("capability", metavar="NAME[@V]", help=t("cli.opt.capability"))
        parser.add_argument("--body", default="{}", help=t("cli.opt.body"))
        parser.add_argument("--stream", action="store_true", help=t("cli.opt.stream"))
    elif name == "trace":
        parser.add_argument("count", nargs="?", type=int, default=20, help=t("cli.opt.count"))
        parser.add_argument("--capability", default="", help=t("cli.opt.cap_name"))
    elif name == "log":
        parser.add_argument("--follow", action="store_true", help=t("cli.opt.follow"))
        parser.add_argument("--level", default="info", choices=("debug", "info", "warning", "error"))
        parser.add_argument("--lines", type=int, default=50, help=t("cli.opt.lines"))
    elif name == "help":
        parser.add_argument("code", nargs="?", default="", help=t("cli.opt.code"))


def run_command(name: str, options: argparse.Namespace, console: Console) -> int:
    """Run one of these commands."""
    return {"caps": _caps, "call": _call, "trace": _trace, "log": _log, "help": _help}[name](options, console)


def _caps(options: argparse.Namespace, console: Console) -> int:
    listed = console.client.get("/v1/capabilities")["capabilities"]
    chosen = [item for item in listed if options.name in item["name"]]
    if console.as_json:
        console.data({"capabilities": chosen})
        return 0
    rows = [
        (f"{c['name']}@{c['version']}", c["trust_required"], f"{c['timeout_seconds']:g} s", c["stability"])
        for c in chosen
    ]
    t = console.t
    console.table(rows, (t("cli.caps.name"), t("cli.caps.trust"), t("cli.caps.timeout"), t("cli.caps.stability")))
    return 0


def _body(text: str) -> dict[str, Any]:
    if text == "-":
        text = sys.stdin.read(_BODY_MAX_BYTES + 1)
    elif text.startswith("@"):
        path = Path(text[1:])
        if not path.is_file():
            raise NotFound(f"no file {path}", fix="--body @FILE")
        text = path.read_text(encoding="utf-8")
    try:
        body = msgspec.json.decode(text)
    except msgspec.DecodeError as fault:
        raise BadRequest(f"--body is not JSON: {fault}", fix="--body '{\"input\": {...}}'") from fault
    if not isinstance(body, dict):
        raise BadRequest("--body is not a JSON object", fix="--body '{\"input\": {...}}'")
    return body if body.keys() <= {"params", "input"} else {"input": body}


def _call(options: argparse.Namespace, console: Console) -> int:
    path, body = f"/v1/call/{options.capability}", _body(options.body)
    if options.stream:
        failed = False
        for frame in console.client.frames(path, body):
            sys.stdout.write(msgspec.json.encode(frame).decode() + "\n")
            sys.stdout.flush()
            failed = frame.get("event") == "error"
        return 1 if failed else 0
    console.data(console.client.post(path, body))
    return 0


def _trace(options: argparse.Namespace, console: Console) -> int:
    traces = console.client.get(f"/trace/recent?n={options.count}&capability={options.capability}")["traces"]
    if console.as_json:
        console.data({"traces": traces})
        return 0
    rows = []
    for event in traces:
        clock = time.strftime("%H:%M:%S", time.localtime(event["ts"]))
        rows.append((clock, event["capability"], event["result"], f"{event['ms']:.1f}", event["trace_id"]))
    t = console.t
    console.table(rows, (t("cli.trace.time"), t("cli.caps.name"), t("cli.trace.result"), "ms", t("cli.trace.id")))
    return 0


def _log(options: argparse.Namespace, console: Console) -> int:
    files = sorted(console.paths.log.glob("*.log"))
    if not files:
        raise NotFound(f"no log in {console.paths.log}", fix="hearthnet run")
    order = ("debug", "info", "warning", "error", "critical")
    lowest = order.index(options.level)
    with files[-1].open(encoding="utf-8", errors="replace") as stream:
        recent = [line for line in stream if _level(line, order) >= lowest][-options.lines :]
        for line in recent:
            _show(line, console)
        while options.follow:
            line = stream.readline()
            if line and _level(line, order) >= lowest:
                _show(line, console)
            elif not line:
                time.sleep(0.2)
    return 0


def _level(line: str, order: tuple[str, ...]) -> int:
    try:
        return order.index(msgspec.json.decode(line)["level"].lower())
    except (msgspec.DecodeError, KeyError, ValueError, TypeError, AttributeError):
        return 1


def _show(line: str, console: Console) -> None:
    if console.as_json:
        console.line(line.rstrip())
        return
    try:
        entry = msgspec.json.decode(line)
    except msgspec.DecodeError:
        console.line(line.rstrip())
        return
    style = {"error": "fail", "warning": "warn"}.get(str(entry.get("level")).lower(), "mute")
    console.line(f"{entry.get('ts')} {console.paint(str(entry.get('level')), style)} {entry.get('msg')}")


def _help(options: argparse.Namespace, console: Console) -> int:
    codes = sorted({*WIRE_CODES} if not options.code else {options.code})
    if options.code and f"error.{options.code}.what" not in console.t.keys():  # noqa: SIM118  not a dict
        raise NotFound(f"no error code {options.code!r}", fix="hearthnet help")
    known = {code: (console.t(f"error.{code}.what"), console.t(f"error.{code}.do")) for code in codes}
    if console.as_json:
        console.data({code: {"what": what, "do": do} for code, (what, do) in known.items()})
        return 0
    for code, (what, do) in known.items():
        console.line(console.paint(code, "bold"))
        console.line(f"  {what}")
        console.line(f"  {console.t('cli.do')} {do}")
    return 0
