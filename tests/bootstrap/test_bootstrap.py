"""The set-up on a fresh machine, with a tiny lock file and a shelf of packages instead of the network."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import bootstrap

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("bootstrap.py", "bootstrap_console.py")
pytestmark = [pytest.mark.xdist_group("bootstrap"), pytest.mark.timeout(90)]

FETCH = """
import json, os, pathlib, sys
say = lambda **step: print(json.dumps(step), flush=True)
if os.environ.get("NO_MODELS"):
    say(error="partition", detail="the network is away", fix="connect once")
    sys.exit(1)
folder = pathlib.Path(sys.prefix, "share/hearthnet/models/tiny")
if not folder.exists():
    say(stage="downloading", model="tiny", done_bytes=1, total_bytes=2)
    folder.mkdir(parents=True)
    (folder / "tiny.gguf").write_bytes(b"GGUF")
"""


def wheel(shelf, name, version="1.0", slow=False):
    """A package on the shelf; its hash."""
    path = shelf / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", f"version = {version!r}\n")
        for number in range(3000 if slow else 0):
            archive.writestr(f"{name}/part{number}.py", "\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{info}/RECORD", f"{name}/__init__.py,,\n")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Checkout:
    """A checkout small enough to be set up in seconds."""

    def __init__(self, root, shelf):
        self.root = root
        self.shelf = shelf

    @classmethod
    def make(cls, root, shelf):
        shelf.mkdir(parents=True)
        made = cls(root, shelf)
        (root / "edge" / "requirements").mkdir(parents=True)
        for name in SOURCES:
            shutil.copy(ROOT / "edge" / name, root / "edge")
        for name, text in (("adapters/engines/fetch.py", FETCH), ("cli/main.py", "print('hello from the checkout')\n")):
            path = root / "edge" / "hearthnet" / name
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="ascii")
        tiny = wheel(shelf, "tiny_run")
        made.lock("run", tiny)
        made.lock("dev", tiny + wheel(shelf, "tiny_dev"))
        return made

    def lock(self, name, text):
        (self.root / "edge" / "requirements" / f"{name}.txt").write_text(text, encoding="ascii")

    def environment(self, **more):
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
        shelf = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.shelf)}
        found = {**plain, **shelf, "HOME": "", **more}
        return {key: value for key, value in found.items() if value is not None}

    def run(self, mode="run", **environment):
        command = [sys.executable, str(self.root / "edge" / "bootstrap.py"), mode]
        return subprocess.run(
            command, env=self.environment(**environment), capture_output=True, text=True, check=False, cwd="/"
        )  # fmt: skip

    def has(self, module):
        python = self.root / ".venv" / "bin" / "python"
        return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0

    def hearthnet(self):
        return subprocess.run(
            [self.root / ".venv" / "bin" / "hearthnet"], capture_output=True, text=True, check=False, cwd="/"
        ).stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A checkout that was set up once; copied for each test, which is also a move."""
    base = tmp_path_factory.mktemp("bootstrap")
    made = Checkout.make(base / "a checkout", base / "shelf")
    done = made.run()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "Ready." in done.stdout
    return made


@pytest.fixture
def checkout(finished, tmp_path):
    root = tmp_path / "moved checkout"
    shutil.copytree(finished.root, root, symlinks=True)
    shelf = tmp_path / "shelf"
    shutil.copytree(finished.shelf, shelf)
    return Checkout(root, shelf)


def test_set_up_leaves_a_program_that_runs_from_the_checkout(finished):
    assert finished.hearthnet() == "hello from the checkout\n"
    assert finished.has("tiny_run")
    assert not finished.has("tiny_dev")
    assert not (finished.root / ".venv" / "tmp").exists()


