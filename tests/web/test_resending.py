"""A busy or silent server during an upload: the same part again, when the server says so, and nobody has to press."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Route, expect

from tests.web.stage import Device, Stage

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)


@pytest.fixture
def stage(context: BrowserContext, static_url: str) -> Iterator[Stage]:
    """The upload screen of an open vault."""
    made = Stage(context, static_url, Device("ada", {}))
    made.unlock()
    made.go("/upload")
    yield made
    assert made.complaints == []


def refusing(
    stage: Stage, path: str, *faults: Callable[[Route], None], method: str = "POST"
) -> list[tuple[float, bytes | None]]:
    """The first requests to `path` meet these faults; gives when each came, and its body."""
    came: list[tuple[float, bytes | None]] = []
    left = list(faults)

    def meet(route: Route) -> None:
        if route.request.method != method:
            route.fallback()
            return
        came.append((time.monotonic(), route.request.post_data_buffer))
        if left:
            left.pop(0)(route)
        else:
            route.fallback()

    stage.page.route(f"**{path}", meet)
    return came


def silent(route: Route) -> None:
    route.abort("connectionreset")


def busy(status: int, after: str | None = None) -> Callable[[Route], None]:
    headers = {} if after is None else {"retry-after": after}
    return lambda route: route.fulfill(status=status, headers=headers, body="busy")


def give(stage: Stage) -> None:
    file: Any = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"One record.\n"}
    stage.page.get_by_label("Files to upload").set_input_files([file])


def test_a_part_is_sent_again_when_the_server_says_so(stage: Stage) -> None:
    asked = refusing(stage, "/v1/blocks/missing", busy(503))
    sent = refusing(stage, "/v1/blocks", busy(429, "2"), silent)
    give(stage)
    expect(stage.page.get_by_role("heading", name=re.compile("Sealed and stored"))).to_be_visible()
    (first, body), (second, _), (third, _) = sent[:3]
    assert body is not None
    assert {again for _, again in sent[:3]} == {body}
    assert second - first >= 2
    assert third > second
    assert len(asked) >= 2


def test_a_commit_is_sent_again_when_the_server_says_so(stage: Stage) -> None:
    commits = refusing(stage, "/v1/vaults/mine", busy(503, "2"), silent, method="PUT")
    sent = refusing(stage, "/v1/blocks")
    give(stage)
    expect(stage.page.get_by_role("heading", name=re.compile("Sealed and stored"))).to_be_visible()
    (first, body), (second, _), (third, _) = commits
    assert body is not None
    assert {again for _, again in commits} == {body}
    assert second - first >= 2
    assert third > second
    assert len({part for _, part in sent}) == len(sent)  # and no part with it


def test_one_that_wants_an_hour_is_a_failure_that_can_be_tried_again(stage: Stage) -> None:
    sent = refusing(stage, "/v1/blocks", busy(429, "3600"))
    give(stage)
    expect(stage.page.get_by_role("heading", name=re.compile("^Failed"))).to_be_visible()
    assert len(sent) == 1
    stage.page.get_by_role("button", name="Retry what failed").click()
    expect(stage.page.get_by_role("heading", name=re.compile("Sealed and stored"))).to_be_visible()


def test_a_pause_ends_the_waiting(stage: Stage) -> None:
    refusing(stage, "/v1/blocks", busy(429, "60"))
    with stage.page.expect_response("**/v1/blocks"):
        give(stage)
    stage.page.get_by_role("button", name="Pause notes.txt").click()
    expect(stage.page.get_by_role("heading", name=re.compile("^Paused"))).to_be_visible()
    stage.page.get_by_role("button", name="Resume all").click()
    expect(stage.page.get_by_role("heading", name=re.compile("Sealed and stored"))).to_be_visible(timeout=50_000)
