"""How the core's own routes are called."""

from __future__ import annotations

from contextlib import closing

from httpx2 import Response

from tests.server.people import Person, again, browser, sign_in_message
from tests.server.stage import Stage, call


@call("POST /v1/sessions")
def sign_in(stage: Stage, who: Person) -> Response:
    with closing(browser(who.http)) as client:  # of its own: nobody's session changes
        nonce = client.post("/v1/nonces").json()["nonce"]
        return client.post("/v1/sessions", json=sign_in_message(who.account, nonce))


@call("DELETE /v1/sessions/current")
def sign_out(stage: Stage, who: Person) -> Response:
    with again(who) as other:  # a session of its own: the others of this play go on
        return other.http.delete("/v1/sessions/current")


@call("GET /v1/activity/stream")
def stream(stage: Stage, who: Person) -> Response:
    return who.http.get("/v1/activity/stream", headers={"accept": "application/json"})
