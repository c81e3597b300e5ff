"""An owner at their desk: the page signs, and the server is one that lies, or fails, as a test wants it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, Route

from core.encoding import decode_cbor
from tests.web import answers
from tests.web.stage import Device, Stage
from vault.cid import DAG_CBOR

NOBODY = "0x" + "00" * 20
TOM = answers.account("tom")
Json = dict[str, Any]


@dataclass
class Desk:
    """An owner of a dataset of medical notes and one of recipes; `posts` is what their browser sent."""

    stage: Stage
    notes: str
    recipes: str
    posts: list[Json] = field(default_factory=list)
    refuse: list[int] = field(default_factory=list)
    nonce: int | None = None  # the one that is proposed, where a test says so

    @property
    def device(self) -> Device:
        assert self.stage.device is not None
        return self.stage.device

    @property
    def sheet(self) -> Locator:
        return self.stage.page.get_by_role("dialog")

    def take(self, route: Route) -> None:
        """The server's answer to something signed: accepted, but for those numbers that it fails."""
        self.posts.append(dict(route.request.post_data_json))
        if len(self.posts) in self.refuse:
            route.fulfill(status=503, json={"type": "urn:allod:problem:unavailable", "title": "Later.", "status": 503})
        else:
            document = answers.operation("grant", "sent") | {"id": f"{len(self.posts):032x}"}
            route.fulfill(status=202, json=document)

    def give_nonce(self, route: Route) -> None:
        """The next nonce, or what a test wants proposed."""
        proposed = int(route.request.post_data_json["above"]) + 1 if self.nonce is None else self.nonce
        route.fulfill(status=201, json={"nonce": str(proposed)})

    def sign(self, button: str) -> Json:
        """Press the sheet's button; what was sent."""
        self.sheet.get_by_role("button", name=button, exact=True).click()
        self.sheet.get_by_role("list", name="How far it is").wait_for()
        return self.posts[-1]

    def asked(self, **changes: Any) -> None:
        """One request waits, of this form."""
        waiting = answers.requests(self.device.address, self.notes)[0] | changes
        self.stage.answers["GET /v1/requests"] = lambda _: answers.page([waiting])

    def listed(self, document: Json) -> None:
        """The catalogue has this dataset alone."""
        self.stage.answers[f"GET /v1/datasets/{document['asset']}"] = lambda _: document
        self.stage.answers["GET /v1/datasets"] = lambda _: answers.page([document])

    def told(self, *rows: Json) -> None:
        """These are the consents that the server tells of."""
        self.stage.answers["GET /v1/consents"] = lambda _: answers.page(list(rows))

    def refused(self, path: str, status: int, method: str = "GET") -> None:
        """From now on the server answers that."""
        document = {"type": "urn:allod:problem:none", "title": "Not now.", "status": status}

        def answer(route: Route) -> None:
            if route.request.method == method:
                route.fulfill(status=status, json=document)
            else:
                route.fallback()

        self.stage.context.route(re.compile(f"/v1/{path}([?]|$)"), answer)

    def sign_and_lose(self, consent: Json, status: int) -> None:
        """Keep this consent in the vault; the server does not give its record back."""
        before = set(self.device.blocks.cids())
        self.device.sign(consent)
        made = [cid for cid in self.device.blocks.cids() if cid not in before and cid.codec == DAG_CBOR]
        (record,) = (cid for cid in made if decode_cbor(self.device.blocks.get(cid))["kind"] == "record")
        self.refused(f"blocks/{record}", status)

    def revoke_everything(self) -> Json:
        """Press the screen's button and the sheet's."""
        self.stage.page.get_by_role("button", name="Revoke everything").click()
        return self.sign("Revoke everything")

    def done(self) -> None:
        """Close the sheet."""
        self.sheet.get_by_role("button", name=re.compile("Close|Done")).last.click()

    def consents(self) -> int:
        """How many the vault keeps."""
        self.device.vault.refresh()
        return len(self.device.vault.records("consent"))


@contextmanager
def at_desk(context: BrowserContext, static_url: str) -> Iterator[Desk]:
    """The desk, with the vault open; what the page complains of fails the test."""
    device = Device("signer", {"notes.txt": b"The heart beats.\n", "recipes.txt": b"Two eggs.\n"})
    notes, recipes = device.publish("Medical notes", "notes.txt"), device.publish("Recipes", "recipes.txt")
    made = Desk(Stage(context, static_url, device), notes, recipes)
    made.stage.answers["PUT /v1/vaults/mine"] = lambda _: device.document()
    context.route(re.compile("/v1/consent_nonces$"), made.give_nonce)
    for path in ("consents", "revocations"):
        context.route(re.compile(f"/v1/{path}$"), lambda route: _either(made, route))
    made.stage.unlock()
    yield made
    assert made.stage.complaints == []


def _either(desk: Desk, route: Route) -> None:
    if route.request.method == "POST":
        desk.take(route)
    else:
        route.fallback()


def opened(desk: Desk, path: str, button: str | re.Pattern[str]) -> Page:
    """The screen, with the sheet that this button opens."""
    page = desk.stage.go(path)
    page.get_by_role("button", name=button).click()
    return page


def row_of(fields: Json, **changes: Any) -> Json:
    """What the server tells of a consent: live, unless told otherwise."""
    live = {"id": answers.bytes32("token"), "holder": fields["grantee"], "status": "live", "uses": 0, "uses_left": None}
    shown = answers.consents(fields["owner"], fields["asset"])[0]
    return shown | {"consent": fields, "digest": answers.bytes32(fields["nonce"]), "tokens": [live]} | changes
