"""Who may call a route. Each route names one of these, or the server does not start.

    def handler(caller: Anyone) -> ...        nobody has to be signed in
    def handler(account: SignedIn) -> ...     the account that is signed in, by its session cookie

Unsafe methods are answered only for our own origin: a browser says where a request came from, and a signed-in one also
repeats the session's CSRF token. What an account may see of others is the handler's to decide.
"""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from allod.server import signin
from allod.server.context import InPlace, Place
from allod.server.problems import SignInNeeded, TooOften
from core.database import transaction
from core.errors import Denied, Unavailable
from core.ids import Address

SAFE = ("GET", "HEAD", "OPTIONS")
CSRF_HEADER = "x-csrf-token"


def _check_origin(request: Request, place: Place, *, needed: bool) -> None:
    if request.method in SAFE:
        return
    origin = request.headers.get("origin")
    if (origin is None and needed) or (origin is not None and origin not in place.origins):
        raise Denied("The request came from another site.", hint="Use the page of this server itself.")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Denied("The request came from another site.", hint="Use the page of this server itself.")


async def anyone(request: Request, place: InPlace) -> None:
    """Everybody, as long as no other site makes a browser ask."""
    _check_origin(request, place, needed=False)


def session_of(request: Request, place: InPlace) -> signin.SignedIn:
    """The session of the request's cookie; `SignInNeeded` without one, `Denied` where another site asks through it."""
    token = request.cookies.get(place.cookie, "")
    if not token or len(token) > 100:
        raise SignInNeeded("You are not signed in.", hint="Sign in with your wallet or your vault's key.")
    with transaction(place.world.engine) as session:
        found = signin.look_up(session, token)
    _check_origin(request, place, needed=True)
    given = request.headers.get(CSRF_HEADER, "")
    if request.method not in SAFE and not hmac.compare_digest(given.encode(), signin.csrf_of(token).encode()):
        raise Denied("The request lacks this session's CSRF token.", hint="Send it as X-CSRF-Token.")
    try:
        place.accounts.take(found.account)
    except Unavailable as error:
        raise TooOften(error.message, hint=error.hint, **error.detail) from None
    return found


Session = Annotated[signin.SignedIn, Depends(session_of)]


async def signed_in(session: Session) -> Address:
    """The account that is signed in."""
    return session.account


Anyone = Annotated[None, Depends(anyone)]
SignedIn = Annotated[Address, Depends(signed_in)]


def needs(dependant: Dependant) -> str | None:
    """Who may call a route of these dependencies: "anyone", "signed in", or None where it does not say."""
    calls = set()
    left = [dependant]
    while left:
        one = left.pop()
        calls.add(one.call)
        left += one.dependencies
    if session_of in calls:
        return "signed in"
    return "anyone" if anyone in calls else None


def guarded_routes(app: FastAPI | APIRouter) -> list[tuple[str, str, str | None]]:
    """Method, path and `needs` of every route of the API."""
    found = []
    for context in iter_route_contexts(app.routes):
        route: BaseRoute = context.original_route
        if isinstance(route, APIRoute):
            found += [(method, str(context.path), needs(context.dependant)) for method in sorted(context.methods or ())]
    return found


def require_guards(app: FastAPI) -> None:
    """Refuse to start with a route that does not say who may call it."""
    bare = [f"{method} {path}" for method, path, who in guarded_routes(app) if who is None]
    if bare:
        raise RuntimeError(f"Nobody said who may call {', '.join(bare)}: name Anyone or SignedIn in its handler.")
