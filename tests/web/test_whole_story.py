"""The owner's whole story in Chromium on a real `allod up`: all parts are processes, a script asks, a job runs."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from consent.chain.client import Chain
from core.errors import Refused
from examples import trainer as script
from tests.allod.standing import PATIENCE
from tests.web import searching, walking
from tests.web.town import PURPOSE, RECIPE, Town, told
from tests.web.wallet import NAME, Wallet

pytestmark = [pytest.mark.needs_browser, pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(900)]

MILLISECONDS = 1000 * PATIENCE
SHOTS = os.environ.get("ALLOD_STORY_SHOTS")
LINES = 8


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    made = Town(tmp_path_factory.mktemp("town"))
    try:
        yield made
    finally:
        made.up.end()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """An owner's browser; anything that the page throws outside of an answer fails the test."""
    errors: list[str] = []
    context.set_default_timeout(MILLISECONDS)
    expect.set_options(timeout=MILLISECONDS)
    made = context.new_page()
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("dialog", lambda dialog: dialog.accept())
    yield made
    assert errors == []


def shot(page: Page, name: str) -> None:
    """A picture for whoever wants to look (ALLOD_STORY_SHOTS is a folder)."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def text_file(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "mimeType": "text/plain", "buffer": text.encode()}


def canary_file(name: str) -> dict[str, Any]:
    """A file whose name and every record hold a canary."""
    lines = (f"The keeper hides the CANARY-{name}-{number} under the seventh stone.\n\n" for number in range(LINES))
    return text_file(f"CANARY-file-{name}.txt", "".join(lines))


def publish(page: Page, file: str, title: str, *, flat: str = "2", openly: bool = False) -> None:
    """Fill the form of a new dataset, up to its sheet."""
    walking.go(page, "Offer")
    page.get_by_role("checkbox", name=re.compile(re.escape(file))).check()
    page.get_by_label("Title").fill(title)
    page.get_by_label("a job", exact=False).first.fill(flat)
    page.get_by_role("radio", name=re.compile("Any trainer" if openly else "Only trainers I approve")).check()
    page.get_by_role("button", name=re.compile("^Publish")).click()


def done(page: Page) -> None:
    page.get_by_role("dialog").get_by_role("button", name="Done").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def lose_answer(page: Page, path: str) -> None:
    """The server takes the first POST there, and the page never hears that it did."""
    waiting = [path]

    def meet(route: Route) -> None:
        if route.request.method == "POST" and waiting:
            waiting.pop()
            route.fetch()
            route.abort("connectionreset")
        else:
            route.fallback()

    page.route(f"**{path}", meet)


def until_row(page: Page, title: str, state: str) -> None:
    """Load the page anew until the row says so."""
    deadline = time.monotonic() + PATIENCE
    row = page.get_by_role("row", name=re.compile(re.escape(title)))
    row.wait_for()
    while state not in row.inner_text():
        assert time.monotonic() < deadline, "it never came true"
        page.reload()
        walking.unlock(page)
        row.wait_for()


def test_the_owners_whole_story(town: Town, page: Page, browser: Browser) -> None:
    tess = town.trainer("tess")
    # First run, with a reload before the words are confirmed: nothing was kept.
    page.goto(town.url)
    shot(page, "01-start")
    page.get_by_role("button", name="Make a vault").click()
    page.get_by_role("button", name="Continue").click()
    first = walking.show_words(page)
    shot(page, "02-kit")
    page.reload()
    words = walking.make_vault(page, town.url)
    assert len(words) == 24
    assert words != first

    # Upload.
    file = canary_file("ada")
    walking.upload(page, file, canary_file("bee"))
    shot(page, "03-uploaded")
    walking.go(page, "Files")
    shot(page, "04-files")
    page.get_by_role("link", name=file["name"]).click()
    expect(page.get_by_text("CANARY-ada-0", exact=False).first).to_be_visible()
    shot(page, "05-preview")
    page.reload()
    walking.unlock(page)
    expect(page.get_by_text(f"CANARY-ada-{LINES - 1}", exact=False)).to_be_visible()

    # Publish: reload in the sheet, a cut connection, a lost answer.
    publish(page, file["name"], "Ada's stones")
    shot(page, "06-sheet")
    page.reload()
    walking.unlock(page)
    publish(page, file["name"], "Ada's stones")
    sheet = page.get_by_role("dialog")
    lose_answer(page, "/v1/datasets")
    sheet.get_by_role("button", name="Sign and publish").click()
    sheet.get_by_role("button", name="Try again").wait_for()
    expect(sheet.get_by_role("alert")).to_be_in_viewport()
    shot(page, "07-sheet-cut")
    walking.finish(page, "Try again")
    shot(page, "08-sheet-final")
    done(page)
    expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_have_count(1)
    shot(page, "09-published")

    # A trainer asks; the owner approves with changes.
    process = town.script(tess, "stones", town.folder / "bundle.tar")
    try:
        told(process, "asked")
        walking.go(page, "Requests")
        expect(page.get_by_text("May we?")).to_be_visible()
        shot(page, "10-request")
        page.get_by_role("button", name="Approve with changes").click()
        page.get_by_label("Jobs at most").fill("3")
        page.get_by_label("a job", exact=False).first.fill("3")
        shot(page, "11-change")
        page.get_by_role("button", name="Continue").click()
        page.reload()
        walking.unlock(page)
        expect(page.get_by_text("waits for you")).to_be_visible()
        page.get_by_role("button", name="Approve with changes").click()
        page.get_by_label("Jobs at most").fill("3")
        page.get_by_label("a job", exact=False).first.fill("3")
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("dialog").get_by_role("button", name="Sign the consent").click()
        page.get_by_role("dialog").get_by_role("list", name="How far it is").wait_for()
        shot(page, "12-consent-sheet")
        page.reload()
        walking.unlock(page)
        expect(page.get_by_text("approved with changes", exact=True)).to_be_visible()
        assert told(process, "answered")["state"] == "approved_with_changes"
        told(process, "quoted")
        job_id = told(process, "started")["job_id"]

        # In escrow while it runs.
        walking.go(page, "Earnings")
        expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_contain_text(
            re.compile("in escrow|claimable")
        )
        shot(page, "13-in-escrow")
        finished = told(process, "done")
        assert finished["outcome"] == "confirmed", finished
        told(process, "downloaded")
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()
    until_row(page, "Ada's stones", "claimable")
    shot(page, "14-claimable")
    page.get_by_role("button", name="Claim it").click()
    page.reload()  # with the sheet open and nothing signed
    walking.unlock(page)
    page.get_by_role("button", name="Claim it").click()
    walking.finish(page, "Claim")
    shot(page, "15-claimed")
    done(page)
    expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_contain_text("paid")
    shot(page, "16-paid")
    expect(page.get_by_role("button", name="Claim it")).to_be_disabled()

    walking.go(page, "Consents")
    page.get_by_text("1 job trained").click()
    expect(page.get_by_text("adapter made; it stays with the trainer")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_contain_text("2 uses")
    shot(page, "17-consents")
    a_second_device(town, browser, words, file["name"])

    # Revoked: final, said by every keeper, and the trainer's next job is refused.
    with town.by_hand(tess) as trainer:
        (held,) = trainer.get("/v1/consents", role="trainer")["data"]
        page.get_by_role("button", name=re.compile("^Revoke the consent")).click()
        sheet = page.get_by_role("dialog")
        sheet.get_by_role("button", name="Revoke", exact=True).click()
        expect(sheet).to_contain_text("3 of 3 keepers stored it")
        page.reload()  # before it is final: the server carries it
        walking.unlock(page)
        expect(page.get_by_text("None is live")).to_be_visible()
        (token,) = held["tokens"]
        trainer.wait(lambda: burned(trainer), "The revocation", seconds=PATIENCE)
        shot(page, "19-revoked")
        with pytest.raises(Refused, match="do not serve"):
            trainer.quote([token["id"]], RECIPE, 500)
    walking.go(page, "Activity")
    expect(page.get_by_text("You approved a request").first).to_be_visible()
    shot(page, "20-activity")

    a_stranger_verifies(town, browser, job_id)
    the_server_saw_nothing(town, town.secrets_of(words) | searching.of_words(first))


def burned(trainer: script.Trainer) -> bool | None:
    """True once the trainer's one token is burned."""
    (held,) = trainer.get("/v1/consents", role="trainer")["data"]
    return held["tokens"][0]["status"] == "burned" or None