def test_second_call_does_nothing_and_needs_no_network(finished):
    began = time.monotonic()
    done = finished.run(PIP_FIND_LINKS=None, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert (done.returncode, done.stdout) == (0, "")
    assert time.monotonic() - began < 5


def test_moved_checkout_works_and_its_scripts_too(checkout):
    assert checkout.hearthnet() == "hello from the checkout\n"
    assert checkout.run(PIP_FIND_LINKS=None).returncode == 0
    pip = subprocess.run([checkout.root / ".venv/bin/pip", "--version"], capture_output=True, text=True, check=True)
    assert str(checkout.root) in pip.stdout


def test_what_development_needs_includes_what_running_needs(checkout):
    assert checkout.run("dev").returncode == 0
    assert checkout.has("tiny_dev")
    done = checkout.run("run", PIP_FIND_LINKS=None)
    assert (done.returncode, done.stdout) == (0, "")


def test_changed_lock_installs_the_change(checkout):
    checkout.lock("run", wheel(checkout.shelf, "tiny_run", "2.0"))
    done = checkout.run()
    assert done.returncode == 0
    python = checkout.root / ".venv" / "bin" / "python"
    version = subprocess.check_output([python, "-c", "import tiny_run; print(tiny_run.version)"], text=True)
    assert version == "2.0\n"


def test_package_with_other_bytes_is_refused(checkout):
    checkout.lock("run", re.sub(r"sha256:.{8}", "sha256:00000000", wheel(checkout.shelf, "tiny_run", "3.0")))
    done = checkout.run()
    assert done.returncode == bootstrap.FAULT
    assert "not the one that was locked" in done.stdout
    assert not (checkout.root / ".venv" / ".run").exists()


def test_interrupted_installation_starts_clean_and_keeps_the_models(checkout):
    venv = checkout.root / ".venv"
    for name in (".run", ".packages-run"):
        (venv / name).unlink()
    (venv / ".building").touch()
    (venv / "lib" / "half-written").touch()
    done = checkout.run(NO_MODELS=None)
    assert done.returncode == 0
    assert "Making the Python environment" in done.stdout
    assert not (venv / "lib" / "half-written").exists()
    assert (venv / "share/hearthnet/models/tiny/tiny.gguf").exists()
    assert checkout.hearthnet() == "hello from the checkout\n"


@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_killed_set_up_leaves_no_pip_behind_and_no_stamp(checkout, sign):
    venv = checkout.root / ".venv"
    checkout.lock("run", wheel(checkout.shelf, "tiny_slow", slow=True))
    command = [sys.executable, str(checkout.root / "edge" / "bootstrap.py"), "run"]
    program = subprocess.Popen(command, env=checkout.environment(), stdout=subprocess.DEVNULL, start_new_session=True)
    site = next((venv / "lib").glob("python*")) / "site-packages"
    wait_until(lambda: (site / "tiny_slow").exists() or program.poll() is not None)
    os.killpg(program.pid, sign) if sign == signal.SIGINT else program.kill()
    program.wait()
    wait_until(lambda: not pips_in(venv))
    assert (venv / ".building").exists()
    assert not (venv / ".run").exists()
    assert checkout.run().returncode == 0
    assert checkout.has("tiny_slow")


def wait_until(fact):
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pips_in(venv):
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = entry.read_bytes()
        except OSError:
            continue
        if str(venv).encode() in arguments and b"pip" in arguments:
            found.append(arguments)
    return found


def test_without_network_the_first_time_says_so(checkout):
    venv = checkout.root / ".venv"
    shutil.rmtree(venv)
    done = checkout.run(PIP_NO_INDEX=None, PIP_FIND_LINKS=None, PIP_INDEX_URL="http://127.0.0.1:9/simple", HOME=None)
    assert done.returncode == bootstrap.NETWORK
    assert "cannot be reached" in done.stdout
    assert "Check the network connection" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_without_network_for_the_models_only_these_are_fetched_next_time(checkout):
    shutil.rmtree(checkout.root / ".venv" / "share")
    done = checkout.run(NO_MODELS="1")
    assert done.returncode == bootstrap.NETWORK
    assert "connect once" in done.stdout
    again = checkout.run()
    assert again.returncode == 0
    assert "Installing" not in again.stdout
    assert "Fetching" in again.stdout


@pytest.mark.slow
def test_exchanged_interpreter_makes_the_environment_anew(checkout):
    venv = checkout.root / ".venv"
    stamp = (venv / ".run").read_text(encoding="utf-8").replace(os.path.realpath(sys.executable), "/usr/bin/older")
    (venv / ".run").write_text(stamp, encoding="utf-8")
    shutil.move(next((venv / "lib").glob("python*")), venv / "lib" / "python3.2")
    done = checkout.run()
    assert done.returncode == 0
    assert "Making the Python environment" in done.stdout
    assert checkout.hearthnet() == "hello from the checkout\n"


def test_removed_model_is_noticed(checkout):
    (checkout.root / ".venv/share/hearthnet/models/tiny/tiny.gguf").write_bytes(b"")
    shutil.rmtree(checkout.root / ".venv/share/hearthnet/models/tiny")
    assert "Fetching" in checkout.run().stdout


# ---- what this machine must be --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_old_pythons_can_read_it_far_enough_to_complain(name):
    assert ast.parse((ROOT / "edge" / name).read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.10"])
def test_old_python_is_told_what_is_needed(version):
    python = shutil.which(f"python{version}")
    works = python and subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0
    if not works:
        pytest.skip(f"python{version} is not installed")
    done = subprocess.run([python, ROOT / "edge" / "bootstrap.py", "run"], capture_output=True, text=True, check=False)
    assert done.returncode == bootstrap.UNFIT
    assert f"3.11 or newer is needed, this is {version}" in done.stdout


def test_version_check_names_both_versions_and_a_command():
    with pytest.raises(bootstrap.Stopped) as stop:
        bootstrap.check_python((3, 8, 18), "/usr/bin/python3")
    assert "3.11" in stop.value.sentence
    assert "3.8" in stop.value.sentence
    assert "apt-get install" in stop.value.remedy
    assert bootstrap.check_python((3, 13, 0), "python3") is None


@pytest.mark.parametrize(
    ("machine", "pointer"), [("armv7l", 4), ("armv6l", 4), ("i686", 4), ("aarch64", 4), ("riscv64", 8)]
)
def test_machine_without_packages_is_told(machine, pointer):
    with pytest.raises(bootstrap.Stopped) as stop:
        bootstrap.check_machine(machine, pointer)
    assert stop.value.code == bootstrap.UNFIT
    assert "64 bit" in stop.value.sentence


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "AMD64"])
def test_machine_with_packages_passes(machine):
    assert bootstrap.check_machine(machine, 8) is None


