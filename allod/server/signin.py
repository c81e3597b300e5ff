"""Signing in with Ethereum (EIP-4361), and the sessions that follow. Knows no HTTP.

Promises: a nonce is given out once and used once; a message counts only for this origin, this chain and its time; a
session's token is stored as its SHA-256 alone, ends after 12 idle hours or 7 days, and with sign-out at once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from allod.server.problems import SignInNeeded
from allod.server.records import NonceRow, SessionRow
from consent.chain.account import recover
from consent.chain.wallet import personal_digest
from core.database import utc_now
from core.errors import Denied, InvalidInput
from core.ids import Address

with warnings.catch_warnings():  # it imports all of web3, a part of which is deprecated by its own author
    warnings.simplefilter("ignore", DeprecationWarning)
    from siwe import SiweMessage

NONCE_LIFE = timedelta(minutes=5)
IDLE = timedelta(hours=12)
LIFE = timedelta(days=7)
MARK_EVERY = timedelta(minutes=5)  # so that reading writes rarely
SKEW = timedelta(minutes=1)
MAX_VALIDITY = timedelta(hours=1)
MAX_MESSAGE = 600  # characters; ours has 300, and the time of the grammar grows with the square
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
_RETRY = "Take a new nonce and sign the new message."


class SignedIn(NamedTuple):
    """A session: whose, until when, and the token that its cookie carries (empty where it is only looked up)."""

    account: Address
    expires: datetime
    token: str


WalletCheck = Callable[[Address, bytes, bytes], bool]
"""Whether the contract wallet at an address accepts a signature over a digest (ERC-1271)."""


def give_nonce(session: Session) -> tuple[str, datetime]:
    """A new nonce and when it ends; those that ended are forgotten."""
    now = utc_now()
    session.execute(delete(NonceRow).where(NonceRow.expires < now))
    nonce, expires = "".join(secrets.choice(_ALPHABET) for _ in range(24)), now + NONCE_LIFE
    session.add(NonceRow(nonce=nonce, expires=expires))
    return nonce, expires


def take_nonce(session: Session, nonce: str) -> None:
    """Use a nonce up; `InvalidInput` if it was never given out, was used, or has ended."""
    taken = session.execute(
        delete(NonceRow).where(NonceRow.nonce == nonce, NonceRow.expires >= utc_now()).returning(NonceRow.nonce)
    ).first()
    if taken is None:
        raise InvalidInput("The message's nonce was used before, or is not one of this server.", hint=_RETRY)


def read_message(text: str, *, origins: tuple[str, ...], chain_id: int, now: datetime | None = None) -> SiweMessage:
    """The sign-in message; `InvalidInput` unless it is one, for one of our origins, our chain and this time."""
    named, wants, _ = text.partition(" wants you to sign in with your Ethereum account:\n")
    if not wants or len(text) > MAX_MESSAGE or not text.isascii():
        raise InvalidInput("This is no sign-in message (EIP-4361).", hint="Sign the message that the page shows.")
    origin = next((one for one in origins if named in (one, one.partition("://")[2])), None)
    if origin is None:
        raise InvalidInput("The message was made for another site.", hint="Sign in only on the page you trust.")
    try:
        message = SiweMessage.from_message(text)
        same = message.prepare_message() == text
        issued, ends = _time(message.issued_at), _time(message.expiration_time)
        begins = _time(message.not_before)
    except (ValueError, ValidationError, TypeError, AttributeError, OverflowError, RecursionError):
        same = False
    if not same:
        raise InvalidInput("This is no sign-in message (EIP-4361).", hint="Sign the message that the page shows.")
    now = now or utc_now()
    if str(message.uri).removesuffix("/") != origin:
        raise InvalidInput("The message names another page than this site.", hint=_RETRY)
    if message.chain_id != chain_id:
        raise InvalidInput(f"The message is for chain {message.chain_id}.", hint=f"Sign for chain {chain_id}.")
    if issued is None or ends is None:
        raise InvalidInput("The message does not say when it ends.", hint=_RETRY)
    if issued > now + SKEW or (begins is not None and begins > now + SKEW):
        raise InvalidInput("The message is from the future.", hint="Set your clock and sign again.")
    if ends <= now or ends - issued > MAX_VALIDITY or now - issued > MAX_VALIDITY:
        raise InvalidInput("The message has ended, or is valid for more than an hour.", hint=_RETRY)
    return message


def _time(text: str | None) -> datetime | None:
    """A time of a message, which siwe checked by its grammar."""
    if text is None:
        return None
    found = datetime.fromisoformat(str(text).upper().replace("Z", "+00:00"))
    if found.tzinfo is None:
        raise ValueError("a time without zone")
    return found.astimezone(UTC)


def signer_of(message: SiweMessage, signature: bytes, accepts: WalletCheck) -> Address:
    """Whose message it is: a key's, or a contract wallet's that accepts it. `Denied` where neither signed."""
    address = Address(bytes.fromhex(message.address[2:]))
    digest = personal_digest(message.prepare_message().encode("ascii"))
    try:
        if recover(digest, signature) == address:
            return address
    except InvalidInput:
        pass
    if accepts(address, digest, signature):
        return address
    raise Denied("The signature is not the account's.", hint="Sign the message with the account that it names.")


def begin(session: Session, account: Address) -> SignedIn:
    """A new session; those that ended are forgotten."""
    now = utc_now()
    session.execute(delete(SessionRow).where(SessionRow.expires < now))
    token = secrets.token_urlsafe(32)
    row = SessionRow(token=_hash(token), account=account, created=now, used=now, expires=now + IDLE)
    session.add(row)
    return SignedIn(account, row.expires, token)


def look_up(session: Session, token: str) -> SignedIn:
    """Whose session it is, which goes on for another 12 hours; `SignInNeeded` if it is none or has ended."""
    now = utc_now()
    row = session.scalar(select(SessionRow).where(SessionRow.token == _hash(token)))
    if row is None or row.expires < now:
        raise SignInNeeded("Your session has ended.", hint="Sign in again.")
    if now - row.used > MARK_EVERY:
        expires = min(now + IDLE, row.created + LIFE)
        session.execute(update(SessionRow).where(SessionRow.token == row.token).values(used=now, expires=expires))
        return SignedIn(Address(row.account), expires, token)
    return SignedIn(Address(row.account), row.expires, token)


def end(session: Session, token: str) -> None:
    """End a session."""
    session.execute(delete(SessionRow).where(SessionRow.token == _hash(token)))


def csrf_of(token: str) -> str:
    """The token that unsafe requests carry in a header: only who could read the session's document knows it."""
    return hmac.new(token.encode(), b"allod/csrf/v1", hashlib.sha256).hexdigest()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
