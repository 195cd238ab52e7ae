"""What a command says, and its exit code, when the node or the system refuses or breaks off (M12)."""

from __future__ import annotations

import json
import socket
import threading

import pytest


@pytest.fixture
def answering(cli):
    """A control socket that gives one prepared HTTP answer and closes."""
    ends = []

    def answer(data):
        folder = cli.home / "run"
        folder.mkdir(parents=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "control.sock"))
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ends.extend((listener.close, lambda: thread.join(5)))
        return cli

    yield answer
    for end in reversed(ends):
        end()


def refusal(status, code, **more):
    body = json.dumps({"error": code, "message": "because", **more}).encode()
    return b"HTTP/1.1 %d no\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status, len(body), body,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "schema_mismatch", 1),
        (401, "unauthorized", 4),
        (403, "revoked", 4),
        (404, "not_found", 1),
        (408, "timeout", 1),
        (413, "bad_request", 1),
        (429, "capacity_exceeded", 5),
        (429, "rate_limited", 5),
        (500, "internal_error", 1),
        (503, "partition", 1),
    ],
)
def test_what_the_node_refuses_has_its_exit_code(answering, status, code, exit_code):
    shown = answering(refusal(status, code, fix="do this")).run("call", "rag.query")
    assert shown.returncode == exit_code
    assert code in shown.stderr
    assert "do this" in shown.stderr
    assert not shown.stdout


def test_as_json_a_refusal_is_an_object_on_stdout(answering):
    shown = answering(refusal(404, "not_found")).run("caps", "--json")
    assert shown.returncode == 1
    assert json.loads(shown.stdout) == {"error": "not_found", "message": "because", "fix": ""}
    assert not shown.stderr


def test_an_answer_that_breaks_off_is_said_and_not_taken_for_whole(answering):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    token = b'data: {"event":"token","text":"Boil water","cites":[1],"quoted":true}\n\n'
    shown = answering(head + token).run("ask", "how long to boil water")
    assert shown.returncode == 3
    assert "Boil water" in shown.stdout
    assert "stopped before the answer was complete" in shown.stderr


def test_a_node_that_dies_before_its_answer_is_no_running_node(answering):
    shown = answering(b"").run("status")
    assert shown.returncode == 3
    assert "no_running_node" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("words", [("status",), ("run",), ("init",), ("export",), ("doctor",)])
def test_a_home_that_cannot_be_is_named_without_a_traceback(cli, words):
    cli.home.write_text("a file, not a folder")
    shown = cli.run(*words)
    assert shown.returncode in (1, 3, 4)
    assert "Traceback" not in shown.stderr
    assert str(cli.home) in shown.stderr + shown.stdout


def test_an_export_into_a_folder_that_is_not_there_names_the_folder(cli, tmp_path):
    cli.run("init")
    shown = cli.run("export", "--out", str(tmp_path / "nowhere" / "out.zip"))
    assert shown.returncode == 1
    assert "nowhere" in shown.stderr
    assert "system_refused" in shown.stderr


def test_the_parser_speaks_german_too(cli):
    wrong = cli.run("frobnicate", LANG="de_DE.UTF-8")
    assert wrong.returncode == 2
    assert "Fehler: BEFEHL: 'frobnicate' gibt es nicht" in wrong.stderr
    shown = cli.run("models", "add", "--help", LANG="de_DE.UTF-8").stdout
    assert shown.startswith("Aufruf: ")
    assert "diese Hilfe zeigen" in shown
    assert "positional" not in shown


def test_german_advice_is_german_even_where_the_detail_is_not(cli):
    shown = cli.run("models", "use", "nope", LANG="de_DE.UTF-8").stderr
    assert "Was hilft: Schreibweise prüfen." in shown
    assert "hearthnet models list" in shown


def test_nothing_to_erase_is_said(cli):
    assert "nothing to erase" in cli.run("erase", "--dry-run").stdout
