"""`Idempotency-Key`: one request, one effect, however often it arrives.

    def handler(given: Form, once: Once) -> Out:
        ...do it, with once.session...
        return once.keep(Out(...))

Same key and same request: the same answer for 24 hours. Same key, another request: 422. The first still at work: 409
with Retry-After. The effect and its answer are one transaction, `once.session` (use it in place of `Db`): after a crash
both are there or neither. A request that fails changes nothing and frees its key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from allod.server.context import InPlace
from allod.server.guard import SignedIn
from allod.server.records import AnswerRow
from core.database import inserting, transaction, utc_now
from core.errors import Conflict, InvalidInput
from core.ids import Address

LIFE = timedelta(hours=24)
AT_WORK = timedelta(minutes=5)  # longer than any request may take: who claimed the key and is silent since, has died
Out = TypeVar("Out", bound=BaseModel)


class Replayed(Exception):
    """The answer was given before; `handle_replay` gives it again."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(status)
        self.status, self.body = status, body


@dataclass
class Keeping:
    """A request that has its key: `session` is its transaction, `keep` puts the answer into it."""

    session: Session
    key: str
    _account: Address
    _claim: bytes
    _status: int
    _is_kept: bool = field(default=False, init=False)

    def keep(self, answer: Out) -> Out:
        """Keep the answer with the effect, and give it back."""
        mine = (AnswerRow.account == self._account, AnswerRow.key == self.key, AnswerRow.claim == self._claim)
        body = answer.model_dump_json()
        done = self.session.execute(
            update(AnswerRow).where(*mine).values(status=self._status, body=body).returning(AnswerRow.key)
        ).first()
        if done is None:
            raise Conflict("Another request took over this key.", hint="Ask again: the answer is or will be kept.")
        self._is_kept = True
        return answer

    def require_kept(self) -> None:
        """A handler that forgot is a mistake of ours."""
        if not self._is_kept:
            raise RuntimeError("a handler with an Idempotency-Key did not keep its answer")


async def _request_hash(request: Request) -> bytes:
    head = f"{request.method} {request.url.path}?{request.url.query}\0".encode()
    return hashlib.sha256(head + await request.body()).digest()


def _once(
    request: Request,
    place: InPlace,
    account: SignedIn,
    asked: Annotated[bytes, Depends(_request_hash)],
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            min_length=8,
            max_length=128,
            pattern=r"^[\x21-\x7e]+$",
            description="Chosen by the client, new for each thing to do; say a UUID.",
        ),
    ],
) -> Iterator[Keeping]:
    engine = place.world.engine
    claim = secrets.token_bytes(16)
    with transaction(engine) as session:
        _claim(session, account, key, asked, claim)
    status = getattr(request.scope.get("route"), "status_code", None) or 200
    try:
        with transaction(engine) as session:
            keeping = Keeping(session, key, account, claim, status)
            yield keeping
            keeping.require_kept()
    except BaseException:
        with transaction(engine) as session:
            session.execute(delete(AnswerRow).where(AnswerRow.account == account, AnswerRow.claim == claim))
        raise


def _claim(session: Session, account: Address, key: str, asked: bytes, claim: bytes) -> None:
    """Take the key, or raise what is to be answered instead."""
    now = utc_now()
    session.execute(delete(AnswerRow).where(AnswerRow.since < now - LIFE))
    mine = (AnswerRow.account == account, AnswerRow.key == key)
    dead = (AnswerRow.status.is_(None), AnswerRow.since < now - AT_WORK, AnswerRow.request == asked)
    session.execute(delete(AnswerRow).where(*mine, *dead))
    row = AnswerRow(account=account, key=key, request=asked, claim=claim, since=now)
    session.execute(inserting(session, row).on_conflict_do_nothing())
    found = session.scalars(select(AnswerRow).where(*mine)).one_or_none()
    if found is not None and found.claim == claim:
        return
    if found is None:  # the first gave its key back just now
        raise Conflict("The first request with this key has failed just now.", hint="Ask again.", retry_after=1)
    if found.request != asked:
        raise InvalidInput(
            "This Idempotency-Key belongs to another request.", hint="Take a new key for each thing to do."
        )
    if found.status is None:
        raise Conflict("The first request with this key is still at work.", hint="Ask again.", retry_after=2)
    raise Replayed(found.status, found.body or "")


async def handle_replay(request: Request, error: Exception) -> Response:
    """The kept answer."""
    assert isinstance(error, Replayed)
    return Response(error.body, error.status, {"idempotency-replayed": "true"}, "application/json")


Once = Annotated[Keeping, Depends(_once, scope="function")]
