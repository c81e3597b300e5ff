"""The sheet shows what is signed, and no server gets anything else signed: each test has one that lies, or fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from consent.purposes import purpose
from core.encoding import to_hex
from tests.web import answers
from tests.web.stage import Device, Stage

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)

NOBODY = "0x" + "00" * 20
TOM = answers.account("tom")
BOTH = ("academic-research", "service-provision")
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

    def consents(self) -> int:
        """How many the vault keeps."""
        self.device.vault.refresh()
        return len(self.device.vault.records("consent"))


@pytest.fixture
def desk(context: BrowserContext, static_url: str) -> Iterator[Desk]:
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


def test_terms_that_pay_somebody_else_do_not_stand_for_what_is_asked(desk: Desk) -> None:
    stray = answers.terms(desk.device.address, payee=bytes.fromhex(TOM[2:]), flat=10**9)
    desk.device.publish("Medical notes", "notes.txt", under=stray)
    desk.listed(answers.dataset(desk.device.address, desk.notes, "Medical notes", offered=[], under=stray))
    desk.asked(flat="1000000000")
    opened(desk, "/requests", "Approve as it is")
    expect(desk.sheet).to_contain_text("you sign new ones too")


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


# -- what is held, and ended -------------------------------------------------------------------------------------------


def row_of(fields: Json, **changes: Any) -> Json:
    """What the server tells of a consent: live, unless told otherwise."""
    live = {"id": answers.bytes32("token"), "holder": fields["grantee"], "status": "live", "uses": 0, "uses_left": None}
    shown = answers.consents(fields["owner"], fields["asset"])[0]
    return shown | {"consent": fields, "digest": answers.bytes32(fields["nonce"]), "tokens": [live]} | changes


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