def a_second_device(town: Town, browser: Browser, words: list[str], file: str) -> None:
    """The words alone bring everything back in another browser."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        page.goto(f"{town.url}/start")
        page.get_by_role("button", name="Restore a vault").click()
        page.get_by_label("Your 24 words").fill(" ".join(words))
        page.get_by_role("button", name="Continue").click()
        walking.choose_passphrase(page, "Restore my vault")
        expect(page.get_by_role("link", name=file)).to_be_visible()
        walking.go(page, "Consents")
        expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_contain_text("1 job trained")
        walking.go(page, "Earnings")
        expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_contain_text("paid")
        shot(page, "18-second-device")
    finally:
        context.close()


def a_stranger_verifies(town: Town, browser: Browser, job_id: str) -> None:
    """Without an account: every sentence holds, and one does not once the runner's disk was tampered with."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        page.goto(f"{town.url}/verify/{job_id}")
        expect(page.get_by_role("heading", name="Verified: every sentence holds")).to_be_visible()
        assert page.get_by_text("Holds:", exact=True).count() >= 8
        assert page.get_by_text("Does not hold:").count() == 0
        shot(page, "21-verified")
        (weights,) = (town.up.home / "bundles").glob("*/adapter/adapter_model.safetensors")
        true = weights.read_bytes()
        weights.write_bytes(true[:-1] + bytes([true[-1] ^ 1]))
        page.reload()
        expect(page.get_by_role("heading", name="Not verified: a sentence does not hold")).to_be_visible()
        assert page.get_by_text("Does not hold:").count() == 1
        shot(page, "22-tampered")
        weights.write_bytes(true)
        page.reload()
        expect(page.get_by_role("heading", name="Verified: every sentence holds")).to_be_visible()
    finally:
        context.close()


