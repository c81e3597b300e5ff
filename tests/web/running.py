"""Runs suites of the vector page and says which of their cases failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Page


def outcomes(page: Page, suite: str, vectors: dict[str, Any]) -> list[dict[str, Any]]:
    """What each case of a suite came to."""
    found: list[dict[str, Any]] = page.evaluate("([suite, vectors]) => runVectors(suite, vectors)", [suite, vectors])
    return found


def check(page: Page, suite: str, vectors: dict[str, Any], at_least: int = 1) -> None:
    """All cases of a suite hold, and there are at least so many."""
    found = outcomes(page, suite, vectors)
    assert "\n".join(f"{one['name']}: {one['error']}" for one in found if one["error"]) == ""
    assert len(found) >= at_least


def check_cases(page: Page, suite: str, cases: Sequence[dict[str, Any]]) -> None:
    """Each of these cases was run and holds."""
    found = outcomes(page, suite, {"cases": list(cases)})
    assert [outcome["name"] for outcome in found] == [case["name"] for case in cases]
    assert "\n".join(f"{one['name']}: {one['error']}" for one in found if one["error"]) == ""
