"""The owner's whole story in Chromium, on a real `allod up`: all parts are processes, a trainer's script asks, a job runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from allod.identities import Unlocked
from allod.world import World
from consent.chain.account import Account
from consent.chain.client import Chain
from core.errors import Refused
from core.ids import ObjectId, VaultId
from core.settings import Settings
from examples import trainer as script
from tests.allod.standing import PATIENCE, Standing, until
from tests.job.by_hand import write_tiny_base
from tests.web import searching, walking
from tests.web.serving import ROOT
from tests.web.wallet import NAME, Wallet
from vault.rootkey import RootKey
from vault.vault import Vault

pytestmark = [pytest.mark.needs_browser, pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(900)]

MILLISECONDS = 1000 * PATIENCE
SHOTS = os.environ.get("ALLOD_STORY_SHOTS")
PURPOSE = "academic-research"
NUMBERS = {
    "rank": 4,
    "alpha": 8,
    "targets": ["q_proj", "v_proj"],
    "learning_rate_nano": 5_000_000,
    "warmup_steps": 1,
    "batch_rows": 1,
    "sequence": 128,
    "seed": 7,
}
EPOCHS = 2
LINES = 8


class Town:
    """A standing `allod up` with a tiny base model on its runner, and the people who come to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "home"
        (home / "bases" / "tiny").mkdir(parents=True)
        write_tiny_base(home / "bases" / "tiny")
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text(walking.PASSPHRASE + "\n")
        self.up = Standing(home, self.passphrase)

    @property
    def url(self) -> str:
        return self.up.url

    @property
    def rpc(self) -> str:
        """Where the chain answers."""
        return str(json.loads((self.up.home / "chain" / "endpoint.json").read_text())["url"])

    def trainer(self, name: str) -> Path:
        """Somebody with an account, play money and gas, made on the command line; the file with their words."""
        made = self.up.allod("vault", "init", "--as", name)
        self.up.allod("faucet", "100", "--as", name)
        words = self.folder / f"{name}.words"
        words.write_text(made["words"])
        return words

    def script(self, words: Path, find: str, out: Path) -> subprocess.Popen[str]:
        """The trainer's script, started."""
        asked = ["--server", self.url, "--rpc", self.rpc, "--words", str(words), "--find", find, "--purpose", PURPOSE]
        recipe = ["--base", "tiny", "--epochs", str(EPOCHS), "--recipe", json.dumps(NUMBERS), "--fee", "500"]
        command = [sys.executable, "-W", "ignore", str(ROOT / "examples" / "trainer.py"), *asked, *recipe]
        command += ["--message", "May we?", "--out", str(out)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})

    def by_hand(self, words: Path) -> script.Trainer:
        """The trainer's client in this process, signed in."""
        account = Account(RootKey.from_words(words.read_text()).evm_key())
        made = script.Trainer(self.url, Chain.http(self.rpc), account, lambda _: None)
        made.sign_in()
        return made


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


def told(process: subprocess.Popen[str], step: str) -> dict[str, Any]:
    """The script's next line of this step."""
    assert process.stdout is not None
    for line in process.stdout:
        found = json.loads(line)
        if found["step"] == step:
            return dict(found)
        assert found["step"] != "failed", found
    raise AssertionError(f"the script never came to {step!r}")


class Once:
    """Aborts the first request of this kind, before or after the server got it."""

    def __init__(self, page: Page, method: str, path: str, *, lose_answer: bool = False) -> None:
        self.happened = False
        self._page, self._method, self._lose = page, method, lose_answer
        self._glob = f"**{path}"
        page.route(self._glob, self._meet)

    def _meet(self, route: Route) -> None:
        if self.happened or route.request.method != self._method:
            route.fallback()
            return
        self.happened = True
        if self._lose:
            route.fetch()
        route.abort("connectionreset")


def secrets_of(town: Town, words: list[str]) -> dict[str, bytes]:
    """What of this owner nobody but the page may have: root key, what hangs on it, every file's key."""
    root = RootKey.from_words(" ".join(words))
    found = searching.of_words(words)
    found |= searching.of_text("passphrase", walking.PASSPHRASE)
    found |= searching.of_bytes("account's key", root.evm_key())
    found |= searching.of_bytes("signing key", root.signing_key().private_bytes_raw())
    raw = root._key
    found |= searching.of_bytes("root key", raw)
    with World(Settings(home=town.up.home, rpc_url=town.rpc)) as world:
        vault = Vault.restore(" ".join(words), world.blocks)
        for entry in vault.entries():
            found |= searching.of_bytes(f"key of {entry.name}", vault.dek(entry.object_id))
            found |= searching.of_text("file name", entry.name)
    return found


def test_the_owners_whole_story(town: Town, page: Page, browser: Browser) -> None:
    tess = town.trainer("tess")
    # First run, with a reload before the words are confirmed: nothing was kept.
    page.goto(town.url)
    shot(page, "01-start")
    page.get_by_role("button", name="Make a vault").click()
    page.get_by_role("button", name="Continue").click()
    first = walking.name_words(page)
    shot(page, "02-kit")
    page.reload()
    words = walking.make_vault(page, town.url)
    assert len(words) == 24
    assert words != first

    # Upload.
    ada = canary_file("ada")
    walking.upload(page, ada, canary_file("bee"))
    shot(page, "03-uploaded")
    walking.go(page, "Files")
    shot(page, "04-files")
    page.get_by_role("link", name=ada["name"]).click()
    expect(page.get_by_text("CANARY-ada-0", exact=False).first).to_be_visible()
    shot(page, "05-preview")
    page.reload()
    walking.unlock(page)
    expect(page.get_by_text(f"CANARY-ada-{LINES - 1}", exact=False)).to_be_visible()

    # Publish: reload in the sheet, a cut connection, a lost answer.
    publish(page, ada["name"], "Ada's stones")
    shot(page, "06-sheet")
    page.reload()
    walking.unlock(page)
    publish(page, ada["name"], "Ada's stones")
    sheet = page.get_by_role("dialog")
    Once(page, "POST", "/v1/datasets", lose_answer=True)
    sheet.get_by_role("button", name="Sign and publish").click()
    sheet.get_by_role("button", name="Try again").wait_for()
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
        quoted = told(process, "quoted")
        job_id = told(process, "started")["job_id"]

        # In escrow while it runs.
        walking.go(page, "Earnings")
        expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_contain_text(re.compile("in escrow|claimable"))
        shot(page, "13-in-escrow")
        finished = told(process, "done")
        assert finished["outcome"] == "published", finished
        told(process, "downloaded")
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()

    # Claimable, then paid.
    reload_until(page, lambda: expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_contain_text("claimable", timeout=2000))
    shot(page, "14-claimable")
    page.get_by_role("button", name="Claim it").click()
    page.reload()
    walking.unlock(page)
    page.get_by_role("button", name="Claim it").click()
    walking.finish(page, "Claim")
    shot(page, "15-claimed")
    done(page)
    expect(page.get_by_role("row", name=re.compile("Ada's stones"))).to_contain_text("paid")
    shot(page, "16-paid")
    assert quoted["total"]
    assert job_id


def reload_until(page: Page, look: Callable[[], None]) -> None:
    """Look, and load the page anew until it is so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            look()
            return
        except AssertionError:
            assert time.monotonic() < deadline, "it never came true"
        page.reload()
        walking.unlock(page)
