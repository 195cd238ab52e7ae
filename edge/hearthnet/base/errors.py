"""Every error of the node: code, HTTP status, whether to retry (contract chapter "Errors", X01).

The closed set of wire codes is `WIRE_CODES`. An error says what happened (`detail`, English, for logs and
APIs) and what to do (`fix`); pages and the CLI show the text of the locale key `error.<code>` and put `detail`
below it. `fault` tells whose mistake it is: `remote` = the caller's, `local` = this node's.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final, Literal

Retry = Literal["never", "backoff", "after", "idempotent"]
Fault = Literal["local", "remote"]
_SYSTEM_EXITS: Final = {
    errno.EACCES: 4, errno.EPERM: 4, errno.ENOSPC: 5, errno.EDQUOT: 5, errno.EROFS: 5, errno.EIO: 5,
}  # fmt: skip


class HearthNetError(Exception):
    """Base of all errors that leave a function on purpose."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retry: ClassVar[Retry] = "idempotent"
    fault: ClassVar[Fault] = "local"

    def __init__(self, detail: str = "", *, fix: str = "", retry_after_ms: int | None = None) -> None:
        super().__init__(detail or self.code)
        self.detail = detail
        self.fix = fix
        self.retry_after_ms = retry_after_ms


# ---- the caller's fault -------------------------------------------------------------------------------------


class BadRequest(HearthNetError):
    """The request cannot be understood."""

    code, status, retry, fault = "bad_request", 400, "never", "remote"


class SchemaMismatch(BadRequest):
    """The request is well formed but does not fit the capability's schema."""

    code = "schema_mismatch"


class TooLarge(BadRequest):
    """The body or file is larger than this door takes (RFC 9110 15.5.14)."""

    status: ClassVar[int] = 413


class WrongMethod(BadRequest):
    """The address exists, the HTTP method is not one of its own."""

    status: ClassVar[int] = 405


class InvalidSignature(HearthNetError):
    """A signature is missing, malformed or does not verify."""

    code, status, retry, fault = "invalid_signature", 401, "never", "remote"


class Unauthorized(HearthNetError):
    """The caller is known but its trust level or role is too low."""

    code, status, retry, fault = "unauthorized", 401, "never", "remote"


class TokenInvalid(Unauthorized):
    """The bearer token is unknown."""

    code = "token_invalid"


class TokenRevoked(Unauthorized):
    """The bearer token was revoked."""

    code = "token_revoked"


class Revoked(HearthNetError):
    """The caller was removed from the community."""

    code, status, retry, fault = "revoked", 403, "never", "remote"


class TokenScopeInsufficient(HearthNetError):
    """The token does not cover this capability."""

    code, status, retry, fault = "token_scope_insufficient", 403, "never", "remote"


class NotFound(HearthNetError):
    """The named thing (capability, document, model, blob) is not here."""

    code, status, retry, fault = "not_found", 404, "never", "remote"


class Expired(HearthNetError):
    """The object was valid once; its time is over."""

    code, status, retry, fault = "expired", 410, "never", "remote"


class TokenExpired(Expired):
    """The bearer token's time is over."""

    code = "token_expired"


class RateLimited(HearthNetError):
    """Too many calls; `retry_after_ms` says when the next one is welcome."""

    code, status, retry, fault = "rate_limited", 429, "after", "remote"


class Dropped(RateLimited):
    """Far above the hard rate: counted, not traced; a door may close the connection without a word."""


# ---- this node's fault --------------------------------------------------------------------------------------


class CallTimeout(HearthNetError):
    """The deadline of the call passed; its work was cancelled."""

    code, status, retry, fault = "timeout", 408, "backoff", "local"


class CapacityExceeded(HearthNetError):
    """All places are taken, or the disk is full; `retry_after_ms` estimates when one is free."""

    code, status, fault = "capacity_exceeded", 429, "local"
    retry: ClassVar[Retry] = "after"


class DiskFull(CapacityExceeded):
    """No room to store; nothing of the refused data was kept."""

    retry: ClassVar[Retry] = "never"


class InternalError(HearthNetError):
    """A fault of the node that has no better name."""


class NotImplementedHere(HearthNetError):
    """The protocol knows it, this node does not offer it."""

    code, status, retry, fault = "not_implemented", 501, "never", "local"


