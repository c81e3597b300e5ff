"""`openapi.json`: the API as committed beside this module, which a test compares with the application.

python -m allod.server.openapi        writes it anew
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from allod.server import guard, problems

FILE = Path(__file__).with_name("openapi.json")
SCHEMES = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-allod",
        "description": "The session's cookie, set by `create_session`; named `allod` on http://127.0.0.1.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "`csrf_token` of the session's document; unsafe requests carry it, and an Origin of ours.",
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application: problems, and who may call what, included."""
    found = FastAPI.openapi(app)
    parts = found.setdefault("components", {})
    problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    parts.setdefault("schemas", {}).update({**problem.pop("$defs"), "Problem": problem})
    parts["schemas"] = dict(sorted(parts["schemas"].items()))
    parts["securitySchemes"] = SCHEMES
    for method, path, who in guard.guarded_routes(app):
        operation = found["paths"][path][method.lower()]
        if who == "signed in":
            operation["security"] = [{"session": []} if method in guard.SAFE else {"session": [], "csrf": []}]
    return found


def encode(document: dict[str, Any]) -> str:
    """The text of the committed file."""
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def bare_app() -> FastAPI:
    """The application over no world: for its document, not for answers."""
    from allod.server.app import create_app
    from allod.world import World
    from core.settings import Settings

    return create_app(World(Settings(home=Path("/nonexistent"))), origins=("http://127.0.0.1:8600",))


if __name__ == "__main__":
    FILE.write_text(encode(describe(bare_app())), "utf-8")
