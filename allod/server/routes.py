"""Every router of the API, one line each. What a router runs beside requests, a thread say, is its `lifespan`."""

from __future__ import annotations

from allod.server import (
    about,
    consents,
    datasets,
    earnings,
    feed,
    health,
    jobs,
    operations,
    quotes,
    requests,
    revocations,
    sessions,
    verification,
)

ROUTERS = [
    about.router,
    sessions.router,
    feed.router,
    health.router,
    datasets.router,
    requests.router,
    consents.router,
    revocations.router,
    operations.router,
    earnings.router,
    quotes.router,
    jobs.router,
    verification.router,
]
