"""Every screen in every state, in Chromium: no violation of WCAG 2.2 AA, no scrolling sideways at 320 px, no complaint.

`screens.csv` is the table of what there is; each of its cells is visited. With ALLOD_SCREENS=1 the
pictures of docs/screens/ are written anew: on a desk, on a telephone, and in the dark.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from core.encoding import to_hex
from tests.web import answers
from tests.web.serving import ROOT
from tests.web.stage import PASSPHRASE, Device, Stage

pytestmark = [pytest.mark.needs_browser, pytest.mark.timeout(600)]

TABLE = Path(__file__).with_name("screens.csv")
SHOTS = ROOT / "docs" / "screens"
STATES = ("empty", "loading", "error", "offline", "full")
with TABLE.open(encoding="utf-8") as file:
    ROWS = {row["screen"]: row for row in csv.DictReader(file)}
CELLS = [(screen, state) for screen in ROWS for state in STATES]
DESK, PHONE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}, {"width": 320, "height": 640}
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
NOTES = (ROOT / "examples" / "ada" / "reminders.txt").read_bytes()
LOGBOOK = (ROOT / "examples" / "ada" / "logbook.md").read_bytes()
TURNS = [{"role": "user", "content": "What grows here?"}, {"role": "assistant", "content": "Rye, and oats."}]
CHATS = json.dumps({"messages": TURNS}).encode() + b'\n{"messages": 1}\n'


class Stages:
    """A stage for each kind of device; each is set up once, because unlocking takes a moment."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url
        self._kept: dict[str, Stage] = {}
        files = {
            "reminders.txt": NOTES,
            "logbook.md": LOGBOOK,
            "chats.jsonl": CHATS,
            "photo.png": bytes(3000),
        }
        self.ada = Device("ada", files, publish=1)
        self.ada.publish("Reminders of two years", "reminders.txt")
        self.new = Device("new", {})

    def fresh(self, device: Device | None = None) -> Stage:
        """A browser that nobody used before."""
        context = self._browser.new_context(viewport=DESK, reduced_motion="reduce")
        return Stage(context, self._url, device)

    def of(self, device: Device) -> Stage:
        """A browser in which this device's vault is open."""
        name = device.address
        if name not in self._kept:
            self._kept[name] = self.fresh(device)
            self._kept[name].unlock()
        return self._kept[name]

    def close(self) -> None:
        for stage in self._kept.values():
            stage.context.close()


@pytest.fixture(scope="module")
def stages(browser: Browser, static_url: str) -> Iterator[Stages]:
    """Made once for this file."""
    made = Stages(browser, static_url)
    yield made
    made.close()


def shown(page: Page, phase: str) -> None:
    """Wait until the screen is in this phase."""
    page.locator(f'main [data-phase="{phase}"]').first.wait_for()


PHASES = {"full": "ready"}


def visit_start(stages: Stages, state: str) -> Stage:
    stage = stages.fresh()
    stage.become("full" if state == "empty" else state)
    page = stage.open("/start")
    shown(page, "ready" if state in ("empty", "full") else state)
    if state == "full":
        page.get_by_role("button", name="Make a vault").click()
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name=re.compile("Show the words")).click()
        page.get_by_role("button", name="I have them").wait_for()
    return stage


def visit_unlock(stages: Stages, state: str) -> Stage:
    stage = stages.fresh(stages.ada)
    stage.keep_device()
    page = stage.open("/files")
    field = page.get_by_label("Passphrase")
    field.wait_for()
    if state == "full":
        field.fill(PASSPHRASE)
    elif state != "empty":
        stage.become(state)
        if state != "error":
            page.reload()  # so that the page does not know the server's document yet
        field.fill("a wrong one")
        page.get_by_role("button", name="Unlock").click()
        if state == "loading":
            page.get_by_role("button", name="Opening…").wait_for()
        else:
            page.get_by_role("alert").wait_for()
    return stage


def visit_verify(stages: Stages, state: str) -> Stage:
    stage = stages.fresh()
    stage.become("full" if state == "empty" else state)
    page = stage.open("/verify" if state == "empty" else f"/verify/{answers.bytes32('job 1')}")
    shown(page, PHASES.get(state, state))
    if state == "full":
        page.get_by_text("Evidence, and how to check it").first.click()
    return stage


