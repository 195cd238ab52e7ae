"""TLS 1.3 with a certificate made from the node key, pinned to the NodeID that is called (X01, decision 3).

No authority and no date is asked. The handshake proves that the other side holds the key of its certificate; `pin`
compares that key with the NodeID before a byte of the call leaves.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any, TypeVar

from hearthnet.adapters.certificate import make_caller_certificate, make_certificate, make_issuer_certificate
from hearthnet.base.errors import BadRequest, KeyFileError
from hearthnet.wire.certificate import node_id_in
from hearthnet.wire.identity import public_key_of

if TYPE_CHECKING:
    from pathlib import Path

    from hearthnet.base.types import NodeID
    from hearthnet.wire.identity import KeyPair

CERTIFICATE_NAME = "server.crt"
CALLER_NAME = "caller.crt"
ISSUER_NAME = "everybody.crt"
SECRET_NAME = "server.key"  # noqa: S105  a file name


def server_context(folder: Path, key: KeyPair) -> NodeContext:
    """What a node listens with; makes the files in `folder` when they are missing or another key's.

    A caller may show a certificate; whose it is, `wire.certificate.node_id_in` tells.
    """
    prepare_files(folder, key)
    context = _load(NodeContext(ssl.PROTOCOL_TLS_SERVER), folder, key, CERTIFICATE_NAME)
    context.num_tickets = 0  # no resumption: every connection proves the key
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=(folder / ISSUER_NAME).read_text("ascii"))
    return context


def client_context(peer: NodeID, folder: Path | None = None, key: KeyPair | None = None) -> PinnedContext:
    """What a node calls `peer` with; another key fails the handshake with `ssl.SSLCertVerificationError`.

    With the folder that `prepare_files` filled it shows who calls.
    """
    public_key_of(peer)
    context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.pin = peer
    return context if folder is None or key is None else _load(context, folder, key, CALLER_NAME)


def prepare_files(folder: Path, key: KeyPair) -> None:
    """Make the files that are missing, damaged or another key's; raises KeyFileError."""
    try:
        files = (CERTIFICATE_NAME, CALLER_NAME)
        whole = all(_is_own(folder / name, key) for name in files) and (folder / ISSUER_NAME).exists()
        if not whole or not (folder / SECRET_NAME).exists():
            _write_files(folder, key)
        (folder / SECRET_NAME).chmod(0o600)
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror}", fix="make the folder writable for the node") from error


class NodeContext(ssl.SSLContext):
    """TLS 1.3 with a certificate of this node."""

    certificate: bytes  # its DER

    def __init__(self, *_: Any) -> None:
        self.minimum_version = ssl.TLSVersion.TLSv1_3
        self.certificate = b""


Context = TypeVar("Context", bound=NodeContext)


def _load(context: Context, folder: Path, key: KeyPair, name: str) -> Context:
    try:
        try:
            context.load_cert_chain(folder / name, folder / SECRET_NAME)
        except ssl.SSLError:  # the key file is damaged or another's: all follow from the node key
            _write_files(folder, key)
            context.load_cert_chain(folder / name, folder / SECRET_NAME)
        context.certificate = ssl.PEM_cert_to_DER_cert((folder / name).read_text("ascii"))
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror}", fix="make the folder writable for the node") from error
    return context


class _PinnedObject(ssl.SSLObject):
    """A connection whose handshake fails unless the peer's key is the one that was meant."""

    def do_handshake(self) -> None:
        super().do_handshake()
        certificate = self.getpeercert(binary_form=True) or b""
        try:
            found = node_id_in(certificate)
        except BadRequest as error:
            raise ssl.SSLCertVerificationError(1, error.detail) from error
        context: PinnedContext = self.context  # type: ignore[assignment]  # made by client_context only
        if found != context.pin:
            raise ssl.SSLCertVerificationError(1, f"this is {found}, not {context.pin}")
        context.peer_certificate = certificate


class PinnedContext(NodeContext):
    """Verifies by key alone; dates and names are not asked."""

    pin: NodeID
    peer_certificate: bytes  # as seen in the latest handshake

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE  # the pin verifies
        self.sslobject_class = _PinnedObject
        self.peer_certificate = b""


def _is_own(path: Path, key: KeyPair) -> bool:
    try:
        return node_id_in(ssl.PEM_cert_to_DER_cert(path.read_text("ascii"))) == key.node_id
    except (FileNotFoundError, ValueError, BadRequest):
        return False


def _write_files(folder: Path, key: KeyPair) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, secret = make_certificate(key)
    public = {
        CERTIFICATE_NAME: certificate, CALLER_NAME: make_caller_certificate(key), ISSUER_NAME: make_issuer_certificate()
    }  # fmt: skip
    for name, data, mode in ((SECRET_NAME, secret, 0o600), *((name, data, 0o644) for name, data in public.items())):
        draft = folder / f".{name}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / name)
