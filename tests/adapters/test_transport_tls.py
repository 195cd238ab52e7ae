"""Files of the certificate, and the handshake that only the right node survives."""

import asyncio
import ssl
import stat

import pytest

from hearthnet.adapters.tls_context import (
    CALLER_NAME,
    CERTIFICATE_NAME,
    SECRET_NAME,
    client_context,
    prepare_files,
    server_context,
)
from hearthnet.base.errors import BadRequest, KeyFileError
from hearthnet.wire.certificate import node_id_in
from hearthnet.wire.identity import KeyPair

KEY, OTHER = KeyPair(b"a" * 32), KeyPair(b"b" * 32)


async def serve(context):
    """A TLS server that greets; its port."""

    async def greet(_reader, writer):
        writer.write(b"welcome")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


async def greeting(port, context):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        return await reader.read(), writer.get_extra_info("ssl_object").version()
    finally:
        writer.close()


async def test_the_node_that_was_meant_is_reached_over_tls_1_3(tmp_path):
    server, port = await serve(server_context(tmp_path / "tls", KEY))
    async with server:
        assert await greeting(port, client_context(KEY.node_id)) == (b"welcome", "TLSv1.3")


async def test_another_node_in_its_place_fails_the_handshake(tmp_path):
    server, port = await serve(server_context(tmp_path / "tls", OTHER))
    async with server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await greeting(port, client_context(KEY.node_id))


async def test_an_older_tls_is_refused_by_both_sides(tmp_path):
    server, port = await serve(server_context(tmp_path / "tls", KEY))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode, old.maximum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_2
    async with server:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await greeting(port, old)
    assert client_context(KEY.node_id).minimum_version is ssl.TLSVersion.TLSv1_3


def test_files_are_made_once_and_the_secret_is_for_the_node_only(tmp_path):
    folder = tmp_path / "tls"
    server_context(folder, KEY)
    made = (folder / CERTIFICATE_NAME).read_bytes()
    assert stat.S_IMODE((folder / SECRET_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / SECRET_NAME).chmod(0o644)
    server_context(folder, KEY)
    assert stat.S_IMODE((folder / SECRET_NAME).stat().st_mode) == 0o600
    assert (folder / CERTIFICATE_NAME).read_bytes() == made


@pytest.mark.parametrize("damage", ["another key", "garbage certificate", "garbage secret", "missing secret"])
def test_damaged_files_are_made_again_from_the_node_key(tmp_path, damage):
    server_context(tmp_path, OTHER if damage == "another key" else KEY)
    if damage == "garbage certificate":
        (tmp_path / CERTIFICATE_NAME).write_bytes(b"\xff\x00")
    if damage == "garbage secret":
        (tmp_path / SECRET_NAME).write_bytes(b"none")
    if damage == "missing secret":
        (tmp_path / SECRET_NAME).unlink()
    server_context(tmp_path, KEY)
    pem = (tmp_path / CERTIFICATE_NAME).read_text()
    assert node_id_in(ssl.PEM_cert_to_DER_cert(pem)) == KEY.node_id


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError) as raised:
        server_context(tmp_path / "file" / "tls", KEY)
    assert raised.value.fix


def test_only_a_full_node_id_can_be_pinned():
    with pytest.raises(BadRequest):
        client_context("ed25519:ABCD-EFGH-IJKL-MNOP")


async def seen_by_server(tmp_path, context):
    """The NodeID that a server sees of a caller; None when it shows nothing."""
    seen = asyncio.get_running_loop().create_future()

    async def look(_reader, writer):
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        seen.set_result(node_id_in(certificate) if certificate else None)
        writer.close()

    server = await asyncio.start_server(look, "127.0.0.1", 0, ssl=server_context(tmp_path / "server", KEY))
    async with server:
        await greeting(server.sockets[0].getsockname()[1], context)
        return await seen


async def test_a_caller_shows_who_it_is_when_it_wants(tmp_path):
    prepare_files(tmp_path / "caller", OTHER)
    shown = client_context(KEY.node_id, tmp_path / "caller", OTHER)
    assert await seen_by_server(tmp_path, shown) == OTHER.node_id
    assert shown.peer_certificate == server_context(tmp_path / "server", KEY).certificate
    assert await seen_by_server(tmp_path, client_context(KEY.node_id)) is None


async def test_nobody_shows_the_certificate_of_another(tmp_path):
    prepare_files(tmp_path / "caller", OTHER)
    stolen = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    prepare_files(tmp_path / "thief", KEY)
    with pytest.raises(ssl.SSLError):
        stolen.load_cert_chain(tmp_path / "caller" / CALLER_NAME, tmp_path / "thief" / SECRET_NAME)
