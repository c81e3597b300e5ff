"""An owner's whole story in Chromium, against a real server with its chain, keepers and relay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from consent.chain.account import Account
from consent.chain.wallet import personal_digest
from core.encoding import from_hex, to_hex
from tests.web.serving import ROOT
from tests.web.walking import (
    PASSPHRASE,
    Trainer,
    choose_passphrase,
    finish,
    go,
    make_vault,
    read_words,
    real_server,
    unlock,
    upload,
)

pytestmark = [pytest.mark.needs_browser, pytest.mark.slow, pytest.mark.timeout(900)]
expect.set_options(timeout=60_000)
ADA = ROOT / "examples" / "ada"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for this file."""
    with real_server(tmp_path_factory.mktemp("story")) as url:
        yield url


def test_from_the_first_run_to_a_revocation_with_reloads_between(page: Page, server: str) -> None:
    words = make_vault(page, server)
    assert len(set(words)) > 12
    upload(page, ADA / "reminders.txt", ADA / "logbook.md")

    go(page, "Files")
    page.get_by_role("link", name="reminders.txt").click()
    expect(page.get_by_text("Note for later: the warden of the school at Nettlecombe is Petra Hobb.")).to_be_visible()
    page.reload()
    unlock(page)
    page.get_by_role("link", name="Offer this file").click()

    page.get_by_label("Title").fill("Ada's notebook")
    page.get_by_role("radio", name=re.compile("Only trainers I approve")).check()
    expect(page.get_by_role("article")).to_contain_text("Ada's notebook")
    expect(page.get_by_role("article")).to_contain_text("on request")
    page.get_by_role("button", name="Publish…").click()
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text("Nobody may use it before you approve a request.")
    expect(sheet).to_contain_text("Plaintext of these files may exist on your own devices")
    finish(page, "Sign and publish")
    page.reload()  # with the sheet open: the server carries it
    unlock(page)
    expect(page.get_by_role("row", name=re.compile("Ada's notebook"))).to_contain_text("on request")

    with Trainer(server) as tom:
        tom.ask(tom.find("notebook"))
        go(page, "Requests")
        expect(page.get_by_text("May we?")).to_be_visible()
        page.get_by_role("button", name="Approve as it is").click()
        finish(page, "Sign the consent").get_by_role("button", name="Done").click()
        expect(page.get_by_text("approved", exact=True)).to_be_visible()
        (held,) = tom.consents()
        assert [token["status"] for token in held["tokens"]] == ["live"]

        go(page, "Consents")
        page.get_by_role("button", name=re.compile("^Revoke the consent")).click()
        sheet = finish(page, "Revoke")
        expect(sheet).to_contain_text("3 of 3 keepers stored it")
        sheet.get_by_role("button", name="Done").click()
        expect(page.get_by_text("None is live")).to_be_visible()
        (held,) = tom.consents()
        assert [token["status"] for token in held["tokens"]] == ["burned"]

    go(page, "Earnings")
    expect(page.get_by_role("heading", name="Nothing earned yet")).to_be_visible()
    go(page, "Activity")
    expect(page.get_by_text("A trainer asks for a consent.")).to_be_visible()
    expect(page.get_by_text("You approved a request").first).to_be_visible()


def test_words_alone_bring_the_vault_back_in_another_browser(page: Page, server: str, browser: Any) -> None:
    words = make_vault(page, server)
    upload(page, ADA / "logbook.md")
    other = browser.new_context()
    try:
        fresh = other.new_page()
        fresh.set_default_timeout(60_000)
        fresh.goto(f"{server}/start")
        fresh.get_by_role("button", name="Restore a vault").click()
        fresh.get_by_label("Your 24 words").fill("  ".join(words).upper())
        fresh.get_by_role("button", name="Continue").click()
        choose_passphrase(fresh, "Restore my vault")
        expect(fresh.get_by_role("link", name="logbook.md")).to_be_visible()
    finally:
        other.close()


def test_an_upload_that_is_cut_and_reloaded_goes_on(page: Page, server: str) -> None:
    make_vault(page, server)
    text = "".join(
        f"Entry {number}: wind from the west, oil for nine days, nothing seen.\n" for number in range(60_000)
    )
    file = {"name": "long.txt", "mimeType": "text/plain", "buffer": text.encode()}

    cut = {"left": 1}

    def lose(route: Any) -> None:
        if cut["left"] > 0:
            cut["left"] -= 1
            route.continue_()
        else:
            route.abort("connectionreset")

    page.route("**/v1/blocks", lose)
    page.get_by_label("Files to upload").set_input_files([file])  # type: ignore[list-item]
    expect(page.get_by_role("heading", name=re.compile("^Failed"))).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    unlock(page)
    expect(page.get_by_role("heading", name="Unfinished from before")).to_be_visible()
    page.unroute("**/v1/blocks")
    upload(page, file)
    expect(page.get_by_role("heading", name="Unfinished from before")).to_be_hidden()
    go(page, "Files")
    expect(page.get_by_role("row", name=re.compile("long.txt"))).to_contain_text("60,000")


