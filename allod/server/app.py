"""The application: routers, problems, bounds and headers put together over one world."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from allod import __version__
from allod.server import guard, idempotency, openapi, problems
from allod.server.bounds import SMALL_BODY, Bounds
from allod.server.context import Place
from allod.server.gate import Gate
from allod.server.metrics import Metrics
from allod.server.observing import Observing
from allod.server.page import Page, static_folder
from allod.server.routes import ROUTERS
from allod.world import World
from core.errors import AllodError


def create_app(
    world: World,
    *,
    origins: tuple[str, ...],
    own_hosts: frozenset[str] = frozenset(),
    bounds: Bounds | None = None,
    static: Path | None = None,
) -> FastAPI:
    """The server over `world`, which the caller opened and closes; browsers reach it under `origins`.

    `own_hosts` are further Host headers that it answers to, `static` the built page. `app.state.place` is what handlers
    share, `app.state.metrics` its numbers. A route that does not say who may call it is a RuntimeError.
    """
    app = FastAPI(
        title="Allod",
        version=__version__,
        summary="Owners seal, consent and are paid; trainers license and train; anyone verifies.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.RESPONSES,
        generate_unique_id_function=_name_of,
        telemetry={"tracing": False},
    )
    place = app.state.place = Place(world, origins, bounds or Bounds(), own_hosts)
    streams: Counter[bytes] = Counter()
    app.state.streams = streams
    app.state.metrics = Metrics(streams.total)
    for kind in (AllodError, HTTPException, RequestValidationError, OperationalError, PoolTimeout):
        app.add_exception_handler(kind, problems.handle)
    app.add_exception_handler(idempotency.Replayed, idempotency.handle_replay)
    for router in ROUTERS:
        app.include_router(router, max_body_size=SMALL_BODY)  # a route may say otherwise
    guard.require_guards(app)
    app.router.default = Page(static or static_folder())
    app.add_middleware(Gate, place=place)
    app.add_middleware(Observing, place=place, metrics=app.state.metrics)
    app.openapi = partial(openapi.describe, app)  # type: ignore[method-assign] # as FastAPI documents it
    return app


def _name_of(route: APIRoute) -> str:
    return route.name