def the_server_saw_nothing(town: Town, secrets: dict[str, bytes]) -> None:
    """Neither on its disk nor in its processes' environments; and the search finds what is there."""
    assert searching.in_folder(town.up.home, secrets) == []
    assert searching.in_folder(town.outside, secrets) == []
    assert searching.in_processes([town.up.process.pid, *town.up.children().values()], secrets) == []
    planted = town.up.home / "logs" / "planted"
    planted.write_bytes(b"{" + secrets["root key, base64 +1"] + b"}")
    assert "planted: root key, base64 +1" in searching.in_folder(town.up.home / "logs", secrets)
    planted.unlink()


def test_an_upload_goes_on_when_the_server_was_killed_and_when_the_page_was_reloaded(town: Town, page: Page) -> None:
    walking.make_vault(page, town.url)
    path = town.folder / "long.txt"
    path.write_text("".join(f"Entry {number}: wind from the west, nothing seen.\n\n" for number in range(400_000)))
    assert path.stat().st_size > 17 << 20
    sent: list[int] = []

    def meet(route: Route) -> None:
        sent.append(len(route.request.post_data_buffer or b""))
        if len(sent) == 2:
            os.kill(town.up.children()["server"], signal.SIGKILL)
        route.fallback()

    page.route("**/v1/blocks", meet)
    page.get_by_label("Files to upload").set_input_files(path)
    page.get_by_role("heading", name="Sealed and stored (1)").wait_for()  # by itself, once the server is back
    assert sum(sent[2:]) < path.stat().st_size, sent
    shot(page, "30-after-a-kill")

    page.unroute("**/v1/blocks")
    other = town.folder / "longer.txt"
    other.write_text(path.read_text() + "And one more.\n")
    page.route("**/v1/blocks", lambda _: None)  # never answered
    with page.expect_request("**/v1/blocks"):
        page.get_by_label("Files to upload").set_input_files(other)
    page.reload()
    page.unroute("**/v1/blocks")
    walking.unlock(page)
    expect(page.get_by_role("heading", name="Unfinished from before")).to_be_visible()
    shot(page, "31-unfinished")
    page.get_by_label("Files to upload").set_input_files(other)
    page.get_by_role("heading", name="Sealed and stored (1)").wait_for()
    walking.go(page, "Files")
    expect(page.get_by_role("row", name=re.compile("long.*txt"))).to_have_count(2)


