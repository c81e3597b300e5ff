"""The sheet shows what is signed, and no server gets anything else signed: each test has one that lies, or fails."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from consent.purposes import purpose
from core.encoding import to_hex
from core.ids import Address
from tests.web import answers
from tests.web.desk import NOBODY, TOM, Desk, Json, opened

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)

BOTH = ("academic-research", "service-provision")


# -- what is approved --------------------------------------------------------------------------------------------------


def test_a_request_that_names_nobody_is_never_an_offer_to_all(desk: Desk) -> None:
    desk.asked(trainer=NOBODY)
    opened(desk, "/requests", "Approve as it is")
    expect(desk.sheet.get_by_role("alert")).to_contain_text("would be an offer to all")
    expect(desk.sheet.get_by_role("button", name="Sign the consent")).to_have_count(0)
    assert desk.posts == []
    assert desk.consents() == 0


def test_a_request_is_shown_and_signed_as_what_its_asset_is(desk: Desk) -> None:
    desk.asked(title="Recipes")
    page = desk.stage.go("/requests")
    expect(page.get_by_role("heading", name="Medical notes")).to_be_visible()
    page.get_by_role("button", name="Approve as it is").click()
    expect(desk.sheet).to_contain_text("“Medical notes” is 1 file of this vault: notes.txt.")
    expect(desk.sheet).to_contain_text(
        f"{TOM} may fine-tune on “Medical notes” for academic research, on any base model"
    )
    expect(desk.sheet).to_contain_text("in up to 2 jobs, reading each record up to 3 times per job")
    expect(desk.sheet).to_contain_text("Each job pays 2.00 PLAY, and 0.0004 PLAY for each record and epoch.")
    expect(desk.sheet).not_to_contain_text("Recipes")
    expect(desk.sheet).not_to_contain_text("anew")
    signed = desk.sign("Sign the consent")["consent"]
    assert (signed["grantee"], signed["asset"], signed["max_uses"]) == (TOM, desk.notes, 2)
    assert (signed["terms"], signed["expiry"]) == (to_hex(answers.terms(desk.device.address).hash), answers.LATER)
    assert desk.consents() == 1


def test_a_request_for_what_the_vault_does_not_have_is_not_approved(desk: Desk) -> None:
    desk.asked(asset=answers.bytes32("another"), title="Recipes")
    opened(desk, "/requests", "Approve as it is")
    expect(desk.sheet.get_by_role("alert")).to_contain_text("Your vault lists no such dataset.")
    expect(desk.stage.page.get_by_role("heading", name="A dataset that is not in your vault")).to_be_attached()


@pytest.mark.parametrize(
    "changes",
    [{"flat": "1000000000"}, {"max_epochs": 2}, {"base_models": [answers.bytes32("model")]}, {"purpose": BOTH[1]}],
    ids=["price", "epochs", "models", "purpose"],
)
def test_new_terms_are_announced_before_they_are_signed(desk: Desk, changes: Json) -> None:
    desk.asked(**changes)
    opened(desk, "/requests", "Approve as it is")
    expect(desk.sheet).to_contain_text("you sign new ones too, and their hash goes on chain")
    expect(desk.sheet).to_contain_text("The keys of 1 file are shared anew")
    assert desk.posts == []


def test_terms_of_another_payee_do_not_stand_for_what_is_asked_unless_they_are_listed(desk: Desk) -> None:
    stray = answers.terms(desk.device.address, payee=Address(bytes.fromhex(TOM[2:])), flat=10**9)
    desk.device.publish("Medical notes", "notes.txt", under=stray)
    desk.asked(flat="1000000000")
    opened(desk, "/requests", "Approve as it is")
    expect(desk.sheet).to_contain_text("you sign new ones too")
    expect(desk.sheet).not_to_contain_text("It is paid to")


@pytest.mark.parametrize("flat", ["1000000000", "3000000000"], ids=["as listed", "another price"])
def test_whom_the_listed_terms_pay_and_let_run_stays_so(desk: Desk, flat: str) -> None:
    coop, runner = answers.account("coop"), answers.account("runner")
    shared = answers.terms(
        desk.device.address,
        payee=Address(bytes.fromhex(coop[2:])),
        runner=Address(bytes.fromhex(runner[2:])),
        flat=10**9,
    )
    desk.device.publish("Medical notes", "notes.txt", under=shared)
    desk.listed(answers.dataset(desk.device.address, desk.notes, "Medical notes", offered=[], under=shared))
    desk.asked(flat=flat)
    opened(desk, "/requests", "Approve as it is")
    expect(desk.sheet).to_contain_text(f"It is paid to {coop}.")
    expect(desk.sheet).to_contain_text(runner)
    if flat != "1000000000":
        expect(desk.sheet).to_contain_text("you sign new ones too")
        return
    expect(desk.sheet).not_to_contain_text("you sign new ones too")
    signed = desk.sign("Sign the consent")["consent"]
    assert (signed["terms"], signed["runner"]) == (to_hex(shared.hash), runner)


def test_new_terms_beside_listed_ones_that_the_vault_does_not_know_say_whom_they_pay(desk: Desk) -> None:
    listed = answers.dataset(desk.device.address, desk.notes, "Medical notes", offered=[])
    desk.listed(listed | {"terms_hash": answers.bytes32("other terms")})
    desk.asked()
    opened(desk, "/requests", "Approve as it is")
    expect(desk.sheet).to_contain_text("no record of the terms that this server lists it with")
    expect(desk.sheet).to_contain_text(f"These pay your own account: {desk.device.address}.")


@pytest.mark.parametrize("path", ["vaults/mine", "blocks/[a-z0-9]+"])
def test_a_request_is_denied_though_the_vault_cannot_be_read(desk: Desk, path: str) -> None:
    desk.asked()
    desk.stage.answers["POST /v1/requests/"] = lambda _: desk.stage.answers["GET /v1/requests"]({})["data"][0]
    desk.device.sign(answers.consent(desk.device.address, "news", desk.notes, TOM))  # that this page has not read
    desk.refused(path, 503)
    page = desk.stage.go("/requests")
    expect(page.get_by_text("what it says of these datasets is missing")).to_be_visible()
    expect(page.get_by_role("heading", name="A dataset that cannot be named now")).to_be_visible()
    page.get_by_role("button", name="Deny").click()
    desk.sheet.get_by_role("button", name="Deny").click()
    expect(page.get_by_text("Denied. The trainer sees it.")).to_be_visible()


def test_terms_that_were_only_kept_are_registered_before_a_consent_names_them(desk: Desk) -> None:
    cheap = answers.terms(desk.device.address, flat=10**9)
    desk.device.publish("Medical notes", "notes.txt", under=cheap)  # and its registration was never sent
    desk.asked(flat="1000000000")
    opened(desk, "/requests", "Approve as it is")
    expect(desk.sheet).to_contain_text("you sign new ones too")


def test_changes_are_checked_where_they_are_made_and_the_asked_end_is_kept(desk: Desk) -> None:
    desk.asked()
    page = opened(desk, "/requests", "Approve with changes")
    for label, wrong in (("Epochs at most", "1001"), ("Jobs at most", "")):
        page.get_by_label(label).fill(wrong)
    page.get_by_role("button", name="Continue").click()
    expect(desk.sheet.get_by_text("A whole number from 1 to 1,000.")).to_be_visible()
    expect(desk.sheet.get_by_text("A whole number from 0 to 65,535.")).to_be_visible()
    page.get_by_label("Epochs at most").fill("3")
    page.get_by_label("Jobs at most").fill("1")
    page.get_by_role("button", name="Continue").click()
    expect(desk.sheet).to_contain_text("in one job")
    assert desk.sign("Sign the consent")["consent"]["expiry"] == answers.LATER


def test_a_nonce_out_of_reach_is_neither_signed_nor_kept(desk: Desk) -> None:
    desk.nonce = 2**64 - 1
    desk.asked()
    opened(desk, "/requests", "Approve as it is")
    desk.sheet.get_by_role("button", name="Sign the consent").click()
    expect(desk.sheet.get_by_role("alert")).to_contain_text("far above all that you used")
    assert desk.posts == []
    assert desk.consents() == 0


# -- one tab at a time -------------------------------------------------------------------------------------------------

HOLD = """
name => new Promise((held) => navigator.locks.request(name, () => {
  held(null);
  return new Promise((resolve) => (window.free = resolve));
}))
"""
PENDING = "async () => (await navigator.locks.query()).pending.length"
WAITS = "Another tab of this page, or your wallet, still waits for an answer"


def wait_for_another_tab(desk: Desk) -> Page:
    """Sign a consent while somebody else signs one."""
    desk.asked()
    page = desk.stage.page
    page.evaluate(HOLD, f"allod consents of {desk.device.address}")
    opened(desk, "/requests", "Approve as it is")
    desk.sheet.get_by_role("button", name="Sign the consent").click()
    expect(desk.sheet.get_by_role("status")).to_contain_text(WAITS)
    assert page.evaluate(PENDING) == 1
    return page


def test_who_waits_for_another_tab_is_told_so_and_goes_on_after_it(desk: Desk) -> None:
    page = wait_for_another_tab(desk)
    page.evaluate("window.free()")
    desk.sheet.get_by_role("list", name="How far it is").wait_for()
    assert len(desk.posts) == 1


def test_nobody_waits_for_another_tab_for_ever(desk: Desk) -> None:
    desk.stage.page.clock.install()
    page = wait_for_another_tab(desk)
    page.clock.fast_forward("01:01")
    expect(desk.sheet.get_by_role("alert")).to_contain_text(WAITS)
    assert page.evaluate(PENDING) == 0
    page.evaluate("window.free()")
    desk.sheet.get_by_role("button", name="Try again").click()
    desk.sheet.get_by_role("list", name="How far it is").wait_for()
    assert desk.consents() == 1


def test_a_locked_vault_waits_for_no_other_tab(desk: Desk) -> None:
    page = wait_for_another_tab(desk)
    page.evaluate("new BroadcastChannel('allod').postMessage('closed')")
    page.get_by_label("Passphrase").wait_for()
    page.wait_for_function("async () => (await navigator.locks.query()).pending.length === 0")
    page.evaluate("window.free()")
    assert desk.posts == []


# -- what is offered ---------------------------------------------------------------------------------------------------


def test_an_offer_to_all_is_under_the_listed_terms_not_the_newest(desk: Desk) -> None:
    owner = desk.device.address
    cheap = answers.terms(owner, flat=1)  # what one trainer got
    desk.device.publish("Medical notes", "notes.txt", under=cheap)
    desk.listed(answers.dataset(owner, desk.notes, "Recipes", offered=[]))
    page = desk.stage.go("/offer")
    expect(page.get_by_role("row", name=re.compile("Medical notes"))).to_contain_text("2.00 PLAY a job")
    page.get_by_role("button", name="Offer Medical notes to all").click()
    expect(desk.sheet).to_contain_text("Any trainer may fine-tune on “Medical notes” for academic research")
    expect(desk.sheet).to_contain_text("Each job pays 2.00 PLAY")
    signed = desk.sign("Sign and offer")["consent"]
    assert (signed["grantee"], signed["terms"]) == (NOBODY, to_hex(answers.terms(owner).hash))


def test_terms_that_the_vault_never_wrote_are_not_offered(desk: Desk) -> None:
    owner = desk.device.address
    good = answers.dataset(owner, desk.notes, "Medical notes", offered=[])
    desk.listed(good)
    page = desk.stage.go("/offer")
    page.get_by_role("button", name="Offer Medical notes to all").wait_for()
    desk.listed(good | {"terms_hash": answers.bytes32("other terms")})
    page.get_by_role("button", name="Offer Medical notes to all").click()
    expect(desk.sheet.get_by_role("alert")).to_contain_text("terms that your vault has no record of")
    assert desk.posts == []


def test_offers_that_were_cut_are_completed_and_the_accepted_ones_followed(desk: Desk) -> None:
    owner = desk.device.address
    both = answers.terms(owner, purposes=BOTH, salt=b"\x01" * 32)
    desk.device.publish("Medical notes", "notes.txt", under=both)
    desk.listed(answers.dataset(owner, desk.notes, "Medical notes", offered=[], under=both))
    desk.refuse = [2]
    page = opened(desk, "/offer", "Offer Medical notes to all")
    desk.sheet.get_by_role("button", name="Sign and offer").click()
    expect(desk.sheet.get_by_role("alert")).to_contain_text("Later.")
    desk.sheet.get_by_role("button", name="Not now").click()
    page.get_by_role("button", name=re.compile("1 act under way")).wait_for()

    desk.listed(answers.dataset(owner, desk.notes, "Medical notes", offered=[BOTH[0]], under=both))
    page = desk.stage.go("/offer")
    button = page.get_by_role("button", name="Offer Medical notes to all")
    expect(button).to_have_text("Offer for 1 more purpose")
    button.click()
    expect(desk.sheet).to_contain_text("for providing a service or product")
    expect(desk.sheet).not_to_contain_text("academic research")
    assert desk.sign("Sign and offer")["consent"]["purpose"] == to_hex(purpose(BOTH[1]).hash)


def test_purposes_are_named_by_the_page(desk: Desk) -> None:
    labels = [one["label"] for one in answers.WORLD["purposes"]]
    lies = [one | {"label": label} for one, label in zip(answers.WORLD["purposes"], labels[::-1], strict=True)]
    desk.stage.answers["GET /v1/world"] = lambda _: answers.WORLD | {"purposes": lies}
    desk.stage.unlock("/offer")
    page = desk.stage.page
    for one in answers.WORLD["purposes"]:
        expect(page.get_by_role("checkbox", name=one["label"], exact=True)).to_have_attribute("value", one["code"])
    desk.asked()
    page = desk.stage.go("/requests")
    expect(page.get_by_text("Academic research", exact=True)).to_be_visible()
