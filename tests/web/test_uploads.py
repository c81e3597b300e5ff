"""Uploads of the page: sealed in a Worker, sent where missing; cut anywhere they go on, and no nonce is used twice."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.web.home import Home, at_home, content
from tests.web.test_browser_vault import ROOT, do, in_python, place, visit
from vault.cid import RAW, Cid
from vault.unixfs import leaf_cids

pytestmark = pytest.mark.needs_browser

MIB = 1 << 20
PART = 4 * MIB + 4096  # four segments; a test with the real 16 MiB is enough


@pytest.fixture
def home() -> Iterator[Home]:
    with at_home() as found:
        yield found


@pytest.fixture
def page(context: BrowserContext, home: Home) -> Page:
    return begin(context, home)


def begin(context: BrowserContext, home: Home) -> Page:
    """A tab with a sealer."""
    page = visit(context, home)
    start(page, home)
    return page


def start(page: Page, home: Home, part: int = PART) -> None:
    do(page, "startSealer", {**place(home), "part": part})
    do(page, "chooser")


def reload(page: Page, home: Home) -> None:
    """What a reload leaves: nothing but what the browser keeps."""
    page.reload()
    page.wait_for_function("window.lab !== undefined")
    start(page, home)


def choose(page: Page, *paths: Path) -> list[int]:
    page.set_input_files("input[type=file]", [str(path) for path in paths])
    ids: list[int] = do(page, "uploadChosen")
    return ids


def uploads(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = do(page, "uploads")
    return found


def settle(page: Page) -> list[dict[str, Any]]:
    """All uploads, once there is nothing left to do."""
    do(page, "settled")
    return uploads(page)


class Cut:
    """Faults of the home: after `sends` archives it answers 503 to all that follow, until it is mended."""

    def __init__(self, home: Home, sends: int) -> None:
        self.left = sends
        home.fault = self

    def __call__(self, method: str, path: str, _body: bytes) -> int | None:
        if method == "POST" and path == "blocks":
            if self.left == 0:
                return 503
            self.left -= 1
        return None


class Held:
    """A home that stops in the middle: the send after `sends` waits until it is let go."""

    def __init__(self, home: Home, sends: int = 0) -> None:
        self.left, self.gate, self.waiting = sends, threading.Event(), threading.Event()
        home.fault = self

    def __call__(self, method: str, path: str, _body: bytes) -> int | None:
        if method == "POST" and path == "blocks":
            self.left -= 1
            if self.left < 0:
                self.waiting.set()
                assert self.gate.wait(60)
        return None


@pytest.fixture
def held(home: Home) -> Iterator[Callable[[int], Held]]:
    """Makes the home hold; whatever happens it is let go."""
    made: list[Held] = []

    def hold(sends: int = 0) -> Held:
        made.append(Held(home, sends))
        return made[-1]

    yield hold
    for item in made:
        item.gate.set()


def file_of(tmp_path: Path, size: int, seed: int = 1, name: str = "large.bin") -> Path:
    path = tmp_path / name
    path.write_bytes(content(size, seed))
    return path


def leaves_sent(home: Home) -> list[Cid]:
    return [cid for part in home.sends for cid in part if cid.codec == RAW]


def holds(home: Home, path: Path) -> None:
    """The vault has exactly one object, and it is this file."""
    (entry,) = in_python(home).entries()
    assert (entry.name, entry.size) == (path.name, path.stat().st_size)
    assert b"".join(in_python(home).open(entry.object_id)) == path.read_bytes()


def test_a_file_goes_through_all_phases_in_parts(page: Page, home: Home, tmp_path: Path) -> None:
    path = file_of(tmp_path, 37 * MIB + 11)
    start(page, home, 16 * MIB)
    choose(page, path)
    (upload,) = settle(page)
    assert (upload["phase"], upload["error"]) == ("done", None)
    assert upload["sealed"] == upload["sent"] == upload["size"] == path.stat().st_size
    seen = upload["phases"]
    assert seen[:3] == ["waiting", "reading", "sealing"]
    assert seen[-2:] == ["committing", "done"]
    assert {"asking", "sending"} <= set(seen)
    assert home.largest <= 16 * MIB
    assert len([part for part in home.sends if any(cid.codec == RAW for cid in part)]) == 3
    holds(home, path)
    assert do(page, "interrupted") == []


def test_many_files_are_listed_by_one_change(page: Page, home: Home) -> None:
    for number in range(40):
        do(page, "upload", {"name": f"{number}.txt", "text": f"text {number}"})
    done = settle(page)
    assert {upload["phase"] for upload in done} == {"done"}
    vault = in_python(home)
    assert [entry.name for entry in vault.entries()] == [f"{number}.txt" for number in range(40)]
    assert [entry.records for entry in vault.entries()] == [1] * 40
    assert vault.sequence <= 2


@pytest.mark.parametrize("sends", [0, 1, 2])
def test_a_cut_upload_goes_on_after_a_reload(page: Page, home: Home, tmp_path: Path, sends: int) -> None:
    path = file_of(tmp_path, 9 * MIB + 11)
    Cut(home, sends)
    choose(page, path)
    (upload,) = settle(page)
    assert upload["phase"] == "failed"
    assert upload["error"].startswith("unavailable")
    assert do(page, "interrupted") == [{"name": path.name, "size": path.stat().st_size}]
    reload(page, home)
    home.fault = lambda *_: None
    before = set(leaves_sent(home))
    choose(page, path)
    (upload,) = settle(page)
    assert (upload["phase"], upload["resumed"]) == ("done", True)
    holds(home, path)
    sent = leaves_sent(home)
    assert len(sent) == len(set(sent)) == 10  # nothing twice, and the same object under the same key
    assert before <= set(sent)
    assert do(page, "interrupted") == []


def test_a_page_that_vanishes_in_the_middle_of_a_part_goes_on(
    page: Page, home: Home, tmp_path: Path, held: Callable[[int], Held]
) -> None:
    path = file_of(tmp_path, 9 * MIB)
    gate = held(1)
    choose(page, path)
    assert gate.waiting.wait(60)
    reload(page, home)  # no farewell: the request dies with the page
    gate.gate.set()
    choose(page, path)
    (upload,) = settle(page)
    assert (upload["phase"], upload["resumed"]) == ("done", True)
    holds(home, path)
    assert len(set(leaves_sent(home))) == 10


@pytest.mark.parametrize("kind", ["same length", "longer", "shorter"])
def test_a_file_that_changed_meanwhile_starts_over_under_a_new_key(
    page: Page, home: Home, tmp_path: Path, kind: str
) -> None:
    path = file_of(tmp_path, 9 * MIB + 11)
    stat = path.stat()
    Cut(home, 2)
    choose(page, path)
    assert settle(page)[0]["phase"] == "failed"
    before = set(leaves_sent(home))
    first = home.blocks.get(home.sends[0][0])
    data = bytearray(path.read_bytes())
    if kind == "same length":
        data[5 * MIB] ^= 1  # in a segment that has left
    elif kind == "longer":
        data += b"more"
    else:
        del data[-5:]
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # time says nothing
    home.fault = lambda *_: None
    reload(page, home)
    choose(page, path)
    (upload,) = settle(page)
    assert (upload["phase"], upload["resumed"]) == ("done", False)
    holds(home, path)
    after = [cid for cid in leaves_sent(home) if cid not in before]
    assert len(after) == 10  # every segment anew: salt and prefix too
    assert home.blocks.get(after[0])[:40] != first[:40]
    if kind == "same length":
        assert do(page, "interrupted") == []


def test_no_ciphertext_leaves_whose_digest_is_not_in_the_journal(page: Page, home: Home, tmp_path: Path) -> None:
    """Whatever was sent is compared when the file comes again: here the very last segment of the first part differs."""
    path = file_of(tmp_path, 9 * MIB)
    stat = path.stat()
    Cut(home, 1)
    choose(page, path)
    assert settle(page)[0]["phase"] == "failed"
    (first,) = home.sends
    number = len(first) - 1
    data = bytearray(path.read_bytes())
    data[number * MIB] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    home.fault = lambda *_: None
    reload(page, home)
    choose(page, path)
    assert settle(page)[0]["resumed"] is False
    holds(home, path)
    salts = {home.blocks.get(part[0])[:40] for part in home.sends if part[0].codec == RAW and part in home.sends[:2]}
    assert len(salts) == 2


def test_pause_resume_cancel_and_retry(page: Page, home: Home, tmp_path: Path, held: Callable[[int], Held]) -> None:
    path, small = file_of(tmp_path, 9 * MIB), file_of(tmp_path, 5, name="small.bin")
    gate = held(1)
    (large_id,) = choose(page, path)
    assert gate.waiting.wait(60)
    (small_id,) = choose(page, small)
    do(page, "pause", large_id)
    gate.gate.set()
    home.fault = lambda *_: None
    assert [upload["phase"] for upload in settle(page)] == ["paused", "done"]  # the next one does not wait for it
    do(page, "resume", large_id)
    assert [upload["phase"] for upload in settle(page)] == ["done", "done"]
    assert uploads(page)[large_id]["resumed"] is True
    assert {entry.name for entry in in_python(home).entries()} == {path.name, small.name}
    Cut(home, 0)
    (third,) = choose(page, file_of(tmp_path, 3 * MIB, 3, "third.bin"))
    assert settle(page)[third]["phase"] == "failed"
    do(page, "cancel", third)
    assert uploads(page)[third]["phase"] == "cancelled"
    assert do(page, "interrupted") == []
    (fourth,) = choose(page, file_of(tmp_path, 3 * MIB, 4, "fourth.bin"))
    assert settle(page)[fourth]["phase"] == "failed"
    home.fault = lambda *_: None
    do(page, "resume", fourth)
    assert settle(page)[fourth]["phase"] == "done"
    do(page, "cancel", small_id)  # too late
    assert uploads(page)[small_id]["phase"] == "done"
    assert len(in_python(home).entries()) == 3


def test_cancelling_what_runs_leaves_nothing_of_it(
    page: Page, home: Home, tmp_path: Path, held: Callable[[int], Held]
) -> None:
    gate = held(0)
    (number,) = choose(page, file_of(tmp_path, 9 * MIB))
    assert gate.waiting.wait(60)
    do(page, "cancel", number)
    gate.gate.set()
    assert settle(page)[0]["phase"] == "cancelled"
    assert do(page, "interrupted") == []
    assert in_python(home).entries() == []


def test_a_commit_that_fails_is_repeated_without_sending_again(page: Page, home: Home, tmp_path: Path) -> None:
    path = file_of(tmp_path, 3 * MIB)
    home.fault = lambda method, path, _body: 503 if (method, path) == ("PUT", "head") else None
    choose(page, path)
    assert settle(page)[0]["phase"] == "failed"
    home.fault = lambda *_: None
    home.lose_answer = True  # the next commit counts, but the page does not learn it
    reload(page, home)
    choose(page, path)
    assert settle(page)[0]["phase"] == "failed"
    do(page, "resume", 0)
    assert settle(page)[0]["phase"] == "done"
    holds(home, path)
    assert len(leaves_sent(home)) == 4


def test_what_a_commit_misses_is_sent_again_even_where_it_was_said_to_be_here(
    page: Page, home: Home, tmp_path: Path
) -> None:
    path = file_of(tmp_path, 9 * MIB)

    def damage(method: str, path: str, _body: bytes) -> None:
        if (method, path) == ("PUT", "head"):
            home.damaged = {home.sends[0][1], home.sends[1][0]}
            home.fault = lambda *_: None

    home.fault = damage
    choose(page, path)
    (upload,) = settle(page)
    assert (upload["phase"], upload["error"].split(":")[0]) == ("failed", "conflict")
    before, lost = len(home.sends), set(home.damaged)
    assert len(lost) == 2
    do(page, "resume", 0)
    assert settle(page)[0]["phase"] == "done"
    assert {cid for part in home.sends[before:] for cid in part if cid.codec == RAW} == lost  # nothing else again
    holds(home, path)


def test_two_tabs_do_not_collide(
    context: BrowserContext, page: Page, home: Home, tmp_path: Path, held: Callable[[int], Held]
) -> None:
    path, other = file_of(tmp_path, 9 * MIB), file_of(tmp_path, 2 * MIB, 9, "other.bin")
    gate = held(0)
    choose(page, path)
    assert gate.waiting.wait(60)
    home.fault = lambda *_: None
    second = begin(context, home)
    choose(second, path, other)
    same, another = settle(second)
    assert (same["phase"], another["phase"]) == ("failed", "done")
    assert same["error"].startswith("busy")
    assert do(second, "interrupted") == []  # it is under way
    gate.gate.set()
    assert settle(page)[0]["phase"] == "done"
    assert sorted(entry.name for entry in in_python(home).entries()) == ["large.bin", "other.bin"]


def test_the_journal_is_sealed(page: Page, home: Home, tmp_path: Path) -> None:
    Cut(home, 1)
    path = tmp_path / "canary name.txt"
    path.write_bytes(content(6 * MIB, 2))
    choose(page, path)
    assert settle(page)[0]["phase"] == "failed"
    text = do(page, "journalText").encode("latin-1")
    assert len(text) > 900  # an upload and the digests of its parts
    digest = hashlib.sha256(home.blocks.get(home.sends[0][0])).digest()
    for secret in (b"canary", ROOT, digest, home.blocks.get(home.sends[0][0])[:40]):
        assert secret not in text


def test_a_file_that_cannot_be_read_any_more_is_a_conflict(page: Page, home: Home, tmp_path: Path) -> None:
    path = file_of(tmp_path, 3 * MIB)
    page.set_input_files("input[type=file]", str(path))
    size = "document.querySelector('input[type=file]').files[0].size"
    assert page.evaluate(size) == 3 * MIB  # the browser has taken notice of the file as it was
    path.write_bytes(b"another file now")
    os.utime(path, (0, 0))  # a change within one tick of the file system's clock would not show
    do(page, "uploadChosen")
    (upload,) = settle(page)
    assert (upload["phase"], upload["error"].split(":")[0]) == ("failed", "conflict")
    assert home.sends == []


def test_closing_keeps_what_was_begun(page: Page, home: Home, tmp_path: Path, held: Callable[[int], Held]) -> None:
    path = file_of(tmp_path, 9 * MIB)
    gate = held(1)
    choose(page, path)
    assert gate.waiting.wait(60)
    do(page, "closeSealer")
    gate.gate.set()
    assert uploads(page)[0]["phase"] == "paused"
    start(page, home)
    assert do(page, "interrupted") == [{"name": path.name, "size": 9 * MIB}]
    choose(page, path)
    assert settle(page)[0]["phase"] == "done"
    (entry,) = in_python(home).entries()
    manifest = in_python(home).manifest(entry.object_id)
    assert set(leaves_sent(home)) == set(leaf_cids(manifest.payload, home.blocks, manifest.size))
