"""What every test shares: no test may be skipped where ALLOD_NO_SKIP is set (it is, in CI)."""

from __future__ import annotations

import os

import pytest

os.environ["ALLOD_CONFIG"] = os.devnull  # the settings of whoever runs the tests are not theirs


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("ALLOD_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and here nothing may be: {report.longrepr}"