ANNOUNCE = """
(() => {
  const provider = { request: (call) => window.__wallet(JSON.stringify(call)).then((answer) => {
    const { error, value } = JSON.parse(answer);
    if (error !== undefined) throw Object.assign(new Error("wallet"), { code: error });
    return value;
  }) };
  const info = { uuid: "6c3f1c2e-0000-4000-8000-000000000001", name: "Test wallet", rdns: "example.wallet", icon: "" };
  const detail = Object.freeze({ info, provider });
  const announce = () => dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  addEventListener("eip6963:requestProvider", announce);
  announce();
})();
"""


class Wallet:
    """An EIP-1193 wallet in this process; `declines` makes it say no once."""

    def __init__(self) -> None:
        self.account = Account(b"\x07" * 32)
        self.asked: list[str] = []
        self.declines = False

    def answer(self, _: Any, text: str) -> str:
        """One call."""
        call = json.loads(text)
        method, params = call["method"], call.get("params", [])
        self.asked.append(method)
        if method in ("eth_requestAccounts", "eth_accounts"):
            return json.dumps({"value": [to_hex(self.account.address)]})
        if method == "eth_chainId":
            return json.dumps({"value": hex(31337)})
        if self.declines:
            self.declines = False
            return json.dumps({"error": 4001})
        if method == "personal_sign":
            return json.dumps({"value": to_hex(self.account.sign_hash(personal_digest(from_hex(params[0]))))})
        return json.dumps({"error": 4200})


def test_a_wallet_that_announces_itself_signs_in_and_is_asked_again_only_when_it_must_sign(
    context: BrowserContext, page: Page, server: str
) -> None:
    wallet = Wallet()
    context.expose_binding("__wallet", wallet.answer)
    context.add_init_script(ANNOUNCE)
    wallet.declines = True
    page.goto(server)
    page.get_by_role("button", name="Make a vault").click()
    page.get_by_role("radio", name=re.compile("Test wallet")).check()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name=re.compile("Show the words")).wait_for()
    wallet.declines = False
    make_vault(page, server, wallet="Test wallet")
    upload(page, ADA / "logbook.md")
    signed = wallet.asked.count("personal_sign")
    page.reload()
    unlock(page)
    go(page, "Settings")
    expect(page.get_by_text("in your wallet")).to_be_visible()
    assert wallet.asked.count("personal_sign") == signed  # the session still stood


def test_everything_of_a_first_run_by_keyboard_alone(page: Page, server: str) -> None:
    page.goto(server)
    page.get_by_role("button", name="Make a vault").wait_for()
    press(page, "Make a vault")
    press(page, "Continue")
    press(page, "Show the words; nobody is looking")
    words = read_words(page)
    press(page, "I have them")
    for place in (0, 1):
        page.locator(f"#word-{place}").wait_for()
        number = int(page.locator(f"label[for=word-{place}]").inner_text().split()[-1])
        tab_to(page, f"document.activeElement.id === 'word-{place}'")
        page.keyboard.type(words[number - 1])
    page.keyboard.press("Enter")
    for name in ("passphrase", "passphrase-again"):
        page.locator(f"#{name}").wait_for()
        tab_to(page, f"document.activeElement.id === '{name}'")
        page.keyboard.type(PASSPHRASE)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Upload", exact=True).wait_for()
    with page.expect_file_chooser() as chooser:
        press(page, "Choose files")
    chooser.value.set_files([ADA / "logbook.md"])
    page.get_by_role("heading", name="Sealed and stored (1)").wait_for()
    press(page, "Offer them")
    page.get_by_role("heading", name="A new dataset").wait_for()
    expect(page.get_by_role("checkbox", name=re.compile("logbook"))).to_be_checked()  # what was uploaded is chosen
    tab_to(page, "document.activeElement.id === 'offer-title'")
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text("What will happen")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "offer-title"  # the focus is back where it was
    page.keyboard.press("Enter")
    press(page, "Sign, publish and offer")
    sheet.get_by_role("button", name="Done").wait_for()
    press(page, "Done")
    press(page, "Consents", role="a")
    page.get_by_role("button", name=re.compile("^Revoke the consent")).wait_for()
    tab_to(page, "(document.activeElement.getAttribute('aria-label') ?? '').startsWith('Revoke the consent')")
    page.keyboard.press("Enter")
    press(page, "Revoke")
    sheet.get_by_role("button", name="Done").wait_for()
    press(page, "Done")
    expect(page.get_by_text("None is live")).to_be_visible()


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the focus is there; every stop on the way is seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(f"() => {wanted}"):
            return
    raise AssertionError(f"the keyboard does not reach it: {wanted}")


def press(page: Page, name: str, role: str = "button") -> None:
    """Reach a button or link by Tab and press it."""
    text = json.dumps(name)
    page.wait_for_function(
        "([name, role]) => [...document.querySelectorAll(role)]"
        ".some((one) => one.innerText.trim() === name && !one.disabled)",
        arg=[name, role],
    )
    tab_to(
        page,
        f"document.activeElement.matches({json.dumps(role)}) && document.activeElement.innerText.trim() === {text}",
    )
    page.keyboard.press("Enter")
