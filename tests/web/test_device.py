"""The owner's device: one vault on it, whatever tabs, servers, sessions and wallets do to what it keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from core.encoding import from_hex
from core.ids import Address
from tests.web import answers
from tests.web.stage import KEEP, KEPT, PASSPHRASE, Device, Stage, pins
from tests.web.test_story import ADA, ANNOUNCE, Wallet
from tests.web.walking import choose_passphrase, confirm_words, go, make_vault, real_server, show_words, unlock, upload
from vault import vault as vaults
from vault.keys import KeyFile, Stretch

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for this file."""
    with real_server(tmp_path_factory.mktemp("device")) as url:
        yield url


@pytest.fixture
def stage(context: BrowserContext, static_url: str) -> Iterator[Stage]:
    """An owner who has files, and whose browser keeps nothing yet."""
    made = Stage(context, static_url, Device("device", {"notes.txt": b"The mill runs again.\n"}))
    yield made
    assert made.complaints == []


def vault_of(page: Page) -> str:
    """The vault that the browser keeps."""
    return str(json.loads(page.evaluate(KEPT)["keyFile"])["vault_id"])


def remove_from_device(page: Page) -> None:
    """Take the vault off the device, from the screen that is shown."""
    page.get_by_role("button", name="Remove from this device").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Make a vault").wait_for()
    expect(page.get_by_role("heading", level=1)).to_be_focused()  # also where what opened the dialog is gone


