"""TLS 1.3 with a certificate made from the node key, pinned to the NodeID that is called (X01, decision 3).

No authority and no date is asked. The handshake proves that the other side holds the key of its certificate; `pin`
compares that key with the NodeID before a byte of the call leaves.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any

from hearthnet.adapters.certificate import make_certificate, node_id_in
from hearthnet.base.errors import BadRequest, KeyFileError
from hearthnet.wire.identity import public_key_of

if TYPE_CHECKING:
    from pathlib import Path

    from hearthnet.base.types import NodeID
    from hearthnet.wire.identity import KeyPair

CERTIFICATE_NAME = "server.crt"
SECRET_NAME = "server.key"  # noqa: S105  a file name


def server_context(folder: Path, key: KeyPair) -> ssl.SSLContext:
    """What a node listens with; makes the files in `folder` when they are missing or another key's."""
    certificate, secret = folder / CERTIFICATE_NAME, folder / SECRET_NAME
    try:
        if not _is_own(certificate, key) or not secret.exists():
            _write_files(folder, key)
        secret.chmod(0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # no resumption: every connection proves the key
        try:
            context.load_cert_chain(certificate, secret)
        except ssl.SSLError:  # the key file is damaged or another's: both follow from the node key
            _write_files(folder, key)
            context.load_cert_chain(certificate, secret)
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror}", fix="make the folder writable for the node") from error
    return context


def client_context(peer: NodeID) -> ssl.SSLContext:
    """What a node calls `peer` with; another key fails the handshake with `ssl.SSLCertVerificationError`."""
    public_key_of(peer)
    context = _PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.pin = peer
    return context


class _PinnedObject(ssl.SSLObject):
    """A connection whose handshake fails unless the peer's key is the one that was meant."""

    def do_handshake(self) -> None:
        super().do_handshake()
        certificate = self.getpeercert(binary_form=True)
        try:
            found = node_id_in(certificate or b"")
        except BadRequest as error:
            raise ssl.SSLCertVerificationError(1, error.detail) from error
        pin = self.context.pin  # type: ignore[attr-defined]  # made by client_context only
        if found != pin:
            raise ssl.SSLCertVerificationError(1, f"this is {found}, not {pin}")


class _PinnedContext(ssl.SSLContext):
    """Verifies by key alone."""

    pin: NodeID

    def __init__(self, *_: Any) -> None:
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE  # the pin verifies; dates and names do not
        self.minimum_version = ssl.TLSVersion.TLSv1_3
        self.sslobject_class = _PinnedObject


def _is_own(path: Path, key: KeyPair) -> bool:
    try:
        return node_id_in(ssl.PEM_cert_to_DER_cert(path.read_text("ascii"))) == key.node_id
    except (FileNotFoundError, ValueError, BadRequest):
        return False


def _write_files(folder: Path, key: KeyPair) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, secret = make_certificate(key)
    for name, data, mode in ((SECRET_NAME, secret, 0o600), (CERTIFICATE_NAME, certificate, 0o644)):
        draft = folder / f".{name}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / name)
