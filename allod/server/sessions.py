"""`/v1/nonces` and `/v1/sessions`: signing in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from allod.server import activity, signin
from allod.server.context import Db, InPlace
from allod.server.forms import AddressHex, Form, SignatureHex, UnixTime, seconds
from allod.server.guard import Anyone, Session
from consent.chain.wallet import accepts
from core.database import transaction
from core.encoding import from_hex, to_hex
from core.ids import Address

router = APIRouter(prefix="/v1", tags=["sessions"])


class NonceOut(Form):
    """A nonce for one sign-in message."""

    nonce: Annotated[str, Field(pattern="^[A-Za-z0-9]{24}$")]
    expires_at: UnixTime


class SessionIn(Form):
    """A sign-in message (EIP-4361) and its signature (EIP-191)."""

    message: Annotated[str, Field(min_length=1, max_length=signin.MAX_MESSAGE)]
    signature: SignatureHex


class SessionOut(Form):
    """Who is signed in. Unsafe requests carry `csrf_token` in the header X-CSRF-Token."""

    account: AddressHex
    csrf_token: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    expires_at: UnixTime

    @classmethod
    def of(cls, found: signin.SignedIn) -> SessionOut:
        """The document of a session."""
        csrf = signin.csrf_of(found.token)
        return cls(account=to_hex(found.account), csrf_token=csrf, expires_at=seconds(found.expires))


@router.post("/nonces", status_code=201, operation_id="create_nonce")
def create_nonce(caller: Anyone, db: Db) -> NonceOut:
    """A nonce that one sign-in message may carry within the next five minutes."""
    nonce, expires = signin.give_nonce(db)
    return NonceOut(nonce=nonce, expires_at=seconds(expires))


@router.post("/sessions", status_code=201, operation_id="create_session")
def create_session(caller: Anyone, place: InPlace, response: Response, given: SessionIn) -> SessionOut:
    """Sign in: the answer sets the session's cookie."""
    message = signin.read_message(given.message, origins=place.origins, chain_id=place.world.deployment.chain_id)

    def wallet_accepts(wallet: Address, digest: bytes, signature: bytes) -> bool:
        return accepts(place.world.chain, wallet, digest, signature)

    account = signin.signer_of(message, from_hex(given.signature), wallet_accepts)
    with transaction(place.world.engine) as session:  # only now: the chain may be slow, and the database has one writer
        signin.take_nonce(session, message.nonce)
        begun = signin.begin(session, account)
        activity.record(session, account, "session.started", {})
    response.set_cookie(
        place.cookie,
        begun.token,
        max_age=int(signin.LIFE.total_seconds()),
        path="/",
        secure=place.is_secure,
        httponly=True,
        samesite="strict",
    )
    return SessionOut.of(begun)


@router.get("/sessions/current", operation_id="read_session")
def read_session(session: Session) -> SessionOut:
    """Who is signed in, and the CSRF token again."""
    return SessionOut.of(session)


@router.delete("/sessions/current", status_code=204, operation_id="end_session")
def end_session(session: Session, place: InPlace, db: Db, response: Response) -> None:
    """Sign out."""
    signin.end(db, session.token)
    activity.record(db, session.account, "session.ended", {})
    response.delete_cookie(place.cookie, path="/", secure=place.is_secure, httponly=True, samesite="strict")
