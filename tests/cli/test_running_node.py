"""Commands against a running node (M12)."""

import json
import socket
import zipfile

import pytest

from hearthnet.adapters.export_zip import check_export
from hearthnet.wire.identity import Domain, verify

pytestmark = pytest.mark.xdist_group("cli")


def test_status_says_who_and_where_in_at_most_twelve_lines(running):
    shown = running.run("status")
    assert shown.returncode == 0
    assert "ed25519:" in shown.stdout
    assert "http://127.0.0.1:" in shown.stdout
    assert len(shown.stdout.splitlines()) <= 12


def test_status_as_json_carries_the_full_node_id(running):
    state = json.loads(running.run("status", "--json").stdout)
    assert len(state["node_id"]) == len("ed25519:") + 43
    assert state["capabilities"] >= 7


def test_the_language_follows_the_environment(running):
    assert "Fähigkeiten" in running.run("status", LANG="de_DE.UTF-8").stdout


def test_caps_lists_and_filters(running):
    names = running.run("caps", "--name", "rag.").stdout
    assert "rag.query@1.0" in names
    assert "embed.text" not in names


def test_call_prints_the_reply_in_the_specifications_shape(running):
    reply = json.loads(running.run("call", "rag.list_corpora@1.0", "--body", "{}", "--json").stdout)
    assert set(reply) == {"output", "meta"}
    assert "ms" in reply["meta"]
    assert reply["output"]["corpora"][0]["name"] == "system"


def test_call_reads_its_body_from_standard_input(running):
    body = json.dumps({"params": {"corpus": "system"}, "input": {"query": "boil water", "k": 2}})
    reply = json.loads(running.run("call", "rag.query", "--body", "-", stdin=body).stdout)
    assert len(reply["output"]["chunks"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("call", "no.such@1.0"), 1, "not_found"),
        (("call", "rag.query", "--body", "{"), 1, "bad_request"),
        (("call", "rag.query", "--body", '{"query": 7}'), 1, "schema_mismatch"),
        (("frobnicate",), 2, "does not exist"),
        (("help", "no_such_code"), 1, "not_found"),
    ],
)
def test_mistakes_are_named_and_have_their_exit_code(running, words, code, part):
    shown = running.run(*words)
    assert shown.returncode == code
    assert part in shown.stderr
    assert "Traceback" not in shown.stderr


def test_trace_shows_the_calls_that_were_made(running):
    running.run("call", "rag.list_corpora")
    traces = json.loads(running.run("trace", "5", "--capability", "rag.list_corpora", "--json").stdout)["traces"]
    assert traces[0]["capability"] == "rag.list_corpora"
    assert traces[0]["result"] == "ok"


def test_log_prints_what_the_node_wrote(running):
    assert "is up" in running.run("log", "--lines", "20").stdout


def test_pair_makes_a_link_that_works_once(running):
    made = json.loads(running.run("pair", "--role", "admin", "--json").stdout)
    assert made["path"] == f"/pair/{made['code']}"
    assert made["expires_in_seconds"] == 900


def test_tokens_are_made_listed_and_revoked(running):
    made = json.loads(running.run("token", "create", "home assistant", "--json").stdout)
    assert made["secret"].startswith("hn-")
    assert "home assistant" in running.run("token", "list").stdout
    assert running.run("token", "revoke", made["id"]).returncode == 0
    tokens = json.loads(running.run("token", "list", "--json").stdout)["tokens"]
    assert next(token for token in tokens if token["id"] == made["id"])["revoked_at"] is not None


def test_export_is_signed_and_never_holds_the_private_key(running, tmp_path):
    target = tmp_path / "out.zip"
    assert running.run("export", "--out", str(target)).returncode == 0
    secret = (running.home / "data" / "keys" / "device.ed25519").read_bytes()
    with zipfile.ZipFile(target) as archive:
        assert {"node.sqlite", "events.sqlite", "manifest.json", "manifest.sig"} <= set(archive.namelist())
        assert not any(secret in archive.read(name) for name in archive.namelist())

    def check(node_id, message, signature):
        verify(node_id, Domain.EXPORT, node_id, message, signature.decode())

    assert check_export(target, check).node_id.startswith("ed25519:")


def test_export_tables_writes_csv(running, tmp_path):
    assert running.run("export", "--tables", "csv", "--out", str(tmp_path / "tables")).returncode == 0
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    assert "events-events.csv" in names
    assert not any("session" in name or "token" in name for name in names)


def test_erase_refuses_a_running_node(running):
    shown = running.run("erase", "--yes")
    assert shown.returncode == 1
    assert "already_running" in shown.stderr
    assert running.run("status").returncode == 0


def test_a_second_node_on_the_same_home_is_refused(running):
    shown = running.run("run")
    assert shown.returncode == 1
    assert "already_running" in shown.stderr


def test_a_taken_port_is_named_with_the_way_out(cli):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        shown = cli.run("run", HEARTHNET_UI_PORT=str(other.getsockname()[1]))
    assert shown.returncode == 1
    assert "port_taken" in shown.stderr
    assert "HEARTHNET_UI_PORT=0" in shown.stderr


def test_doctor_sees_the_running_node(running):
    found = json.loads(running.run("doctor", "--json").stdout)
    assert found["node_running"] is True
    assert not [item for item in found["findings"] if item["state"] == "fail"]


def test_the_control_socket_is_private(running):
    mode = (running.home / "run" / "control.sock").stat().st_mode & 0o777
    assert mode == 0o600


def test_a_search_without_a_corpus_looks_everywhere(running):
    shown = running.run("rag", "query", "boil", "water", "-k", "2")
    assert shown.returncode == 0
    assert "Making water safe by boiling" in shown.stdout
    found = json.loads(running.run("rag", "query", "boil", "water", "--json").stdout)["chunks"]
    assert {chunk["corpus"] for chunk in found} == {"system"}


def test_pair_says_when_no_phone_could_follow_the_link(running):
    made = json.loads(running.run("pair", "--json").stdout)
    assert made["local_only"] is True
    assert made["url"].startswith("http://127.0.0.1:")
    assert "HEARTHNET_UI_HOST=0.0.0.0" in running.run("pair").stderr


def test_status_names_the_state_of_the_engines_in_words(running):
    assert "ruht" in running.run("status", LANG="de_DE.UTF-8").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("status",), ("caps",), ("trace",), ("rag", "list"), ("rag", "query", "water"), ("token", "list"), ("pair",),
        ("doctor",), ("ask", "how long to boil water"), ("rag", "delete", "blake3:aa"), ("token", "revoke", "nope"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_speaks_json(running, words):
    assert isinstance(json.loads(running.run(*words, "--json").stdout), dict)
