"""The application: routers, problems, bounds and headers put together over one world."""

from __future__ import annotations

from collections import Counter

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from allod import __version__
from allod.server import guard, idempotency, problems
from allod.server.bounds import SMALL_BODY, Bounds
from allod.server.context import Place
from allod.server.routes import ROUTERS
from allod.world import World
from core.errors import AllodError


def create_app(world: World, *, origins: tuple[str, ...], bounds: Bounds | None = None) -> FastAPI:
    """The server over `world`, which the caller opened and closes; browsers reach it under `origins`."""
    app = FastAPI(
        title="Allod",
        version=__version__,
        summary="Owners seal, consent and are paid; trainers license and train; anyone verifies.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        max_body_size=SMALL_BODY,
        responses=problems.RESPONSES,
        generate_unique_id_function=_name_of,
        telemetry={"tracing": False},
    )
    app.state.place = Place(world, origins, bounds or Bounds())
    app.state.streams = Counter()
    for kind in (AllodError, HTTPException, RequestValidationError, OperationalError):
        app.add_exception_handler(kind, problems.handle)
    app.add_exception_handler(idempotency.Replayed, idempotency.handle_replay)
    for router in ROUTERS:
        app.include_router(router)
    guard.require_guards(app)
    return app


def _name_of(route: APIRoute) -> str:
    return route.name
