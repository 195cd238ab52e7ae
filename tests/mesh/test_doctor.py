"""The check-up: what it sees on a real home, what it mends, and that every sentence exists in both languages."""

from __future__ import annotations

import itertools
import os
import re
import socket
import sqlite3
import threading
import time

import msgspec
import pytest

from hearthnet.base.config import Config, FileSection, LlmBackend, LlmSection, TransportSection, UiSection
from hearthnet.base.errors import BadRequest, NotFound
from hearthnet.base.paths import resolve_paths
from hearthnet.base.trace import CallTraceEvent, TraceRing
from hearthnet.mesh import doctor, doctor_storage
from hearthnet.mesh.doctor import NodeView, Scene, count_faults, examine, mend
from hearthnet.mesh.doctor_finding import COMMON_REASONS, Check, Look
from hearthnet.ports import EngineStatus, ModelInfo
from hearthnet.web.i18n import load_texts
from hearthnet.wire.identity import KeyPair

ROOMY = FileSection(min_free_bytes=1)


def scene_in(folder, **changes):
    paths = resolve_paths({"HEARTHNET_HOME": str(folder)})
    config = Config(ui=UiSection(port=0), transport=TransportSection(port=0), file=ROOMY)
    return Scene(**{"config": config, "paths": paths, "now": time.time(), "shared_models": (), **changes})


@pytest.fixture
def scene(tmp_path):
    scene = scene_in(tmp_path)
    scene.paths.create()
    secret = scene.paths.keys / "device.ed25519"
    secret.write_bytes(bytes(range(32)))
    secret.chmod(0o600)
    (scene.paths.keys / "device.pub").write_bytes(KeyPair(bytes(range(32))).public)
    return scene


def only(scene, check):
    (finding,) = examine(scene, check)
    return finding


def outcome(scene, check):
    finding = only(scene, check)
    return finding.state, finding.reason


def test_a_home_that_does_not_exist_yet_has_no_fault_and_stays_untouched(tmp_path):
    home = tmp_path / "never" / "made"
    findings = examine(scene_in(home))
    assert [finding for finding in findings if finding.state == "fail"] == []
    assert not home.exists()


def test_a_healthy_home_has_only_good_findings_but_for_the_models(scene):
    found = {finding.check: finding for finding in examine(scene)}
    assert {check for check, finding in found.items() if finding.state != "ok"} <= {"llm_model", "embedder"}
    assert found["keys_loadable"].values["id"].startswith("ed25519:")


def test_checks_that_ask_a_running_node_are_left_out_without_one(scene):
    without = {finding.check for finding in examine(scene)}
    running = msgspec.structs.replace(scene, node=NodeView(capabilities=3, faults=(0, 0)))
    assert {finding.check for finding in examine(running)} - without == {"at_least_one_capability", "recent_error_rate"}


def test_a_readable_key_is_a_fault_that_mend_closes(scene):
    secret = scene.paths.keys / "device.ed25519"
    secret.chmod(0o644)
    finding = only(scene, "keys_present")
    assert (finding.state, finding.reason, finding.mendable) == ("fail", "open", True)
    assert finding.values["mode"] == "0644"
    assert mend(scene, finding).state == "ok"
    assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"short", bytes(33), bytes(4096)])
def test_a_key_file_of_the_wrong_size_is_broken_and_is_never_mended_away(scene, content):
    secret = scene.paths.keys / "device.ed25519"
    secret.write_bytes(content)
    finding = only(scene, "keys_loadable")
    assert (finding.state, finding.reason, finding.mendable) == ("fail", "broken", False)
    with pytest.raises(BadRequest):
        mend(scene, finding)
    assert secret.read_bytes() == content


def test_the_public_key_of_somebody_else_is_found(scene):
    (scene.paths.keys / "device.pub").write_bytes(KeyPair(bytes(32)).public)
    assert outcome(scene, "keys_loadable") == ("fail", "foreign")


def test_open_folders_are_closed_by_mend(scene):
    scene.paths.data.chmod(0o755)
    finding = only(scene, "folders_private")
    assert (finding.state, finding.reason) == ("warn", "open")
    assert mend(scene, finding).reason == "private"
    assert scene.paths.data.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_another_user_is_a_fault(scene):
    scene.paths.data.chmod(0o500)
    assert outcome(scene, "folders_private") == ("fail", "locked")


def test_a_left_over_socket_is_removed_by_mend_and_a_live_one_is_kept(scene):
    path = scene.paths.control_socket
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        assert outcome(scene, "control_socket") == ("ok", "private")
        finding = only(scene, "control_socket")
        with pytest.raises(BadRequest):
            mend(scene, finding)
    finding = only(scene, "control_socket")
    assert (finding.state, finding.reason) == ("warn", "stale")
    assert mend(scene, finding).reason == "none"
    assert not path.exists()


