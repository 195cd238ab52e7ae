"""End-to-end encryption between two nodes: Olm by vodozemac, with its state as opaque bytes (M23).

Every operation takes the state and gives the next one; the caller stores both the result and the state in one
transaction, so that a crash never uses a message key twice. Stored state is sealed with a key derived from the node's.
"""

from __future__ import annotations

from typing import Final

import vodozemac
from msgspec import Struct

from hearthnet.base.errors import DecryptFailed

PRE_KEY: Final = 0  # kind of a message that opens a session


class Keys(Struct, frozen=True):
    """Public keys of an account, base64: who it is, for many, for one each."""

    identity: str
    fallback: str
    one_time: tuple[str, ...]


class Opened(Struct, frozen=True):
    """A message that was read, and the state after it."""

    plaintext: bytes
    session: str
    account: str = ""  # changed only where a session was opened


class Ratchets:
    """Accounts and sessions of one node."""

    def __init__(self, seal: bytes) -> None:
        """`seal`: 32 secret bytes under which the state is stored, from the node's key (`KeyPair.derive`)."""
        self._seal = seal

    def new_account(self) -> str:
        """A new identity; what was sealed for an older one can no longer be read."""
        return vodozemac.Account().pickle(self._seal)

    def identity(self, account: str) -> str:
        """The account's identity key."""
        return self._account(account).curve25519_key.to_base64()

    def make_keys(self, account: str, count: int) -> tuple[str, Keys]:
        """Make `count` one-time keys and a new fallback key; the one before still opens."""
        opened = self._account(account)
        opened.generate_one_time_keys(count)
        opened.generate_fallback_key()  # type: ignore[attr-defined]  # missing in the stubs of 0.10
        one_time = tuple(key.to_base64() for key in opened.one_time_keys.values())
        (fallback,) = (key.to_base64() for key in opened.fallback_key.values())  # type: ignore[attr-defined]  # likewise
        identity = opened.curve25519_key.to_base64()
        opened.mark_keys_as_published()
        return opened.pickle(self._seal), Keys(identity, fallback, one_time)

    def open_session(self, account: str, identity: str, prekey: str) -> str:
        """A session to somebody's published keys; raises DecryptFailed for what is no key."""
        try:
            session = self._account(account).create_outbound_session(
                vodozemac.Curve25519PublicKey.from_base64(identity), vodozemac.Curve25519PublicKey.from_base64(prekey)
            )
        except ValueError as error:
            raise DecryptFailed(f"published keys cannot be used: {error}") from error
        return session.pickle(self._seal)

    def encrypt(self, session: str, plaintext: bytes) -> tuple[str, int, bytes]:
        """The next state, the kind of the message and its bytes."""
        opened = vodozemac.Session.from_pickle(session, self._seal)
        kind, ciphertext = opened.encrypt(plaintext).to_parts()
        return opened.pickle(self._seal), kind, ciphertext

    def decrypt(self, session: str, kind: int, ciphertext: bytes) -> Opened:
        """Read a message in its session; raises DecryptFailed, after which the state is as before."""
        try:
            opened = vodozemac.Session.from_pickle(session, self._seal)
            plaintext = opened.decrypt(vodozemac.AnyOlmMessage.from_parts(kind, ciphertext))
        except ValueError as error:
            raise DecryptFailed(f"the message cannot be read in this session: {error}") from error
        return Opened(plaintext, opened.pickle(self._seal))

    def accept(self, account: str, identity: str, ciphertext: bytes) -> Opened:
        """Read the message that opens a session with us; raises DecryptFailed."""
        try:
            owner = self._account(account)
            message = vodozemac.AnyOlmMessage.from_parts(PRE_KEY, ciphertext).to_pre_key()
            if message is None:
                raise DecryptFailed("the message opens no session")
            sender = vodozemac.Curve25519PublicKey.from_base64(identity)
            session, plaintext = owner.create_inbound_session(sender, message)
        except ValueError as error:
            raise DecryptFailed(f"the message opens no session: {error}") from error
        return Opened(plaintext, session.pickle(self._seal), owner.pickle(self._seal))

    def _account(self, account: str) -> vodozemac.Account:
        return vodozemac.Account.from_pickle(account, self._seal)
