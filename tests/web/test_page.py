"""The built page: it starts under our CSP, and its first route is small."""

from __future__ import annotations

import gzip
import re

import pytest
from playwright.sync_api import BrowserContext

from tests.web.serving import STATIC

pytestmark = pytest.mark.needs_browser

FIRST_ROUTE = 70 << 10  # bytes of script, gzip


def test_the_page_starts_without_an_error_or_a_refusal_of_the_policy(context: BrowserContext, static_url: str) -> None:
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(f"{static_url}/index.html")
    page.wait_for_selector("h1")
    assert [line for line in complaints if "Content Security Policy" in line] == []


def test_the_page_has_an_icon_so_that_no_browser_asks_for_another_one() -> None:
    icon = re.search(r'rel="icon"[^>]*href="/(assets/[^"]+)"', (STATIC / "index.html").read_text("utf-8"))
    assert icon is not None
    assert (STATIC / icon[1]).is_file()


def test_the_first_route_stays_within_its_budget() -> None:
    """What the page loads before anything is clicked: the entry and all that it imports statically."""
    html = (STATIC / "index.html").read_text("utf-8")
    wanted = set(re.findall(r'(?:src|href)="/?(assets/[^"]+\.js)"', html))
    assert wanted
    seen: set[str] = set()
    while wanted - seen:
        name = (wanted - seen).pop()
        seen.add(name)
        text = (STATIC / name).read_text("utf-8")
        wanted |= {f"assets/{other}" for other in re.findall(r'(?:from|import)\s*"\./([^"]+\.js)"', text)}
    assert sum(len(gzip.compress((STATIC / name).read_bytes())) for name in seen) <= FIRST_ROUTE