class Unavailable(HearthNetError):
    """Nobody can serve this now: engine missing, quarantined or unreachable (wire code `partition`)."""

    code, status, retry, fault = "partition", 503, "backoff", "local"


class EngineDied(Unavailable):
    """The engine's process ended in the middle of the work."""


class SessionMissing(HearthNetError):
    """The other node has published no keys yet; try again after they came."""

    code, status, retry, fault = "e2e_session_missing", 503, "backoff", "local"


class DecryptFailed(HearthNetError):
    """A sealed message does not open; a new session is needed."""

    code, status, retry, fault = "e2e_decrypt_failed", 400, "never", "remote"


# ---- only on this machine, never on the wire ----------------------------------------------------------------


class StartupError(HearthNetError):
    """The node cannot start; `exit_code` follows the specification's M12 table."""

    code = "startup"
    exit_code: int = 1


class ConfigError(StartupError):
    """A configuration file or variable is wrong; `detail` carries file and line."""

    code, fault = "invalid_field", "remote"


class KeyFileError(StartupError):
    """A key file is missing, unreadable for us, readable for others, or not a key."""

    code = "keys_invalid"
    exit_code = 4


class CapabilityConflict(StartupError):
    """A capability is declared twice, or outside its service's namespace."""

    code = "namespace_violation"


class PortTaken(StartupError):
    """Another program listens on the port."""

    code = "port_taken"


class AlreadyRunning(StartupError):
    """A second node was started on the same home."""

    code = "already_running"


class NoRunningNode(StartupError):
    """The command needs a running node and found none."""

    code = "no_running_node"
    exit_code = 3


class SystemRefused(StartupError):
    """The operating system refused a file, folder or socket; `exit_code` tells permission (4) and disk (5) apart."""

    code = "system_refused"

    def __init__(self, fault: OSError) -> None:
        place = f"{fault.filename}: " if fault.filename else ""
        super().__init__(f"{place}{fault.strerror or fault}")
        self.exit_code = _SYSTEM_EXITS.get(fault.errno or 0, 1)


class StoreCorrupt(StartupError):
    """The database failed its integrity check and could not be mended without help."""

    code = "db_corrupt"
    exit_code = 5


class InviteInvalid(BadRequest):
    """A text is no invitation, or a damaged one."""

    code = "invite_invalid"


class InviteExpired(Expired):
    """The invitation's time is over."""

    code = "invite_expired"


class InviteeMismatch(Unauthorized):
    """The invitation names another device."""

    code = "invitee_mismatch"


class BootstrapUnreachable(Unavailable):
    """None of the invitation's addresses answers."""

    code = "bootstrap_unreachable"


class CommunityManifestInvalid(BadRequest):
    """What the inviter's box tells about the community does not fit together."""

    code = "community_manifest_invalid"


class SyncFailed(Unavailable):
    """The community's log did not arrive whole."""

    code = "sync_failed"


class AlreadyMember(BadRequest):
    """This node belongs to the community."""

    code = "already_member"


class HashMismatch(HearthNetError):
    """Stored or received bytes do not hash to their name."""

    code, status = "hash_mismatch", 500


class FrameMalformed(BadRequest):
    """Bytes on a pipe or socket are not a frame of the protocol."""


class NotCanonical(BadRequest):
    """A value has no canonical JSON form (NaN, too large an integer, lone surrogate, ...)."""


class EventRejected(HearthNetError):
    """An event was not accepted into the log; `code` stays `bad_request`, `detail` names the rule."""

    code, status, retry, fault = "bad_request", 400, "never", "remote"


WIRE_CODES: Final = {
    cls.code: cls
    for cls in (
        BadRequest, SchemaMismatch, InvalidSignature, Unauthorized, TokenInvalid, TokenRevoked, Revoked,
        TokenScopeInsufficient, NotFound, CallTimeout, Expired, TokenExpired, RateLimited, CapacityExceeded,
        InternalError, NotImplementedHere, Unavailable, SessionMissing, DecryptFailed,
    )
}  # fmt: skip


def error_from_wire(code: str, detail: str = "", retry_after_ms: int | None = None) -> HearthNetError:
    """Rebuild the error that a reply body names; unknown codes become `InternalError`."""
    cls = WIRE_CODES.get(code, InternalError)
    return cls(detail or code, retry_after_ms=retry_after_ms)
