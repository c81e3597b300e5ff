"""Errors as RFC 9457 problem documents: the slug, the sentence and the next step of `core.errors`, and a trace id.

A problem never quotes what a client sent, so no secret that was typed into the wrong field comes back or is logged. Nor
does it say where this server's parts are: an `Unavailable` that is meant for clients tells them when to come back, and
any other one was written for the operator, who finds it in the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from allod.server.logs import LOG, redact
from core.errors import AllodError, Busy, Denied, InvalidInput, NotFound, Unavailable

MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:allod:problem:"
MAX_FLAWS = 20

TITLES = {
    "error": "Something broke here",
    "invalid-input": "Not of the form that is asked for",
    "not-found": "Not here",
    "denied": "Not allowed",
    "refused": "Refused",
    "conflict": "It contradicts what was done",
    "corrupted": "Bytes are not what they claim to be",
    "busy": "Another process holds it",
    "unavailable": "A part does not answer",
    "verification-failed": "A claim does not hold",
    "sign-in-needed": "Sign in first",
    "wrong-method": "Not this way",
    "too-large": "Too large",
    "too-slow": "Too slow",
    "too-often": "Too often",
    "incomplete": "Blocks are missing",
    "no-room": "No room left",
    "wrong-media-type": "Not this kind of document",
    "wrong-host": "Not this server",
    "head-too-large": "Too many headers",
}


class SignInNeeded(Denied):
    """Nobody is signed in, or no longer."""

    status, slug = 401, "sign-in-needed"


class WrongMethod(InvalidInput):
    """The path exists, but not for this method."""

    status, slug = 405, "wrong-method"


class TooSlow(InvalidInput):
    """The request did not arrive in time."""

    status, slug = 408, "too-slow"


class TooLarge(InvalidInput):
    """A body or a header beyond its bound."""

    status, slug = 413, "too-large"


class WrongMediaType(InvalidInput):
    """A body of another kind than the route takes."""

    status, slug = 415, "wrong-media-type"


class TooOften(Unavailable):
    """A client or an account asks faster than it may; `retry_after` says when to come back."""

    status, slug = 429, "too-often"


class Flaw(BaseModel):
    """One thing that is wrong with a request: where, and why."""

    at: str = Field(description="Where it is: body, query, path or header, and the names below it.", max_length=300)
    message: str = Field(description="What is wrong with it.", max_length=500)


class Problem(BaseModel):
    """An error, as RFC 9457 writes it; further members are facts for programs, such as `head` or `missing`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    type: str = Field(description="What kind of error: `urn:allod:problem:` and a stable slug.", pattern=f"^{PREFIX}")
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What went wrong this time.")
    hint: str = Field(description="What to do next; may be empty.")
    instance: str = Field(description="The path that was asked.")
    trace_id: str = Field(description="Names this very answer in the server's log.", pattern="^[0-9a-f]{32}$")
    errors: list[Flaw] | None = Field(default=None, description="Each flaw, where the request is not of its form.")


RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {
        "description": words,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for code, words in (("4XX", "The request cannot be answered so."), ("5XX", "The server cannot answer now."))
}
"""What every operation may answer besides its own."""


def of_exception(error: Exception) -> AllodError:
    """The error that a client is told of."""
    if isinstance(error, Busy):
        return Unavailable("Another program of this server is at work there.", hint="Try again soon.", retry_after=5)
    if isinstance(error, Unavailable) and "retry_after" not in error.detail:
        return Unavailable("A part of this server does not answer.", hint="Try again in a minute.", retry_after=10)
    if isinstance(error, AllodError):
        return error
    if isinstance(error, RequestValidationError):
        return InvalidInput("The request is not of the form that is asked for.", hint="`errors` says where and why.")
    if isinstance(error, HTTPException):
        return _of_status(error.status_code)
    if isinstance(error, OperationalError | PoolTimeout):
        return Unavailable("The database does not answer.", hint="Try again in a few seconds.", retry_after=2)
    return AllodError("Something broke here.", hint="Try again; tell the operator the trace id if it stays.")


def _of_status(status: int) -> AllodError:
    if status == HTTPStatus.NOT_FOUND:
        return NotFound("There is nothing at this path.", hint="The API's paths are in /v1/openapi.json.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return WrongMethod("This path does not take that method.", hint="The Allow header names those it takes.")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge("The request's body is too large.", hint="Send less at once.")
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return TooSlow("The request did not arrive in time.", hint="Try again over a better line.")
    if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return WrongMediaType("The body is not of a kind that is taken here.", hint="Set its Content-Type.")
    if status < 500:
        return InvalidInput("The request cannot be read.", hint="Compare it with /v1/openapi.json.")
    return Unavailable("That cannot be answered now.", hint="Try again in a few seconds.", retry_after=5)


def flaws(error: RequestValidationError) -> list[dict[str, str]]:
    """Where a request is not of its form, without a word of what it held."""
    found = []
    for one in error.errors()[:MAX_FLAWS]:
        loc = one["loc"][:-1] if one["type"] == "extra_forbidden" else one["loc"]  # the last is the client's own word
        at = ".".join(str(part) for part in loc)
        found.append(
            {"at": at[:300], "message": str(one["msg"])[:500] if one["type"] != "value_error" else "Not valid."}
        )
    return found


def document(error: Exception, path: str, trace_id: str) -> dict[str, Any]:
    """The members of a problem document."""
    told = of_exception(error)
    status = error.status_code if isinstance(error, HTTPException) else told.status
    members = {
        "type": PREFIX + told.slug,
        "title": TITLES.get(told.slug, told.slug),
        "status": status,
        "detail": told.message,
        "hint": told.hint,
        "instance": path,
        "trace_id": trace_id,
    }
    if isinstance(error, RequestValidationError):
        members["errors"] = flaws(error)
    return {**told.detail, **members}


def respond(error: Exception, path: str, trace_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The whole answer to a request that failed."""
    members = document(error, path, trace_id)
    more = dict(headers or {})
    if (wait := members.get("retry_after")) is not None:
        more["retry-after"] = str(wait)
    body = json.dumps(members, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="replace")
    return Response(body, members["status"], more, MEDIA_TYPE)


async def handle(request: Request, error: Exception) -> Response:
    """The exception handler of every error that a route or the router raises."""
    trace_id = request.scope.get("allod.trace_id", "0" * 32)
    if isinstance(error, Unavailable) and "retry_after" not in error.detail:
        LOG.warning("a part does not answer", extra={"facts": {"trace_id": trace_id, "why": redact(str(error))}})
    headers = error.headers if isinstance(error, HTTPException) else None
    return respond(error, request.url.path, trace_id, headers)