def test_a_damaged_page_in_a_database_is_found(scene):
    path = scene.paths.data / "communities" / "c1" / "events.sqlite"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT)")
        connection.executemany("INSERT INTO events (body) VALUES (?)", [("x" * 500,)] * 200)
    connection.close()
    assert outcome(scene, "databases_sound") == ("ok", "sound")
    assert outcome(scene, "event_log_writable") == ("ok", "writable")
    with path.open("r+b") as stream:
        stream.seek(4096 * 3)
        stream.write(b"\xff" * 4096)
    finding = only(scene, "databases_sound")
    assert (finding.state, finding.reason, finding.values["path"]) == ("fail", "broken", str(path))


def test_the_community_is_told_by_its_log(scene):
    assert outcome(scene, "community_present") == ("ok", "none")
    path = scene.paths.data / "communities" / "c1" / "events.sqlite"
    path.parent.mkdir(parents=True)
    sqlite3.connect(path).close()
    path.touch()
    assert outcome(scene, "community_present") == ("ok", "member")


def test_a_file_that_is_no_database_at_all_is_found(scene):
    (scene.paths.data / "node.sqlite").write_bytes(b"not a database, but long enough to look" * 100)
    assert outcome(scene, "databases_sound") == ("fail", "broken")
    assert outcome(scene, "event_log_writable") == ("fail", "refused")


def test_a_node_that_writes_right_now_counts_as_writable(scene):
    path = scene.paths.data / "node.sqlite"
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (x)")
        writer.execute("BEGIN IMMEDIATE")
        assert outcome(scene, "event_log_writable") == ("ok", "writable")
    writer.close()


def test_too_little_room_is_a_fault_and_little_room_a_warning(scene):
    free = __import__("shutil").disk_usage(scene.paths.data).free

    def with_minimum(size):
        return msgspec.structs.replace(
            scene, config=msgspec.structs.replace(scene.config, file=FileSection(min_free_bytes=size))
        )

    assert outcome(with_minimum(free * 2), "disk_space") == ("fail", "full")
    assert outcome(with_minimum(int(free * 0.7)), "disk_space") == ("warn", "low")


@pytest.mark.parametrize(("years", "reason"), [(-20, "behind"), (0, "plausible")])
def test_a_clock_before_the_software_is_not_believed(scene, years, reason):
    changed = msgspec.structs.replace(scene, now=time.time() + years * 365 * 86_400)
    assert only(changed, "clock_sanity").reason == reason


def test_a_clock_that_went_back_is_noticed_by_files_from_its_future(scene):
    path = scene.paths.data / "node.sqlite"
    path.touch()
    os.utime(path, (time.time() + 10 * 86_400,) * 2)
    assert outcome(scene, "clock_sanity") == ("warn", "jumped")


@pytest.mark.parametrize("check", ["ui_port", "transport_port"])
def test_a_port_that_somebody_else_holds_is_a_fault_with_the_next_one_as_fix(scene, check):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = Config(ui=UiSection(port=port), transport=TransportSection(host="127.0.0.1", port=port), file=ROOMY)
        taken = msgspec.structs.replace(scene, config=config)
        finding = only(taken, check)
        assert (finding.state, finding.reason) == ("fail", "taken")
        assert f"={port + 1} hearthnet run" in finding.fix
        ours = msgspec.structs.replace(taken, node=NodeView(capabilities=1, faults=(0, 0)))
        assert outcome(ours, check) == ("ok", "ours")
    assert outcome(taken, check) == ("ok", "free")


def test_a_broken_configuration_is_told_in_its_own_words(scene):
    finding = only(msgspec.structs.replace(scene, config_fault="config.toml:3: unknown key ui.prot"), "config_read")
    assert (finding.state, finding.values["why"]) == ("fail", "config.toml:3: unknown key ui.prot")


def test_loopback_admins_on_an_open_network_are_a_warning(scene):
    def listening(**ui):
        return msgspec.structs.replace(scene, config=msgspec.structs.replace(scene.config, ui=UiSection(**ui)))

    assert outcome(listening(), "open_to_network") == ("ok", "local")
    assert outcome(listening(host="0.0.0.0"), "open_to_network") == ("ok", "network")
    assert outcome(listening(host="0.0.0.0", loopback_role="admin"), "open_to_network") == ("warn", "admin")


def test_models_are_found_in_the_home_and_in_the_shared_folder(scene, tmp_path):
    assert outcome(scene, "llm_model") == ("warn", "none")
    shared = tmp_path / "shared"
    for folder, name in ((scene.paths.models, "own"), (shared, "common")):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.gguf").write_bytes(b"GGUF and more")
    found = only(msgspec.structs.replace(scene, shared_models=(shared,)), "llm_model")
    assert (found.reason, found.values["names"]) == ("here", "common, own")


def test_a_running_node_knows_its_models_itself(scene):
    view = NodeView(capabilities=1, faults=(0, 0), models=(ModelInfo("qwen", "ollama", "large_model", 8192),))
    found = only(msgspec.structs.replace(scene, node=view), "llm_model")
    assert (found.state, found.values["names"]) == ("ok", "qwen")


