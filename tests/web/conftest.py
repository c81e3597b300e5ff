"""The browser of these tests: Debian's own Chromium, one for each file of tests, a fresh context for each test.

Not one for the whole run: while playwright's synchronous API is open, nobody else in the process may run an event loop.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.web.desk import Desk, at_desk
from tests.web.serving import STATIC, VECTORS, served

TIMEOUT = 60_000  # ms; generous, because tests share few cores


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a head, which reaches nothing but loopback."""
    # Not by playwright's routes, which would lead every request through this process.
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    arguments = [alone, "--disable-dev-shm-usage", "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Empty storage."""
    made = browser.new_context()
    made.set_default_timeout(TIMEOUT)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that never meets an error of its own."""
    made, errors = context.new_page(), list[str]()
    made.on("pageerror", lambda error: errors.append(str(error)))
    yield made
    assert errors == []


@pytest.fixture(scope="session")
def vectors_url() -> Iterator[str]:
    """Where the vector page is."""
    with served(VECTORS) as url:
        yield f"{url}/vectors.html"


@pytest.fixture(scope="session")
def static_url() -> Iterator[str]:
    """Where the shipped page is, without a server behind it."""
    with served(STATIC) as url:
        yield url


@pytest.fixture
def vector_page(context: BrowserContext, vectors_url: str) -> Iterator[Page]:
    """The vector page, loaded; anything it throws outside of a call fails the test."""
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(vectors_url)
    page.wait_for_function("window.runVectors !== undefined")
    yield page
    assert errors == []


@pytest.fixture
def desk(context: BrowserContext, static_url: str) -> Iterator[Desk]:
    """An owner of a dataset of medical notes and one of recipes, who signs."""
    with at_desk(context, static_url) as made:
        yield made