def test_a_wallet_signs_in_and_signs_typed_data(town: Town, context: BrowserContext, page: Page) -> None:
    with Chain.http(town.rpc) as chain:
        wallet = Wallet(bytes([7]) * 32, chain.chain_id)
    wallet.announce(context)
    walking.make_vault(page, town.url, wallet=NAME)
    assert len(wallet.texts) == 1
    assert town.url.partition("://")[2] in wallet.texts[0]
    walking.upload(page, text_file("wallet.txt", "The lamp stands on the third step.\n"))
    publish(page, "wallet.txt", "A wallet's notes", openly=True)
    wallet.declines = True
    page.get_by_role("dialog").get_by_role("button", name="Sign, publish and offer").click()
    page.get_by_role("dialog").get_by_role("button", name="Try again").wait_for()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_in_viewport()
    shot(page, "40-declined")
    lose_answer(page, "/v1/consents")
    page.get_by_role("dialog").get_by_role("button", name="Try again").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("The server does not answer.")
    page.reload()  # whoever does not try again finds it done
    walking.unlock(page)
    expect(page.get_by_role("row", name=re.compile("A wallet's notes"))).to_contain_text("1 open offer")
    assert [one["primaryType"] for one in wallet.signed] == ["Register", "Consent"]
    assert {one["message"]["owner"].lower() for one in wallet.signed} == {wallet.address}

    with town.by_hand(town.trainer("tom")) as tom:
        assert tom.consent_for(tom.find("wallet", PURPOSE), PURPOSE, 1, "")  # takes the offer, on chain
    page.reload()
    walking.unlock(page)
    assert len(wallet.texts) == 1  # the session still stands
    walking.go(page, "Consents")
    expect(page.get_by_text("1 trainer took it")).to_be_visible()
    shot(page, "41-offer-taken")
    page.get_by_role("button", name="Revoke everything").click()
    walking.finish(page, "Revoke everything")
    done(page)
    expect(page.get_by_text("None is live")).to_be_visible()
    assert wallet.signed[-1]["primaryType"] == "RevokeAll"


def test_the_command_line_beside_the_page(town: Town, page: Page) -> None:
    words = walking.make_vault(page, town.url)
    first = text_file("first.txt", "From the page.\n")
    walking.upload(page, first)
    kit, out = town.folder / "cleo.words", town.folder / "out.txt"
    kit.write_text(" ".join(words))
    cleo = ("--as", "cleo")
    back = town.up.allod("vault", "restore", "--words-file", str(kit), *cleo)
    assert back["objects"] == 1
    town.up.allod("vault", "get", "first.txt", "-o", str(out), *cleo)
    assert out.read_bytes() == first["buffer"]

    # What the command line adds is in the page; and the page goes on from there without having looked.
    (town.folder / "second.txt").write_text("From the command line.\n")
    town.up.allod("vault", "add", str(town.folder / "second.txt"), *cleo)
    page.get_by_label("Files to upload").set_input_files([first, text_file("third.txt", "From the page again.\n")])
    page.get_by_role("heading", name="Sealed and stored (2)").wait_for()
    expect(page.get_by_role("heading", name="Already in your vault (1)")).to_be_visible()
    walking.go(page, "Files")
    for name in ("first.txt", "second.txt", "third.txt"):
        expect(page.get_by_role("link", name=name)).to_be_visible()

    # Both at once.
    walking.go(page, "Files")
    page.get_by_role("link", name="Upload files").click()
    for number in range(3):
        path = town.folder / f"cli-{number}.txt"
        path.write_text(f"Number {number} from the command line.\n" * 20_000)
        adding = town.up.command("vault", "add", str(path), *cleo)
        for piece in range(4):
            file = text_file(f"page-{number}-{piece}.txt", f"Number {number} {piece} from the page.\n")
            page.get_by_label("Files to upload").set_input_files([file])
            page.get_by_text(f"page-{number}-{piece}.txt").wait_for()
        town.up.finish(adding)
    expected = {"first.txt", "second.txt", "third.txt"} | {f"cli-{number}.txt" for number in range(3)}
    expected |= {f"page-{number}-{piece}.txt" for number in range(3) for piece in range(4)}
    page.get_by_role("heading", name=re.compile(r"Sealed and stored \(1[0-9]\)")).wait_for()
    walking.go(page, "Files")
    for name in sorted(expected):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    listed = town.up.allod("vault", "list", *cleo)["objects"]
    assert sorted(one["name"] for one in listed) == sorted(expected)
