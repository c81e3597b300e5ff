"""What every test shares: no test may be skipped where ALLOD_NO_SKIP is set (it is, in CI)."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.web.serving import STATIC, VECTORS

os.environ["ALLOD_CONFIG"] = os.devnull  # the settings of whoever runs the tests are not theirs


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("ALLOD_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and here nothing may be: {report.longrepr}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Browser tests are skipped where Chromium or the built page is missing, which fails in CI."""
    if item.get_closest_marker("needs_browser"):
        if shutil.which("chromium") is None:
            pytest.skip("Chromium is not installed (Debian: apt-get install chromium).")
        if not (STATIC / "index.html").is_file() or not (VECTORS / "vectors.html").is_file():  # one build makes both
            pytest.skip("The page is not built (`make web`).")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


_TOGETHER = ("tests/walk/", "tests/web/test_whole_story.py")


class ByTest(LoadScopeScheduling):
    """Tests go to whichever process is free, but those that share one walk or one `allod up` together.

    (xdist's own groups do nothing under pytest 9.2, which no longer lets a plugin rename a test.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((place for place in _TOGETHER if nodeid.startswith(place)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByTest:
    """Who runs what, with -n."""
    return ByTest(config, log)
