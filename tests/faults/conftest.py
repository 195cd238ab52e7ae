"""A real small disk, where this machine lets us mount one."""

from __future__ import annotations

import os
import subprocess

import pytest

from cli.conftest import Cli


@pytest.fixture
def small_disk(tmp_path):
    """Make a folder on a file system of its own of the given size; skips where mounting is not allowed."""
    mounted = []

    def mount(kib):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        if os.geteuid() != 0:
            pytest.skip("mounting a small tmpfs needs root")
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def cli(tmp_path):
    """Commands in a home of their own."""
    return Cli(tmp_path / "home")