def test_a_model_file_that_is_no_model_is_found(scene):
    (scene.paths.models / "half").mkdir()
    (scene.paths.models / "half" / "model.gguf").write_bytes(b"<html>404</html>")
    finding = only(scene, "llm_model")
    assert (finding.state, finding.fix) == ("fail", "hearthnet models remove half")


def test_each_group_stands_together(scene):
    groups = [finding.group for finding in examine(scene)]
    assert [group for group, _ in itertools.groupby(groups)] == list(dict.fromkeys(groups))


def test_a_model_server_that_nobody_runs_is_named(scene):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    def backends(**changes):
        row = LlmBackend(name="ollama", url=f"http://127.0.0.1:{port}/v1", model="m", **changes)
        llm = LlmSection(backends=(row,), offline=bool(changes))
        return msgspec.structs.replace(scene, config=msgspec.structs.replace(scene.config, llm=llm))

    finding = only(backends(), "llm_backend_reachable")
    assert (finding.state, finding.values["name"]) == ("warn", "ollama")
    assert only(backends(requires_internet=True), "llm_backend_reachable").state == "ok"


def test_an_engine_that_keeps_dying_is_told_with_its_own_fix(scene):
    engine = EngineStatus(
        name="llama", state="backing_off", detail="killed by signal 9", fix="hearthnet models use small"
    )
    view = NodeView(capabilities=1, faults=(0, 0), engines=(engine,))
    finding = only(msgspec.structs.replace(scene, node=view), "llm_backend_reachable")
    assert (finding.reason, finding.values["why"], finding.fix) == ("failing", engine.detail, engine.fix)


@pytest.mark.parametrize(
    ("faults", "state"), [((0, 0), "ok"), ((19, 100), "ok"), ((20, 100), "warn"), ((1, 1), "warn")]
)
def test_one_failed_call_in_five_is_too_many(scene, faults, state):
    view = NodeView(capabilities=1, faults=faults)
    assert only(msgspec.structs.replace(scene, node=view), "recent_error_rate").state == state


def test_a_node_without_capabilities_is_broken(scene):
    bare = msgspec.structs.replace(scene, node=NodeView(capabilities=0, faults=(0, 0)))
    assert outcome(bare, "at_least_one_capability") == ("fail", "none")


def test_mistakes_of_callers_do_not_count_as_faults_of_the_node():
    traces = TraceRing()
    for result in ("ok", "bad_request", "not_found", "internal_error", "timeout", "partition"):
        traces.add(CallTraceEvent(0.0, "t", "rag.query", "1.0", "", "", True, result, 1.0))
    traces.add(CallTraceEvent(0.0, "t", "rag.query", "1.0", "", "elsewhere", False, "internal_error", 1.0))
    assert count_faults(traces) == (3, 7)


def test_an_unknown_check_is_not_found(scene):
    with pytest.raises(NotFound):
        examine(scene, "tyre_pressure")


def test_a_check_that_never_comes_back_does_not_hold_the_others(scene, monkeypatch):
    stuck = threading.Event()

    def hang(_scene):
        stuck.wait(15)
        return Look("ok", "late")

    monkeypatch.setattr(doctor, "CHECKS", (Check("hung", "storage", hang, ()), *doctor_storage.CHECKS))
    monkeypatch.setattr(doctor, "WITHIN_S", 0.3)
    try:
        found = {finding.check: finding for finding in examine(scene)}
    finally:
        stuck.set()
    assert (found["hung"].state, found["hung"].key) == ("warn", "doctor.any.slow")
    assert found["keys_present"].state == "ok"


def test_a_file_that_cannot_be_read_is_a_finding_not_a_crash(scene, monkeypatch):
    def refuse(_scene):
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(doctor, "CHECKS", (Check("refused", "storage", refuse, ()),))
    (finding,) = examine(scene)
    assert (finding.state, finding.key, finding.values["path"]) == ("fail", "doctor.any.unreadable", "/somewhere")


def test_every_sentence_exists_in_both_languages_with_the_same_places(scene):
    keys = {f"doctor.any.{reason}" for reason in COMMON_REASONS}
    for check in doctor.CHECKS:
        keys |= {f"doctor.{check.id}", f"doctor.group.{check.group}"}
        keys |= {f"doctor.{check.id}.{reason}" for reason in check.reasons}
    texts = load_texts()
    for key in sorted(keys):
        places = [set(re.findall(r"\{(\w+)\}", texts[language].find(key, ""))) for language in ("de", "en")]
        assert "" not in {texts[language].find(key, "") for language in ("de", "en")}, key
        assert places[0] == places[1], key


def test_every_finding_fills_its_sentence(scene):
    view = NodeView(capabilities=2, faults=(1, 3))
    for finding in examine(msgspec.structs.replace(scene, node=view)):
        assert "{" not in load_texts()["en"](finding.key, **finding.values)
