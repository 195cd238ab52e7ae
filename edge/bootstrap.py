"""`python3 edge/bootstrap.py run|dev`: make .venv, install what is locked, fetch the default models; then say so.

Standard library only, and parsed by every Python 3: an old one is told what is needed instead of failing in the
syntax. Nothing is compiled, nothing is written outside the checkout (but pip's own cache). A second call is instant
and needs no network. An interrupted call starts clean the next time.

Exit codes: 0 done, 1 another fault, 2 this machine or Python will not do, 3 network, 5 disk.
"""

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys

from bootstrap_console import Bar, follow, say

OLDEST = (3, 11)
MACHINES = ("x86_64", "amd64", "aarch64", "arm64")
NEED_BYTES = {"run": 1500000000, "dev": 2000000000}
FAULT, UNFIT, NETWORK, DISK = 1, 2, 3, 5
NO_NETWORK = re.compile(
    r"NewConnectionError|Connection(Error| refused| reset)|name resolution|Network is unreachable|timed out"
    r"|No matching distribution|Could not find a version|ProxyError|Max retries"
)
PACKAGE = re.compile(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Stopped(Exception):
    """A sentence for the person, what to do, and the exit code."""

    def __init__(self, code: int, sentence: str, remedy: str) -> None:
        Exception.__init__(self, sentence)
        self.code = code
        self.sentence = sentence
        self.remedy = remedy


# ---- what this machine must be ----------------------------------------------------------------------------------


def check_python(version: tuple, executable: str) -> None:
    """Refuse a Python that is too old."""
    if tuple(version[:2]) < OLDEST:
        raise Stopped(
            UNFIT,
            "Python {}.{} or newer is needed, this is {}.{} ({}).".format(
                *(OLDEST + tuple(version[:2]) + (executable,))
            ),
            "Install a newer one, for example: sudo apt-get install python3.11 python3.11-venv\n"
            "Then: make run PY=python3.11",
        )


def check_machine(machine: str, pointer_bytes: int) -> None:
    """Refuse 32 bit systems and processors for which no packages exist."""
    if pointer_bytes < 8 or machine.lower() not in MACHINES:
        raise Stopped(
            UNFIT,
            "This system is {} with {} bit programs; HearthNet needs a 64 bit system on x86_64 or ARM.".format(
                machine, pointer_bytes * 8
            ),
            "On a Raspberry Pi 3, 4, 5 or Zero 2 W install the 64 bit version of Raspberry Pi OS.",
        )


def check_disk(mode: str, root: str, venv: str) -> None:
    """Refuse to begin what cannot end."""
    need = NEED_BYTES[mode] // (4 if os.path.isdir(os.path.join(venv, "share")) else 1)
    free = shutil.disk_usage(root).free
    if free < need:
        raise Stopped(
            DISK,
            "About {} MB of free disk are needed, {} MB are there.".format(need // 1000000, free // 1000000),
            "Free some space on the disk of {}, then repeat.".format(root),
        )


# ---- the environment --------------------------------------------------------------------------------------------


def make_venv(venv: str) -> None:
    """A virtual environment with pip; installs Debian's venv package first when we may."""
    if not _runs([sys.executable, "-c", "import venv, ensurepip"]):
        _install_venv_module()
    say("Making the Python environment in .venv")
    done = subprocess.run(
        [sys.executable, "-m", "venv", venv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        text = done.stdout.decode("utf-8", "replace")
        _raise_for(text, "The Python environment could not be made.", "sudo apt-get install python3-venv")


def _install_venv_module() -> None:
    package = "python{}.{}-venv".format(*sys.version_info[:2])
    command = "apt-get update && apt-get install -y {}".format(package)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing the package {}".format(package))
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(["apt-get", "-qq", *arguments], env=environment, check=False)
        if _runs([sys.executable, "-c", "import venv, ensurepip"]):
            return
    raise Stopped(
        UNFIT,
        "This Python cannot make environments: its module venv or ensurepip is missing.",
        "Run: sudo sh -c '{}'   then repeat.".format(command),
    )


def install(mode: str, venv: str, lock: str) -> None:
    """Install exactly the locked packages, by their hashes, as wheels."""
    temporary = os.path.join(venv, "tmp")  # /tmp is often small and in memory
    os.makedirs(temporary, exist_ok=True)
    total = len(re.findall(r"^[A-Za-z0-9][^#\s]*==", read_text(lock), re.MULTILINE))
    command = [
        python_of(venv), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--retries", "2", "--progress-bar", "off", "-r", lock,
    ]  # fmt: skip
    environment = dict(os.environ, TMPDIR=temporary, PIP_USER="0", PYTHONDONTWRITEBYTECODE="1")
    bar = Bar("Installing packages ({})".format(mode), total)
    lines = []
    for line in follow(command, environment):
        lines.append(line)
        if line.startswith(("Collecting ", "Requirement already satisfied")):
            bar.advance(
                re.sub(r"[=<>;\s].*", "", line.replace("Requirement already satisfied:", "Collecting").split()[1])
            )
    shutil.rmtree(temporary, ignore_errors=True)
    if lines[-1] != "exit 0":
        bar.end("failed")
        _raise_for("\n".join(lines), "The packages could not be installed.", "")
    bar.end("done")


def link(venv: str, root: str) -> None:
    """Make the checkout importable and put `hearthnet` into bin; both survive a move of the checkout."""
    site = subprocess.check_output(
        [python_of(venv), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    ).decode().strip()  # fmt: skip
    write_text(os.path.join(site, "hearthnet-checkout.pth"), os.path.relpath(os.path.join(root, "edge"), site) + "\n")
    script = os.path.join(venv, "bin", "hearthnet")
    write_text(script, '#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/python" -m hearthnet.cli.main "$@"\n')
    os.chmod(script, 0o755)  # noqa: S103  a program


def repair_moved(venv: str, old_venv: str) -> None:
    """Point the scripts of a moved environment to its new place."""
    folder = os.path.join(venv, "bin")
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            content = file.read()
        head = content[:512]
        if head.startswith(b"#!") and old_venv.encode() in head:
            with open(path, "wb") as file:
                file.write(head.replace(old_venv.encode(), venv.encode()) + content[512:])


def fetch_models(venv: str) -> list:
    """Fetch the default models; returns the paths of their files, relative to the environment."""
    command = [python_of(venv), "-m", "hearthnet.adapters.engines.fetch"]
    bar = Bar("Fetching the models", 0)
    fault = {}
    last = "exit 0"
    for last in follow(command, dict(os.environ)):
        if not last.startswith("{"):
            continue
        step = json.loads(last)
        if "error" in step:
            fault = step
        elif step["stage"] in ("downloading", "copying"):
            bar.to(step["done_bytes"], step["total_bytes"], step["model"])
    if last != "exit 0":
        bar.end("failed")
        code = DISK if last == "exit 5" else NETWORK if fault.get("error") == "partition" else FAULT
        raise Stopped(code, "A model is missing: " + fault.get("detail", last), fault.get("fix", "Repeat: make setup"))
    bar.end("done")
    models = os.path.join(venv, "share", "hearthnet", "models")
    found = []
    for folder, _, names in os.walk(models):
        if not os.path.basename(folder).startswith("."):
            found += [os.path.relpath(os.path.join(folder, name), venv) for name in names if name != "LICENSE"]
    return sorted(found)


# ---- stamps: what is already done -------------------------------------------------------------------------------


def wanted_stamp(venv: str, lock: str) -> dict:
    """What a stamp must say to be believed; the interpreter is named, because a system upgrade may exchange it."""
    digest = hashlib.sha256(read_text(lock).encode()).hexdigest()
    return {"lock": digest, "python": os.path.realpath(python_of(venv)), "layout": 1}


def is_done(venv: str, mode: str, wanted: dict) -> bool:
    """Whether nothing is left to do; mends a moved environment on the way."""
    try:
        stamp = json.loads(read_text(os.path.join(venv, "." + mode)))
        same = {key: stamp.get(key) for key in wanted} == wanted
        here = all(os.path.getsize(os.path.join(venv, name)) == size for name, size in stamp["files"])
        if not (same and here and os.path.exists(python_of(venv))):
            return False
        if stamp["venv"] != venv:
            repair_moved(venv, stamp["venv"])
            _write_stamp(venv, mode, dict(stamp, venv=venv))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    os.utime(os.path.join(venv, "." + mode))  # make compares times
    return True


def _write_stamp(venv: str, mode: str, stamp: dict) -> None:
    write_text(os.path.join(venv, "." + mode), json.dumps(stamp, indent=1) + "\n")


def set_up(mode: str, root: str) -> None:
    """Do what is missing."""
    venv = os.path.join(root, ".venv")
    locks = {name: os.path.join(root, "edge", "requirements", name + ".txt") for name in ("run", "dev")}
    if is_done(venv, mode, wanted_stamp(venv, locks[mode])):
        return
    check_disk(mode, root, venv)
    modes = ("run", "dev") if mode == "dev" else ("run",)  # what is needed to develop holds what is needed to run
    building = os.path.join(venv, ".building")
    if os.path.exists(building) or not _is_usable(venv):
        remove_tree(venv)  # an interrupted installation may have left half a package
        make_venv(venv)
    wanted = {name: wanted_stamp(venv, locks[name]) for name in locks}
    if not _packages_match(venv, mode, wanted[mode]):
        write_text(building, "")
        for name in (".run", ".dev", ".packages-run", ".packages-dev"):
            if os.path.exists(os.path.join(venv, name)):
                os.unlink(os.path.join(venv, name))
        install(mode, venv, locks[mode])
        link(venv, root)
        for name in modes:
            write_text(os.path.join(venv, ".packages-" + name), json.dumps(wanted[name]))
        os.unlink(building)
    files = [(name, os.path.getsize(os.path.join(venv, name))) for name in fetch_models(venv)]
    for name in modes:
        _write_stamp(venv, name, dict(wanted[name], venv=venv, files=files))
    say("Ready." if mode == "dev" else "Ready. Everything from here on works without the Internet.")


def _is_usable(venv: str) -> bool:
    check = "import sys, pip; sys.exit(sys.version_info < {!r})".format(OLDEST)
    return os.path.exists(python_of(venv)) and _runs([python_of(venv), "-c", check])


def _packages_match(venv: str, mode: str, wanted: dict) -> bool:
    try:
        return json.loads(read_text(os.path.join(venv, ".packages-" + mode))) == wanted
    except (OSError, ValueError):
        return False


# ---- small things -----------------------------------------------------------------------------------------------


def read_text(path: str) -> str:
    """A file's text."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def write_text(path: str, text: str) -> None:
    """Write a file all or nothing."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def remove_tree(path: str) -> None:
    """Remove a folder, but keep complete models: they are verified when they are used."""
    models = os.path.join(path, "share", "hearthnet", "models")
    if os.path.isdir(models):
        for name in os.listdir(path):
            if name != "share":
                inner = os.path.join(path, name)
                shutil.rmtree(inner) if os.path.isdir(inner) and not os.path.islink(inner) else os.unlink(inner)
    else:
        shutil.rmtree(path, ignore_errors=True)


def python_of(venv: str) -> str:
    """The environment's Python."""
    return os.path.join(venv, "bin", "python")


def _runs(command: list) -> bool:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _raise_for(text: str, sentence: str, remedy: str) -> None:
    """Tell what a failed program's output means."""
    if "No space left" in text or "Disk quota" in text:
        raise Stopped(DISK, sentence + " The disk is full.", "Free some space, then repeat.")
    if "DO NOT MATCH THE HASHES" in text:
        raise Stopped(
            FAULT,
            sentence + " A package is not the one that was locked.",
            "Repeat; if it stays so, tell the maintainers.",
        )
    if NO_NETWORK.search(text):
        raise Stopped(
            NETWORK,
            sentence + " The package index cannot be reached, or it has no package for this system.",
            "Check the network connection, then repeat. It is needed for this first time only.",
        )
    raise Stopped(
        FAULT,
        sentence + "\n" + "\n".join(text.splitlines()[-12:]),
        remedy or "Repeat; if it stays so, tell the maintainers.",
    )


def main(arguments: list) -> int:
    """Set up; returns the exit code."""
    mode = arguments[0] if arguments else "run"
    if mode not in NEED_BYTES:
        say("usage: python3 edge/bootstrap.py run|dev")
        return UNFIT
    try:
        check_python(sys.version_info, sys.executable)
        check_machine(platform.machine(), struct.calcsize("P"))
        with open(os.path.join(ROOT, "edge", "bootstrap.py"), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time
            set_up(mode, ROOT)
    except Stopped as stop:
        say("\nHearthNet cannot be set up. " + stop.sentence + "\n" + stop.remedy)
        return stop.code
    except KeyboardInterrupt:
        say("\nInterrupted. Repeat the command; it starts clean.")
        return FAULT
    except OSError as error:
        say("\nHearthNet cannot be set up. {}\nMend that, then repeat.".format(error))
        return DISK if error.errno in (errno.ENOSPC, errno.EDQUOT) else FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
