"""Consents are shown and ended as what was signed, however little a server gives back: each has one that lies."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from allod.owner import signed_consents
from tests.web import answers
from tests.web.desk import TOM, Desk, Json, row_of
from vault.cid import Cid

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)


def test_a_consent_is_shown_and_ended_as_what_was_signed(desk: Desk) -> None:
    owner = desk.device.address
    first = answers.consent(owner, "first", desk.notes, TOM)
    second = answers.consent(owner, "second", desk.recipes, answers.account("una"))
    for one in (first, second):
        desk.device.sign(one)
    lie = {"title": "Recipes", "purpose": "personalisation", "price": {"flat": "1", "per_record_epoch": "1"}}
    desk.told(row_of(second, title="Medical notes"), row_of(first, **lie))
    page = desk.stage.go("/consents")
    row = page.get_by_role("row", name=re.compile("Medical notes"))
    expect(row).to_contain_text("Academic research")
    expect(row).to_contain_text("2.00 PLAY a job")
    row.get_by_role("button", name="Revoke").click()
    expect(desk.sheet).to_contain_text(f"{TOM} may fine-tune on “Medical notes” for academic research")
    expect(desk.sheet).not_to_contain_text("Recipes")
    assert desk.sign("Revoke")["consents"] == [first]


def test_a_consent_that_only_the_server_knows_is_told_as_that_and_not_ended_by_itself(desk: Desk) -> None:
    owner = desk.device.address
    mine = answers.consent(owner, "mine", desk.notes, TOM)
    desk.device.sign(mine)
    altered = mine | {"asset": desk.recipes}
    stranger = mine | {"owner": TOM}
    desk.told(row_of(altered), row_of(stranger), row_of(mine | {"nonce": "never"}), row_of(mine))
    page = desk.stage.go("/consents")
    expect(page.get_by_text("names 1 consent that your vault has no record of")).to_be_visible()
    row = page.get_by_role("row", name=re.compile("Recipes"))
    expect(row).to_contain_text("not in your vault")
    expect(row.get_by_role("button", name="Revoke")).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("^Revoke the consent"))).to_have_count(1)


def test_a_live_consent_below_a_hundred_that_ended_is_found(desk: Desk) -> None:
    owner = desk.device.address
    live = answers.consent(owner, "live", desk.notes, TOM)
    desk.device.sign(live)
    ended = [row_of(live | {"nonce": str(5000 + at)}, nonce_revoked=True) for at in range(100)]

    def answer(query: dict[str, list[str]]) -> Json:
        return answers.page([row_of(live)]) if query.get("after") == ["more"] else answers.page(ended, "more")

    desk.stage.answers["GET /v1/consents"] = answer
    page = desk.stage.go("/consents")
    expect(page.get_by_role("row", name=re.compile("Medical notes"))).to_contain_text("live")
    expect(page.get_by_text("None is live")).to_have_count(0)


def test_a_consent_that_the_server_hides_may_be_live_and_can_be_ended(desk: Desk) -> None:
    owner = desk.device.address
    hidden = answers.consent(owner, "hidden", desk.notes, TOM)
    over = answers.consent(owner, "over", desk.recipes, TOM) | {"expiry": answers.NOW + answers.DAY}
    for one in (hidden, over):
        desk.device.sign(one)
    desk.told()
    page = desk.stage.go("/consents")
    expect(page.get_by_text("says nothing of 1 consent that you signed")).to_be_visible()
    row = page.get_by_role("row", name=re.compile("Medical notes"))
    expect(row).to_contain_text("state unknown")
    expect(page.get_by_text("None is live")).to_have_count(0)
    row.get_by_role("button", name="Revoke").click()
    assert desk.sign("Revoke")["consents"] == [hidden]
    desk.sheet.get_by_role("button", name=re.compile("Close|Done")).last.click()
    desk.told(row_of(hidden, nonce_revoked=True))
    page = desk.stage.go("/consents")
    expect(page.get_by_text("None is live")).to_be_visible()


@pytest.mark.parametrize("status", [404, 503], ids=["lost", "withheld"])
def test_a_consent_whose_record_is_gone_is_ended_all_the_same(desk: Desk, status: int) -> None:
    owner = desk.device.address
    kept = answers.consent(owner, "kept", desk.notes, TOM)
    lost = answers.consent(owner, "lost", desk.recipes, TOM)
    offer = answers.consent(owner, "some offer", desk.recipes, None)
    desk.device.sign(kept)
    desk.sign_and_lose(lost, status)
    desk.told(row_of(kept), row_of(lost), row_of(offer, tokens=[]))
    page = desk.stage.go("/consents")
    expect(page.get_by_text("1 document of your vault cannot be read")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Revoke the consent"))).to_have_count(2)  # a made-up offer's
    page.get_by_role("row", name=re.compile(f"Recipes.*{TOM[:6]}")).get_by_role("button", name="Revoke").click()
    expect(desk.sheet).to_contain_text(f"{TOM} may fine-tune on “Recipes” for academic research")
    assert desk.sign("Revoke")["consents"] == [lost]
    desk.done()
    page.get_by_role("row", name=re.compile("Medical notes")).get_by_role("button", name="Revoke").click()
    assert desk.sign("Revoke")["consents"] == [kept]
    desk.done()
    page.get_by_role("button", name="Revoke everything").click()
    expect(desk.sheet).to_contain_text("3 consents that may be live here, and any that this page does not know.")
    assert desk.sign("Revoke everything")["epoch"] == 0


def test_the_sheet_counts_who_took_an_offer(desk: Desk) -> None:
    offer = answers.consent(desk.device.address, "offer", desk.notes, None)
    desk.device.sign(offer)
    token = row_of(offer)["tokens"][0]
    desk.told(row_of(offer, tokens=[token | {"id": answers.bytes32(f"token {at}"), "holder": TOM} for at in range(3)]))
    desk.stage.go("/consents").get_by_role("button", name=re.compile("^Revoke the consent")).click()
    expect(desk.sheet).to_contain_text("With the open offer end 3 tokens that trainers took.")


def test_who_sees_no_consent_can_end_all(desk: Desk) -> None:
    desk.sign_and_lose(answers.consent(desk.device.address, "lost", desk.recipes, TOM), 404)
    desk.told()
    page = desk.stage.go("/consents")
    expect(page.get_by_text("None of those that can be read is live.")).to_be_visible()
    desk.refused("consents", 500)
    desk.stage.go("/consents").get_by_role("alert").wait_for()
    page.get_by_role("button", name="Revoke everything").click()
    expect(desk.sheet).to_contain_text("ends at once: any that this page does not know.")
    assert desk.sign("Revoke everything")["kind"] == "revoke_all"


def test_a_server_that_went_back_in_time_keeps_nobody_from_revoking(desk: Desk) -> None:
    old = desk.device.document()
    assert old is not None
    block = desk.device.blocks.get(Cid.parse(old["head"]))
    mine = answers.consent(desk.device.address, "mine", desk.notes, TOM)
    desk.device.sign(mine)
    desk.told(row_of(mine))
    page = desk.stage.go("/consents")
    page.get_by_role("row", name=re.compile("Medical notes")).wait_for()
    desk.stage.context.route(re.compile(f"/v1/blocks/{old['head']}$"), lambda route: route.fulfill(body=block))
    desk.stage.answers["GET /v1/vaults/mine"] = lambda _: old
    page = desk.stage.go("/consents")
    expect(page.get_by_text("It holds an older copy")).to_be_visible()
    page.get_by_role("row", name=re.compile("Medical notes")).get_by_role("button", name="Revoke").click()
    assert desk.sign("Revoke")["consents"] == [mine]


@pytest.mark.parametrize("how", ["one", "offer", "all"])
def test_what_the_server_never_took_is_over_once_it_is_revoked(desk: Desk, how: str) -> None:
    desk.device.sign(answers.consent(desk.device.address, "mine", desk.notes, None if how == "offer" else TOM))
    desk.device.sign(answers.consent(desk.device.address, "other", desk.recipes, TOM) | {"expiry": answers.NOW + 1})
    desk.told()
    page = desk.stage.go("/consents")
    row = page.get_by_role("row", name=re.compile("Medical notes"))
    expect(row).to_contain_text("state unknown")
    if how == "all":
        desk.revoke_everything()
    else:
        row.get_by_role("button", name="Revoke").click()
        desk.sign("Revoke")
    desk.done()
    expect(page.get_by_text("None is live")).to_be_visible()
    page.get_by_role("radio", name=re.compile("All")).check()
    expect(row).to_contain_text("revoked by you")
    expect(page.get_by_role("row", name=re.compile("Recipes"))).to_contain_text("expired")
    row.get_by_role("button", name="Revoke").click()  # the vault alone says so
    desk.sign("Revoke")
    desk.device.vault.refresh()
    assert len(desk.device.vault.records("revocation")) == (2 if how == "all" else 1)
    assert len(signed_consents(desk.device.vault)) == 2  # for the command line too
