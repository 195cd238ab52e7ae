"""The key file: made once, private, never replaced, refused with a way out when something is wrong (M01)."""

import os
import stat

import pytest

from hearthnet.adapters.keyfile import PUBLIC_NAME, SECRET_NAME, create_key, load_key, open_key
from hearthnet.base.errors import KeyFileError
from hearthnet.wire.identity import KeyPair


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_key_and_later_starts_find_it(folder):
    first = open_key(folder, create=True)
    assert open_key(folder, create=True).node_id == first.node_id
    assert load_key(folder).seed == first.seed


@pytest.mark.parametrize("umask", [0, 0o777])
def test_files_have_the_promised_form_whatever_the_umask(folder, umask):
    folder.mkdir()
    before = os.umask(umask)
    try:
        key = create_key(folder, random_bytes=lambda count: bytes(range(count)))
    finally:
        os.umask(before)
    assert (folder / SECRET_NAME).read_bytes() == bytes(range(32))
    assert (folder / PUBLIC_NAME).read_bytes() == key.public
    assert (mode_of(folder / SECRET_NAME), mode_of(folder / PUBLIC_NAME)) == (0o600, 0o644)
    assert {path.name for path in folder.iterdir()} == {SECRET_NAME, PUBLIC_NAME}


def test_an_existing_key_is_never_replaced(folder):
    key = create_key(folder)
    with pytest.raises(KeyFileError, match="kept"):
        create_key(folder)
    assert load_key(folder).node_id == key.node_id


def test_a_missing_key_is_not_made_unless_asked(folder):
    with pytest.raises(KeyFileError) as caught:
        open_key(folder, create=False)
    assert "hearthnet init" in caught.value.fix
    assert not folder.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(folder, mode):
    create_key(folder)
    (folder / SECRET_NAME).chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        load_key(folder)
    assert caught.value.fix == f"chmod 600 {folder / SECRET_NAME}"
    (folder / SECRET_NAME).chmod(0o600)
    assert isinstance(load_key(folder), KeyPair)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_file_of_the_wrong_size_is_no_key(folder, content):
    create_key(folder)
    (folder / SECRET_NAME).write_bytes(content)
    with pytest.raises(KeyFileError, match="32 bytes"):
        load_key(folder)


def test_a_pipe_or_folder_in_place_of_the_key_is_refused_without_hanging(folder):
    folder.mkdir()
    os.mkfifo(folder / SECRET_NAME, 0o600)
    with pytest.raises(KeyFileError, match="regular"):
        load_key(folder)
    (folder / SECRET_NAME).unlink()
    (folder / SECRET_NAME).mkdir(0o700)
    with pytest.raises(KeyFileError):
        load_key(folder)


def test_a_lost_public_file_is_written_again_but_a_foreign_one_is_refused(folder):
    key = create_key(folder)
    (folder / PUBLIC_NAME).unlink()
    assert load_key(folder).node_id == key.node_id
    (folder / PUBLIC_NAME).write_bytes(bytes(32))
    with pytest.raises(KeyFileError, match="another key"):
        load_key(folder)


def test_a_public_file_left_by_a_removed_key_does_not_stop_a_new_one(folder):
    folder.mkdir()
    (folder / PUBLIC_NAME).write_bytes(bytes(32))
    assert (folder / PUBLIC_NAME).read_bytes() != create_key(folder).public
    assert isinstance(load_key(folder), KeyPair)


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "keys").touch()
    with pytest.raises(KeyFileError, match="keys"):
        create_key(tmp_path / "keys")
    with pytest.raises(KeyFileError, match="keys"):
        load_key(tmp_path / "keys")