def visit_upload(stages: Stages, state: str) -> Stage:
    stage = _visit(stages, "upload", "empty" if state == "empty" else state, ready="ready")
    if state == "full":
        files = [
            {"name": "reminders.txt", "mimeType": "text/plain", "buffer": NOTES},
            {"name": "nothing.txt", "mimeType": "text/plain", "buffer": b""},
            {"name": "letters.txt", "mimeType": "text/plain", "buffer": b"Dear Ada,\n\nthe mill runs again.\n"},
        ]
        stage.page.get_by_label("Files to upload").set_input_files(files)  # type: ignore[arg-type]
        stage.page.get_by_role("heading", name=re.compile("Left out: empty")).wait_for()
        stage.page.get_by_role("heading", name=re.compile("Failed|Sealed and stored")).wait_for()
    return stage


def visit_offer(stages: Stages, state: str) -> Stage:
    stage = _visit(stages, "offer", state)
    if state == "full":
        page = stage.page
        page.get_by_role("checkbox", name=re.compile("logbook")).check()
        page.get_by_label("Title").fill("A keeper's logbook")
        page.get_by_label("Description (optional)").fill("Daily entries of a lighthouse, plain sentences.")
        page.get_by_label("Mock sample (optional)").fill("14 May. Wind from the west. Oil for nine days.")
        page.get_by_role("article").get_by_text("A keeper's logbook").wait_for()
    return stage


def visit_preview(stages: Stages, state: str) -> Stage:
    return _visit(stages, "preview", state)


def _visit(stages: Stages, screen: str, state: str, ready: str | None = None) -> Stage:
    is_new = state == "empty" and screen != "preview"
    stage = stages.of(stages.new if is_new else stages.ada)
    path = ROWS[screen]["path"]
    name = "photo.png" if state == "empty" else "reminders.txt"
    if ":object" in path:
        path = path.replace(":object", to_hex(stages.ada.objects[name]))
    stage.become("full")
    stage.go("/verify")
    stage.become("full" if screen == "preview" and state == "empty" else state)
    stage.go(path)
    phase = PHASES.get(state, state)
    shown(stage.page, ready if ready is not None and phase in ("empty", "ready") else phase)
    return stage


def visit_settings(stages: Stages, state: str) -> Stage:
    return _visit(stages, "settings", state, ready="ready")


VISITS: dict[str, Callable[[Stages, str], Stage]] = {
    "start": visit_start,
    "unlock": visit_unlock,
    "verify": visit_verify,
    "upload": visit_upload,
    "offer": visit_offer,
    "preview": visit_preview,
    "settings": visit_settings,
}


def violations(page: Page) -> list[str]:
    """What axe finds, in words that say where."""
    found = Axe().run(page, options=WCAG).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def photograph(page: Page, screen: str, state: str) -> None:
    """The pictures of docs/screens: each state on a desk, the full one also in the dark and on a telephone."""
    SHOTS.mkdir(exist_ok=True)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=SHOTS / f"{screen}-{state}.png")
    if state == "full":
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=SHOTS / f"{screen}-dark.png")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        page.screenshot(path=SHOTS / f"{screen}-phone.png")


def test_nothing_moves_for_who_wants_no_motion(stages: Stages) -> None:
    page = _visit(stages, "consents", "loading").page
    moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) > 0  # the bars of the waiting state
    page.emulate_media(reduced_motion="reduce")
    stages.of(stages.ada).become("full")


def test_the_table_has_every_screen_and_no_empty_cell() -> None:
    routes = (ROOT / "web" / "src" / "app" / "routes.ts").read_text("utf-8")
    files = {name.lower() for name in re.findall(r'import\("\./screens/(\w+)\.svelte"\)', routes)}
    assert files | {"unlock"} == set(ROWS)
    for screen, row in ROWS.items():
        assert set(row) == {"screen", "path", *STATES}, screen
        assert all(text and text.strip() for text in row.values()), f"{screen} lacks a cell"


@pytest.mark.parametrize(("screen", "state"), CELLS, ids=["-".join(cell) for cell in CELLS])
def test_a_screen_in_a_state(stages: Stages, screen: str, state: str) -> None:
    visit = VISITS.get(screen)
    stage = visit(stages, state) if visit is not None else _visit(stages, screen, state)
    page = stage.page
    try:
        assert page.locator("h1").count() == 1
        assert page.title().endswith("· Allod")
        assert violations(page) == []
        if os.environ.get("ALLOD_SCREENS"):
            photograph(page, screen, state)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        assert violations(page) == []
        assert stage.complaints == []
    finally:
        stage.complaints.clear()
        if screen in ("start", "unlock", "verify"):
            stage.context.close()
        else:
            page.emulate_media(color_scheme="light")
            page.set_viewport_size(DESK)  # type: ignore[arg-type]
            stage.become("full")
