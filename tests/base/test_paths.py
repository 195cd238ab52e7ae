"""Where the node keeps its files, with and without HEARTHNET_HOME (X04)."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from hearthnet.base.paths import resolve_paths


def test_one_variable_moves_everything(tmp_path):
    paths = resolve_paths({"HEARTHNET_HOME": str(tmp_path / "h"), "HOME": "/nowhere", "XDG_DATA_HOME": "/nowhere"})
    assert all(
        folder.is_relative_to(tmp_path / "h")
        for folder in (paths.config, paths.data, paths.cache, paths.log, paths.run)
    )


def test_xdg_folders_are_used_and_have_defaults():
    paths = resolve_paths({"HOME": "/home/anna", "XDG_CONFIG_HOME": "/etc/anna", "XDG_RUNTIME_DIR": "/run/user/1000"})
    assert paths.config == Path("/etc/anna/hearthnet")
    assert paths.data == Path("/home/anna/.local/share/hearthnet")
    assert paths.control_socket == Path("/run/user/1000/hearthnet/control.sock")
    assert resolve_paths({"HOME": "/home/anna"}).run == Path("/home/anna/.local/state/hearthnet/run")


def test_an_empty_environment_still_gives_absolute_folders():
    assert resolve_paths({}).data.is_absolute()


def test_what_is_private_is_private(tmp_path):
    paths = resolve_paths({"HEARTHNET_HOME": str(tmp_path)})
    paths.create()
    paths.create()
    for folder in (paths.data, paths.keys, paths.run):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for inside in (paths.keys, paths.blobs, paths.models, paths.lock_file):
        assert inside.is_relative_to(paths.data)


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}])
def test_empty_home_means_the_home_of_the_user_database(environ):
    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    assert resolve_paths(environ).data == home / ".local/share/hearthnet"
