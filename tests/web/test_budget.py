"""What each route makes a browser fetch, from the manifest of the build: static imports, workers, and what comes later.

Chunks that are fetched on demand count to every route that needs them; which those are stands in `LATER`, and a chunk
that no route claims fails.
"""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from typing import Any

import pytest

from tests.web.serving import STATIC

pytestmark = pytest.mark.needs_browser  # the built page is needed, as for the tests in Chromium

FIRST, ANY, STYLES = 70 << 10, 120 << 10, 10 << 10  # bytes, gzip
ENTRY = "index.html"
OPENING = {"src/app/owner/opening.ts", "src/deeds/siwe.ts"}  # to unlock: keys, account, sign-in
OWNED = {"src/app/owner/owned.ts"}
SHARING = OWNED | {
    "src/app/owner/drafting.ts",
    "src/vault/sharing.ts",
    "src/vault/sharetable.ts",
    "node_modules/@panva/hpke-noble/index.js",
}
SEALING = {"src/vault/sealing.ts", "src/vault/sealfile.ts", "src/vault/journal.ts"}
READING = {"src/readers/index.ts"}
REVOKING = {"src/app/owner/revocations.ts"}
LATER: dict[str, set[str]] = {
    "Start": OPENING | {"src/vault/words.ts", "src/deeds/wallets.ts"},
    "Files": OPENING,
    "Preview": OPENING | READING,
    "Upload": OPENING | SEALING | READING,
    "Offer": OPENING | SHARING,
    "Requests": OPENING | SHARING,
    "Consents": OPENING | REVOKING,
    "Earnings": OPENING | OWNED | REVOKING,
    "Activity": OPENING,
    "Settings": OPENING,
    "Verify": set(),
}
ANYWHERE = {"_bytes", "_sha2"}  # shared chunks that are also named by an import of their own


@cache
def manifest() -> dict[str, dict[str, Any]]:
    """The build's manifest."""
    found: dict[str, dict[str, Any]] = json.loads((STATIC / ".vite" / "manifest.json").read_text("utf-8"))
    return found


def size(file: str) -> int:
    """A file's bytes, gzip."""
    return len(gzip.compress((STATIC / file).read_bytes(), mtime=0))


def files_of(starts: set[str]) -> set[str]:
    """The scripts of these chunks, of all that they import statically, and of the workers that they start."""
    seen: set[str] = set()
    wanted = set(starts)
    while wanted - seen:
        name = (wanted - seen).pop()
        seen.add(name)
        wanted |= set(manifest()[name].get("imports", []))
    files = {manifest()[name]["file"] for name in seen}
    workers = {
        worker
        for file in files
        for worker in re.findall(r"[\w.-]+\.worker-[\w-]+\.js", (STATIC / file).read_text("utf-8"))
    }
    return files | {f"assets/{worker}" for worker in workers}


def weight(starts: set[str]) -> int:
    return sum(size(file) for file in files_of(starts))


def screen(name: str) -> str:
    return f"src/app/screens/{name}.svelte"


def test_the_first_route_is_light_before_anything_is_pressed() -> None:
    assert weight({ENTRY, screen("Start")}) <= FIRST


@pytest.mark.parametrize("name", sorted(LATER))
def test_no_route_is_heavy_with_all_that_it_may_need(name: str) -> None:
    assert weight({ENTRY, screen(name)} | LATER[name]) <= ANY


def test_every_chunk_belongs_to_a_route() -> None:
    later = {one for chunk in manifest().values() for one in chunk.get("dynamicImports", [])}
    screens = {screen(name) for name in LATER}
    claimed = screens | set().union(*LATER.values())
    assert {one for one in later - claimed if one.split("-")[0] not in ANYWHERE} == set()
    assert screens <= set(manifest())


def test_styles_are_light_and_no_font_is_shipped() -> None:
    styles = {file for chunk in manifest().values() for file in chunk.get("css", [])}
    assert sum(size(file) for file in styles) <= STYLES
    shipped = {path.suffix for path in STATIC.rglob("*") if path.is_file()}
    assert shipped <= {".html", ".js", ".css", ".json", ".svg", ".png"}
