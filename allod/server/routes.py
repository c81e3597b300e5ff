"""Every router of the API, one line each."""

from __future__ import annotations

from allod.server import about, feed, health, jobs, quotes, sessions, verification

ROUTERS = [
    about.router,
    sessions.router,
    feed.router,
    health.router,
    quotes.router,
    jobs.router,
    verification.router,
]
