"""What a job paid is told file by file: the parts follow the records and add up to the whole."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.web.stage import Device, Stage

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)


def test_an_amount_is_split_among_the_files_by_their_records(context: BrowserContext, static_url: str) -> None:
    notes = {"two.txt": b"One note here.\nTwo notes here.\nThree notes here.\nFour.\n", "one.txt": b"Alone.\n"}
    stage = Stage(context, static_url, Device("earner", notes, publish=2))
    stage.unlock()
    page = stage.go("/earnings")
    row = page.get_by_role("row").filter(has_text="in escrow")
    expect(row).to_contain_text("two.txt")
    told = dict(re.findall(r"(\w+\.txt): ([0-9.]+)", row.inner_text()))
    assert told.keys() == notes.keys()
    assert sum(map(Decimal, told.values())) == Decimal("2.03")
    assert Decimal(told["two.txt"]) == 4 * Decimal(told["one.txt"])
    assert stage.complaints == []