def test_too_little_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 10**8))
    with pytest.raises(bootstrap.Stopped) as stop:
        bootstrap.set_up("run", checkout_of(tmp_path))
    assert stop.value.code == bootstrap.DISK
    assert "1500 MB" in stop.value.sentence
    assert not (tmp_path / ".venv").exists()


def checkout_of(tmp_path):
    folder = tmp_path / "edge" / "requirements"
    folder.mkdir(parents=True)
    for name in ("run", "dev"):
        (folder / f"{name}.txt").write_text("", encoding="ascii")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", bootstrap.DISK),
        (
            "NewConnectionError('<...>: Failed to establish a new connection: [Errno 111] Connection refused')",
            bootstrap.NETWORK,
        ),
        ("Temporary failure in name resolution", bootstrap.NETWORK),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", bootstrap.FAULT),
        ("something nobody foresaw", bootstrap.FAULT),
    ],
)
def test_output_of_pip_becomes_a_sentence_and_a_code(output, code):
    with pytest.raises(bootstrap.Stopped) as stop:
        bootstrap._raise_for(output, "It failed.", "")
    assert stop.value.code == code
    assert stop.value.remedy


def test_missing_venv_module_names_the_exact_command(monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap, "_runs", lambda _: False)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    with pytest.raises(bootstrap.Stopped) as stop:
        bootstrap.make_venv(str(tmp_path / ".venv"))
    assert "apt-get install -y python3." in stop.value.remedy
    assert stop.value.code == bootstrap.UNFIT


def test_root_gets_the_missing_venv_module_installed(monkeypatch, tmp_path, capsys):
    log = tmp_path / "log"
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$@" >> {log}\n', encoding="ascii")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 0)
    monkeypatch.setattr(bootstrap, "_runs", lambda _: log.exists())
    bootstrap.make_venv(str(tmp_path / ".venv"))
    calls = log.read_text(encoding="ascii").splitlines()
    assert calls[0] == "-qq update"
    assert re.fullmatch(r"-qq install -y --no-install-recommends python3\.\d+-venv", calls[1])
    assert (tmp_path / ".venv" / "bin" / "python").exists()
    assert "Installing the package" in capsys.readouterr().out


def test_unknown_mode_is_refused(capsys):
    assert bootstrap.main(["everything"]) == bootstrap.UNFIT
    assert "usage" in capsys.readouterr().out


def test_lock_for_development_holds_the_lock_for_running():
    def pins(name):
        text = (ROOT / "edge" / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        return set(re.findall(r"^([\w.-]+==\S+)", text, re.MULTILINE))

    assert pins("run") <= pins("dev")
    assert len(pins("run")) > 20
