"""Walking through the page as a person does, and a trainer who asks over HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Locator, Page

from allod.server.serving import serving
from consent.chain.account import Account
from core.settings import Settings
from tests.server.people import TEST_BOUNDS, sign_in_message

PASSPHRASE = "four words or more please"
DAY = 86400


@contextmanager
def real_server(folder: Path) -> Iterator[str]:
    """The URL of a server over a new home in this process: its chain, three keepers, the relay, the page."""
    with serving(Settings(home=folder / "home"), port=0, bounds=TEST_BOUNDS) as found:
        yield found.url


def show_words(page: Page) -> list[str]:
    """Show the kit's words and read them."""
    page.get_by_role("button", name=re.compile("Show the words")).click()
    return read_words(page)


def read_words(page: Page) -> list[str]:
    """The kit's words, once they are shown."""
    found = page.get_by_role("list", name="Your 24 words").get_by_role("listitem").all_inner_texts()
    return [text.split()[-1] for text in found]


def confirm_words(page: Page, words: list[str]) -> None:
    """Type back the two words that are asked for."""
    for place in (0, 1):
        field = page.locator(f"#word-{place}")
        field.wait_for()
        number = int(page.locator(f"label[for=word-{place}]").inner_text().split()[-1])
        field.fill(words[number - 1])
    page.get_by_role("button", name="Continue").click()


def make_vault(page: Page, url: str, wallet: str | None = None) -> list[str]:
    """First run to its end: the words."""
    page.goto(url)
    page.get_by_role("button", name="Make a vault").click()
    if wallet is not None:
        page.get_by_role("radio", name=re.compile(wallet)).check()
    page.get_by_role("button", name="Continue").click()
    words = show_words(page)
    page.get_by_role("button", name="I have them").click()
    confirm_words(page, words)
    choose_passphrase(page, "Make my vault")
    page.get_by_role("heading", name="Upload", exact=True).wait_for()
    return words


def choose_passphrase(page: Page, button: str) -> None:
    """Type the passphrase twice."""
    page.get_by_label("Passphrase", exact=True).fill(PASSPHRASE)
    page.get_by_label("Once more").fill(PASSPHRASE)
    page.get_by_role("button", name=button).click()


def unlock(page: Page) -> None:
    """Open the vault of this device again."""
    page.get_by_label("Passphrase").fill(PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    page.get_by_role("button", name="Lock", exact=True).wait_for()


def upload(page: Page, *files: Path | dict[str, Any]) -> None:
    """Choose files, and wait until each of them is stored."""
    page.get_by_label("Files to upload").set_input_files(list(files))  # type: ignore[arg-type]
    page.get_by_role("heading", name=f"Sealed and stored ({len(files)})").wait_for()


def go(page: Page, place: str) -> None:
    """Another screen, by the navigation."""
    page.get_by_role("navigation", name="Screens").get_by_role("link", name=place, exact=True).click()
    page.get_by_role("heading", name=place, exact=True, level=1).wait_for()


def finish(page: Page, button: str) -> Locator:
    """Press the sheet's button and wait until the chain has it for good; the sheet, still open."""
    sheet = page.get_by_role("dialog")
    sheet.get_by_role("button", name=button, exact=True).click()
    sheet.get_by_role("button", name="Done").wait_for()
    return sheet


class Trainer:
    """A trainer with a key, who speaks HTTP."""

    def __init__(self, url: str, name: str = "tom") -> None:
        self.account = Account(name.encode().rjust(32, b"\x02"))
        self.http = httpx.Client(base_url=url, headers={"Origin": url}, timeout=60)
        nonce = self.http.post("/v1/nonces").json()["nonce"]
        message = sign_in_message(self.account, nonce, domain=urlsplit(url).netloc, uri=url)
        session = self.http.post("/v1/sessions", json=message)
        assert session.status_code == 201, session.text
        self.http.headers["X-CSRF-Token"] = session.json()["csrf_token"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, asset: str, **changes: Any) -> dict[str, Any]:
        """Ask the owner of a dataset for a consent."""
        wish = {
            "asset": asset,
            "purpose": "academic-research",
            "max_epochs": 3,
            "max_uses": 2,
            "expiry": int(time.time()) + 30 * DAY,
            "flat": "2000000000",
            "per_record_epoch": "400000",
            "message": "May we?",
            "days_open": 7,
            **changes,
        }
        answer = self.http.post("/v1/requests", json=wish, headers={"Idempotency-Key": f"ask-{asset}"})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def find(self, title: str) -> str:
        """The one dataset of this title in the catalogue."""
        (found,) = self.http.get("/v1/datasets", params={"q": title}).json()["data"]
        return str(found["asset"])

    def consents(self) -> list[dict[str, Any]]:
        """What it holds."""
        return list(self.http.get("/v1/consents", params={"role": "trainer"}).json()["data"])
