"""The transaction sheet: nothing happens unconfirmed, nothing twice after a cut, and a reload loses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Route, expect

from tests.web import answers
from tests.web.stage import PASSPHRASE, Device, Stage

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)


@pytest.fixture
def stage(context: BrowserContext, static_url: str) -> Iterator[Stage]:
    """An owner who has files, in a browser with the vault open."""
    made = Stage(context, static_url, Device("sheet", {"notes.txt": b"The mill runs again.\n"}))
    made.unlock()
    yield made
    assert made.complaints == []


def claim(stage: Stage) -> None:
    """Open the sheet of a claim."""
    stage.go("/earnings").get_by_role("button", name="Claim it").click()
    expect(stage.page.get_by_role("dialog")).to_contain_text("4.0288 PLAY from 1 job")


def test_a_cut_answer_is_sent_again_under_the_same_key(stage: Stage) -> None:
    keys: list[str | None] = []

    def answer(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key"))
        if len(keys) == 1:
            route.abort("connectionreset")
        else:
            route.fulfill(status=202, json=answers.operation("claim", "final"))

    stage.context.route("**/v1/claims", answer)
    claim(stage)
    assert keys == []
    sheet = stage.page.get_by_role("dialog")
    sheet.get_by_role("button", name="Claim", exact=True).click()
    expect(sheet.get_by_role("alert")).to_contain_text("The server does not answer.")
    sheet.get_by_role("button", name="Try again").click()
    sheet.get_by_role("button", name="Done").wait_for()
    assert len(keys) == 2
    assert keys[0] is not None
    assert keys[0] == keys[1]


def test_a_reload_finds_the_act_under_way_and_follows_it_to_its_end(stage: Stage) -> None:
    state = {"now": "sent"}

    def operation(_: Any) -> Any:
        return answers.operation("claim", state["now"])

    stage.answers["POST /v1/claims"] = operation
    stage.answers["GET /v1/operations/"] = operation
    stage.answers["GET /v1/operations"] = lambda query: answers.page(
        [operation(query)] if query.get("state") == [state["now"]] else []
    )
    claim(stage)
    stage.page.get_by_role("dialog").get_by_role("button", name="Claim", exact=True).click()
    expect(stage.page.get_by_role("dialog").get_by_text("Included: not yet")).to_be_attached()
    stage.page.reload()
    stage.page.get_by_label("Passphrase").fill(PASSPHRASE)
    stage.page.get_by_role("button", name="Unlock").click()
    stage.page.get_by_role("button", name=re.compile("1 act under way")).click()
    stage.page.get_by_role("button", name="Follow").click()
    state["now"] = "final"
    stage.page.get_by_role("dialog").get_by_role("button", name="Done").click()
    expect(stage.page.get_by_role("button", name=re.compile("under way"))).to_be_hidden()


def test_an_act_that_failed_says_why_and_what_to_do(stage: Stage) -> None:
    failed = answers.operation("claim", "sent") | {
        "state": "failed",
        "problem": {
            "type": "urn:allod:problem:refused",
            "status": 403,
            "detail": "It was paid before.",
            "hint": "Look again.",
        },
    }
    stage.answers["POST /v1/claims"] = lambda _: failed
    claim(stage)
    sheet = stage.page.get_by_role("dialog")
    sheet.get_by_role("button", name="Claim", exact=True).click()
    expect(sheet).to_contain_text("It was paid before.")
    expect(sheet).to_contain_text("Look again.")
    sheet.get_by_role("button", name="Done").click()


def test_nothing_is_signed_for_other_contracts_than_those_accepted(stage: Stage) -> None:
    moved = {**answers.WORLD, "contracts": {**answers.WORLD["contracts"], "escrow": answers.account("another escrow")}}
    stage.answers["GET /v1/world"] = lambda _: moved
    stage.page.reload()
    stage.page.get_by_label("Passphrase").fill(PASSPHRASE)
    stage.page.get_by_role("button", name="Unlock").click()
    expect(stage.page.get_by_role("alert")).to_contain_text("other contracts, another currency or other keepers")
