"""Every router of the API, one line each."""

from __future__ import annotations

from allod.server import about, feed, health, sessions

ROUTERS = [
    about.router,
    sessions.router,
    feed.router,
    health.router,
]
