"""Commands that need no running node, and what the others say without one (M12)."""

import json
import subprocess
import time

import pytest

from hearthnet.cli.main import COMMANDS


def test_commands_that_need_a_node_say_so_with_code_3(cli):
    for words in (("status",), ("caps",), ("pair",), ("call", "rag.query")):
        shown = cli.run(*words)
        assert shown.returncode == 3, words
        assert "hearthnet run" in shown.stderr


def test_init_makes_key_and_configuration_once(cli):
    made = json.loads(cli.run("init", "--name", "Kastanie", "--json").stdout)
    again = json.loads(cli.run("init", "--json").stdout)
    assert made["created"] is True
    assert again["created"] is False
    assert made["node_id"] == again["node_id"]
    assert 'name = "Kastanie"' in (cli.home / "config" / "config.toml").read_text(encoding="utf-8")
    assert (cli.home / "data" / "keys" / "device.ed25519").stat().st_mode & 0o777 == 0o600


def test_doctor_works_without_a_node_and_mends_key_permissions(cli):
    cli.run("init")
    secret = cli.home / "data" / "keys" / "device.ed25519"
    secret.chmod(0o644)
    broken = cli.run("doctor")
    assert broken.returncode == 1
    mended = cli.run("doctor", "--fix")
    assert mended.returncode == 0, mended.stdout
    assert secret.stat().st_mode & 0o777 == 0o600


def test_a_wrong_setting_is_named_with_file_and_line_and_the_nearest_key(cli):
    cli.run("init")
    config = cli.home / "config" / "config.toml"
    config.write_text("[ui]\nprot = 1\n", encoding="utf-8")
    shown = cli.run("config", "check")
    assert shown.returncode == 1
    assert "config.toml:2" in shown.stderr
    assert "port" in shown.stderr


def test_the_environment_sets_every_key(cli):
    shown = json.loads(cli.run("config", "show", "--json", HEARTHNET_UI_PORT="7999", HEARTHNET_LLM_SLOTS="2").stdout)
    assert shown["ui"]["port"] == 7999
    assert shown["llm"]["slots"] == 2


def test_erase_keeps_the_keys_when_told_and_shows_what_would_go(cli):
    cli.run("init")
    (cli.home / "data" / "node.sqlite").write_bytes(b"x")
    assert "node.sqlite" in cli.run("erase", "--keep-keys", "--dry-run").stdout
    assert (cli.home / "data" / "node.sqlite").exists()
    assert cli.run("erase", "--keep-keys", "--yes").returncode == 0
    assert not (cli.home / "data" / "node.sqlite").exists()
    assert (cli.home / "data" / "keys" / "device.ed25519").exists()


def test_erase_without_a_terminal_and_without_yes_keeps_everything(cli):
    cli.run("init")
    (cli.home / "data" / "node.sqlite").write_bytes(b"x")
    assert cli.run("erase").returncode == 2
    assert (cli.home / "data" / "node.sqlite").exists()


def test_help_names_every_command_and_the_exit_codes(cli):
    shown = cli.run("--help").stdout
    assert all(name in shown for name in COMMANDS)
    assert "3 no running node" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hearthnet st", ["status"]),
        ("hearthnet models ", ["--debug", "--help", "--json", "--name", "--sha256", "add", "list", "remove", "use"]),
        ("hearthnet erase --keep-k", ["--keep-keys"]),
        ("hearthnet export --tables c", ["csv"]),
    ],
)
def test_bash_completes_commands_verbs_and_options(cli, line, offered):
    script = cli.run("completion", "bash").stdout
    words = line.split(" ")
    ask = f'{script}\nCOMP_WORDS=({" ".join(words)} ""); COMP_CWORD={len(words) - 1}; _hearthnet; echo "${{COMPREPLY[*]}}"'
    shown = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == offered


def test_completion_knows_every_command(cli):
    for shell in ("bash", "zsh", "fish"):
        shown = cli.run("completion", shell).stdout
        assert all(name in shown for name in COMMANDS), shell


@pytest.mark.parametrize(
    "words",
    [
        ("version",), ("completion", "fish"), ("help",), ("help", "not_found"), ("init",), ("doctor",), ("config", "show"),
        ("config", "check"), ("config", "path"), ("config", "default"), ("models", "list"), ("models", "use", "nope"),
        ("erase", "--dry-run"), ("status",), ("log",), ("export", "--out", "/nowhere/x"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_speaks_json_also_when_it_fails(cli, words):
    shown = cli.run(*words, "--json")
    assert isinstance(json.loads(shown.stdout), dict)
    assert not shown.stderr


def test_the_list_of_models_marks_the_one_that_answers(cli):
    lines = [line.split() for line in cli.run("models", "list").stdout.splitlines()]
    assert [line[0] for line in lines if line[-2:] == ["in", "use"]] == ["smollm2-135m-instruct"]


def test_version_starts_fast(cli):
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        assert cli.run("version").stdout.startswith("hearthnet ")
        seconds.append(time.monotonic() - started)
    # a bound against accidental heavy imports, far above the 0.1 s it takes here
    assert min(seconds) < 2.0