def saved_key_file(page: Page) -> bytes:
    """The key file, as the button on this screen saves it."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the key file").click()
    return download.value.path().read_bytes()


# One vault on a device.


def test_another_vault_is_made_only_after_the_first_one_was_removed(page: Page, server: str) -> None:
    make_vault(page, server)
    upload(page, ADA / "reminders.txt")
    first = vault_of(page)
    page.evaluate("history.pushState(null, '', '/start'); dispatchEvent(new PopStateEvent('popstate'));")
    expect(page.get_by_role("button", name="Make a vault")).to_be_disabled()
    remove_from_device(page)

    make_vault(page, server)
    assert vault_of(page) != first
    expect(page.get_by_role("heading", name="Sealed and stored (1)")).to_be_hidden()
    upload(page, ADA / "logbook.md")
    go(page, "Files")
    expect(page.get_by_role("link", name="logbook.md")).to_be_visible()
    expect(page.get_by_role("link", name="reminders.txt")).to_be_hidden()


def test_a_tab_that_was_half_way_through_making_a_vault_does_not_overwrite_another_ones(
    context: BrowserContext, page: Page, server: str
) -> None:
    late = context.new_page()
    late.goto(server)
    late.get_by_role("button", name="Make a vault").click()
    late.get_by_role("button", name="Continue").click()
    words = show_words(late)
    late.get_by_role("button", name="I have them").click()
    confirm_words(late, words)
    late.get_by_label("Passphrase", exact=True).wait_for()

    make_vault(page, server)
    first = vault_of(page)
    choose_passphrase(late, "Make my vault")
    expect(late.get_by_text("This device keeps another vault")).to_be_visible()
    assert vault_of(page) == first
    upload(page, ADA / "reminders.txt")  # and the first one works on


# What a device accepted and saw.


def come_again(stage: Stage) -> None:
    """Restore by the key file, over what is kept."""
    assert stage.device is not None
    page = stage.open("/start?restore")
    page.get_by_role("radio", name=re.compile("key file")).check()
    page.get_by_label("Key file", exact=True).set_input_files(
        [{"name": "key.json", "mimeType": "application/json", "buffer": stage.device.key_file}]
    )
    page.locator("#restore-passphrase").fill(PASSPHRASE)
    page.get_by_role("button", name="Continue").click()


def restore_by_words(stage: Stage) -> None:
    """Restore by the words and the account that hangs on them."""
    assert stage.device is not None
    page = stage.open("/start?restore")
    page.get_by_label("Your 24 words").fill(stage.device.root.words())
    page.get_by_role("button", name="Continue").click()


def test_a_restore_over_a_kept_vault_takes_no_older_head(stage: Stage) -> None:
    stage.keep_device(sequence=7)
    come_again(stage)
    expect(stage.page.get_by_role("alert")).to_contain_text("change 7 was seen before")
    kept = stage.kept()
    assert kept is not None
    assert kept["sequence"] == 7


def test_a_restore_over_a_kept_vault_takes_no_other_contracts(stage: Stage) -> None:
    other = pins().replace(answers.WORLD["contracts"]["escrow"], answers.account("another escrow"))
    stage.keep_device(accepted=other)
    come_again(stage)
    expect(stage.page.get_by_role("alert")).to_contain_text("other contracts")
    kept = stage.kept()
    assert kept is not None
    assert kept["pins"] == other


def test_pins_of_an_older_page_take_the_money_at_first_sight(stage: Stage) -> None:
    stage.keep_device(accepted=" ".join(pins().split(" ")[:5]))
    stage.open("/settings")
    unlock(stage.page)
    kept = stage.kept()
    assert kept is not None
    assert kept["pins"] == pins()


def test_a_server_whose_decimal_point_moved_is_shown_no_form_to_type_a_price_into(stage: Stage) -> None:
    page = stage.unlock()
    stage.go("/offer").get_by_label("PLAY a job").wait_for()
    money = {**answers.WORLD["currency"], "unit_decimals": 6}
    stage.answers["GET /v1/world"] = lambda _: {**answers.WORLD, "currency": money}
    page.evaluate("dispatchEvent(new Event('offline')); dispatchEvent(new Event('online'));")
    expect(page.get_by_text("another currency")).to_be_visible()
    expect(page.get_by_label("PLAY a job")).to_be_hidden()
    assert stage.device is not None
    assert saved_key_file(page) == stage.device.key_file  # which brings the vault back
    page.get_by_role("link", name="Remove the vault from this device").click()
    remove_from_device(page)
    assert stage.kept() is None


def test_who_is_not_let_in_because_the_contracts_are_others_can_save_the_key_file(stage: Stage) -> None:
    assert stage.device is not None
    stage.keep_device(accepted=pins().replace(answers.WORLD["contracts"]["escrow"], answers.account("another escrow")))
    page = stage.open("/files")
    save = page.get_by_role("button", name="Save the key file")
    page.get_by_label("Passphrase").fill("a wrong one")
    expect(save).to_be_hidden()
    page.get_by_label("Passphrase").fill(PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    expect(page.get_by_role("alert")).to_contain_text("other contracts")
    assert saved_key_file(page) == stage.device.key_file


def test_a_restore_over_ones_own_vault_says_which_account_to_choose(stage: Stage) -> None:
    assert stage.device is not None
    root, vault_id, wallet = stage.device.root, stage.device.vault_id, Address(from_hex(answers.account("a wallet")))
    file = KeyFile.create(root, PASSPHRASE, vault_id=vault_id, address=wallet, cost=Stretch(n=1 << 10))
    stage.keep_device(key_file=file.encode())
    restore_by_words(stage)
    alert = stage.page.get_by_role("alert")
    expect(alert).to_contain_text("This device's vault signs with another account.")
    expect(alert).to_contain_text("choose the wallet above")


def test_a_tab_opened_long_ago_does_not_lower_the_number_that_another_one_saw(stage: Stage) -> None:
    assert stage.device is not None
    page = stage.unlock()
    page.evaluate(KEEP, [list(stage.device.key_file), pins(), 99])
    stage.device.vault.add_bytes("later.txt", b"And it rained.\n")
    stage.go("/files").get_by_role("link", name="later.txt").wait_for()
    kept = stage.kept()
    assert kept is not None
    assert kept["sequence"] == 99


# Other tabs.


def second_tab(stage: Stage) -> Page:
    """The vault open in two tabs; the second one."""
    stage.unlock()
    other = stage.context.new_page()
    other.set_default_timeout(60_000)
    other.goto(stage.url + "/settings")
    unlock(other)
    return other


def test_a_vault_removed_in_one_tab_is_gone_from_every_tab(stage: Stage) -> None:
    other = second_tab(stage)
    remove_from_device(stage.page)
    other.get_by_role("button", name="Make a vault").wait_for()
    expect(other.get_by_role("button", name="Lock", exact=True)).to_be_hidden()
    assert stage.kept() is None


@pytest.mark.parametrize("what", ["js", "css"])
def test_a_screen_that_comes_late_has_the_focus_on_its_heading(stage: Stage, what: str) -> None:
    page = stage.unlock()
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    stage.context.route(f"**/assets/Start-*.{what}", hold)
    page.get_by_role("button", name="Remove from this device").click()
    page.get_by_role("dialog").get_by_role("checkbox").check()
    with page.expect_request(re.compile(rf"/assets/Start-[^/]*[.]{what}$")):
        page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("Fetching this screen").wait_for()
    late.pop().continue_()
    expect(page.get_by_role("heading", name="Your data, sealed before it leaves this device")).to_be_focused()


DROP = """
() => new Promise((resolve, reject) => {
  const request = indexedDB.open("allod", 1);
  request.onerror = () => reject(request.error);
  request.onsuccess = () => {
    const change = request.result.transaction("device", "readwrite");
    change.objectStore("device").delete("owner");
    change.oncomplete = () => { request.result.close(); resolve(null); };
  };
})
"""


def test_a_tab_that_did_not_hear_of_the_removal_neither_signs_in_nor_writes_the_key_file_back(stage: Stage) -> None:
    assert stage.device is not None
    page = stage.unlock()
    page.evaluate(DROP)
    signed: list[str] = []
    stage.context.on("request", lambda one: signed.append(one.url) if one.url.endswith("/v1/nonces") else None)
    stage.device.vault.add_bytes("later.txt", b"And it rained.\n")
    stage.go("/files")
    page.get_by_role("button", name="Make a vault").wait_for()
    assert stage.kept() is None
    assert signed == []


def test_locking_locks_every_tab(stage: Stage) -> None:
    other = second_tab(stage)
    stage.page.get_by_role("button", name="Lock", exact=True).click()
    other.get_by_role("button", name="Unlock").wait_for()
    unlock(other)
    stage.page.get_by_role("button", name="Unlock").wait_for()


def test_a_token_that_another_tab_renewed_is_taken_and_the_call_sent_again(stage: Stage) -> None:
    stage.unlock()
    renewed = "cd" * 32
    tokens: list[str | None] = []

    def answer(route: Route) -> None:
        tokens.append(route.request.headers.get("x-csrf-token"))
        if tokens[-1] == renewed:
            route.fulfill(status=202, json=answers.operation("claim", "final"))
        else:
            problem = {"type": "urn:allod:problem:denied", "title": "It lacks this session's token.", "status": 403}
            route.fulfill(status=403, body=json.dumps(problem), content_type="application/problem+json")

    stage.context.route("**/v1/claims", answer)
    assert stage.device is not None
    session = {"account": stage.device.address, "csrf_token": renewed, "expires_at": answers.LATER}
    stage.answers["GET /v1/sessions/current"] = lambda _: session
    claim(stage).get_by_role("button", name="Done").click()
    assert len(tokens) == 2

    session["account"] = answers.account("somebody else")  # whose session is not for us
    session["csrf_token"] = "ef" * 32
    renewed = "ef" * 32
    expect(claim(stage).get_by_role("alert")).to_contain_text("It lacks this session's token.")
    assert len(tokens) == 3


def test_a_proof_of_the_vaults_key_is_made_for_no_other_account(stage: Stage) -> None:
    assert stage.device is not None
    page = stage.unlock()
    session = {"account": answers.account("somebody else"), "csrf_token": "ab" * 32, "expires_at": answers.LATER}
    stage.answers["GET /v1/sessions/current"] = lambda _: session
    commits: list[str] = []
    page.on("request", lambda one: commits.append(one.url) if one.method == "PUT" else None)
    stage.go("/upload").get_by_label("Files to upload").set_input_files(
        [{"name": "new.txt", "mimeType": "text/plain", "buffer": b"Nobody may claim this.\n"}]
    )
    expect(page.get_by_role("heading", name="Failed (1)")).to_be_visible()
    expect(page.get_by_text("signed in as another account").first).to_be_visible()
    assert commits == []


# The sheet.


def claim(stage: Stage) -> Locator:
    """Open the sheet of a claim and confirm it; the sheet."""
    stage.go("/earnings").get_by_role("button", name="Claim it").click()
    sheet = stage.page.get_by_role("dialog")
    sheet.get_by_role("button", name="Claim", exact=True).click()
    return sheet


def test_escape_pressed_twice_does_not_close_the_sheet_while_it_acts(stage: Stage) -> None:
    page = stage.unlock()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    stage.context.route("**/v1/claims", hold)
    with page.expect_request("**/v1/claims"):
        sheet = claim(stage)
    for _ in range(4):
        page.keyboard.press("Escape")
    expect(sheet).to_be_visible()
    expect(sheet.get_by_role("button", name="Not now")).to_be_disabled()
    held[0].fulfill(status=202, json=answers.operation("claim", "final"))
    sheet.get_by_role("button", name="Done").click()
    expect(sheet).to_be_hidden()
    stage.go("/earnings").get_by_role("button", name="Claim it").click()
    expect(sheet).to_be_visible()  # the next act has its sheet
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()


# What fails is said, and mended.

BREAK = """
(() => {
  const open = IDBFactory.prototype.open;
  window.broken = true;
  IDBFactory.prototype.open = function (...named) {
    if (window.broken) throw new DOMException("no disk", "UnknownError");
    return open.apply(this, named);
  };
})();
"""


def test_a_browser_that_does_not_say_what_it_keeps_is_not_taken_for_an_empty_one(stage: Stage) -> None:
    stage.keep_device()
    page = stage.page
    page.add_init_script(BREAK)
    stage.open("/files")
    expect(page.get_by_role("alert")).to_contain_text("not known whether your vault is here")
    expect(page.get_by_role("link", name="restore your vault")).to_be_hidden()
    stage.open("/start")
    expect(page.get_by_role("alert")).to_contain_text("not known whether your vault is here")
    expect(page.get_by_role("button", name="Make a vault")).to_be_disabled()
    page.evaluate("window.broken = false")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("link", name="open it").click()
    unlock(page)


@pytest.mark.parametrize("by", ["key file", "words"])
def test_no_vault_is_brought_to_a_browser_that_does_not_say_what_it_keeps(stage: Stage, by: str) -> None:
    page = stage.page
    page.add_init_script(BREAK)
    if by == "key file":
        come_again(stage)
    else:
        restore_by_words(stage)
    expect(page.get_by_role("alert")).to_contain_text("not known whether your vault is here")


def test_a_damaged_key_file_says_so_and_a_saved_one_mends_it(stage: Stage) -> None:
    stage.keep_device(key_file=b"{ no key file")
    page = stage.open("/files")
    expect(page.get_by_role("alert")).to_contain_text("Not a JSON document.")
    expect(page.get_by_role("link", name="restore your vault")).to_be_visible()
    come_again(stage)
    page.get_by_role("link", name="notes.txt").wait_for()


def test_closing_the_save_picker_is_no_failure(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stage.device is not None
    seal = vaults.seal_description
    monkeypatch.setattr(vaults, "seal_description", lambda *one, **two: seal(*one, **{**two, "size": 300 << 20}))
    stage.device.vault.add_bytes("large.txt", b"It says that it is large.\n")
    page = stage.unlock()
    stage.go("/files")
    page.evaluate(
        "() => { window.showSaveFilePicker = () => { window.asked = true; "
        "return Promise.reject(new DOMException('The user aborted a request.', 'AbortError')); }; }"
    )
    button = page.get_by_role("button", name="Download large.txt")
    button.click()
    page.wait_for_function("window.asked")
    expect(button).to_be_enabled()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_price_beyond_what_a_chain_can_pay_breaks_no_screen(stage: Stage) -> None:
    assert stage.device is not None
    rows = answers.requests(stage.device.address, stage.device.asset)
    stage.answers["GET /v1/requests"] = lambda _: answers.page([rows[0] | {"flat": "9" * 20}, rows[1]])
    page = stage.unlock()
    stage.go("/requests")
    expect(page.get_by_text(f"? {answers.WORLD['currency']['symbol']} a job")).to_be_visible()


# Wallets.


def test_a_wallet_is_asked_to_sign_in_again_only_when_its_owner_wants_that(
    context: BrowserContext, page: Page, server: str
) -> None:
    wallet = Wallet()
    context.expose_binding("__wallet", wallet.answer)
    context.add_init_script(ANNOUNCE)
    make_vault(page, server, wallet="Test wallet")
    upload(page, ADA / "logbook.md")
    signed = wallet.asked.count("personal_sign")
    context.clear_cookies()
    go(page, "Files")
    again = page.get_by_role("button", name="Sign in again")
    again.wait_for()
    for place in ("Earnings", "Consents"):
        with page.expect_response(lambda answer: answer.status == 401):
            go(page, place)
    assert wallet.asked.count("personal_sign") == signed
    wallet.declines = True
    again.click()
    expect(page.get_by_text("You declined in your wallet")).to_be_visible()
    with page.expect_response(lambda answer: answer.status == 401):
        go(page, "Files")
    assert wallet.asked.count("personal_sign") == signed + 1
    again.click()
    expect(page.get_by_role("link", name="logbook.md")).to_be_visible()
    expect(again).to_be_hidden()
    assert wallet.asked.count("personal_sign") == signed + 2
    context.clear_cookies()
    go(page, "Consents")
    again.evaluate("(button) => { button.click(); button.click(); }")  # two who want it at one time
    expect(again).to_be_hidden()
    assert wallet.asked.count("personal_sign") == signed + 3
