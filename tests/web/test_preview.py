"""The preview of a file that is mostly broken: what is shown of it stays small, and the count is whole."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.web.stage import Device, Stage

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)
CHAT = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
BROKEN = 20_000


@pytest.mark.parametrize(("data", "more"), [(CHAT + b"{broken\n" * BROKEN, "19,900"), (CHAT + b"{broken\n" * 3, None)])
def test_of_many_broken_places_few_are_listed_and_all_are_counted(
    context: BrowserContext, static_url: str, data: bytes, more: str | None
) -> None:
    device = Device("ada", {"chats.jsonl": data})
    stage = Stage(context, static_url, device)
    stage.unlock()
    page = stage.go(f"/files/0x{device.objects['chats.jsonl'].hex()}")
    page.get_by_text("cannot be read, and no job will").click()
    places = page.locator("details.note li")
    if more is None:
        expect(page.get_by_text("3 places cannot be read")).to_be_visible()
        expect(places).to_have_count(3)
    else:
        expect(page.get_by_text("20,000 places cannot be read")).to_be_visible()
        expect(places).to_have_count(101)
        expect(places.last).to_have_text(f"and {more} more")
    assert stage.complaints == []
