"""The page's readers give Python's records of the same files: to the letter, wherever the pieces end."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.web.nasty_files import large_files, small_files
from tests.web.running import check, check_cases, outcomes
from tests.web.serving import ROOT
from vault.readers import BrokenRecord, detect, read_records

pytestmark = pytest.mark.needs_browser


def told(data: bytes) -> dict[str, Any]:
    """What Python reads in a file."""
    records: list[dict[str, Any]] = []
    for item in read_records("", None, iter([data])):
        if isinstance(item, BrokenRecord):
            records.append({"kind": "broken", "place": item.place, "reason": item.reason})
        else:
            records.append({**item.document(), "place": item.place, "index": item.index})
    return {"media_type": detect(data[: 1 << 16]), "records": records}


def test_the_vectors_hold(vector_page: Page) -> None:
    check_cases(vector_page, "readers", json.loads((ROOT / "tests/vectors/readers.json").read_text("utf-8"))["cases"])


def test_nasty_files_read_alike(vector_page: Page) -> None:
    cases = [
        {"name": name, "bytes": data.hex(), "steps": [1, 1 << 16] if len(data) < 9000 else [1021], **told(data)}
        for name, data in small_files()
    ]
    assert len({case["name"] for case in cases}) == len(cases)
    records = [record for case in cases for record in case["records"]]
    # The files are worth reading only if they lead everywhere.
    assert {record["kind"] for record in records} == {"text", "chat", "broken"}
    assert len({record.get("reason") for record in records}) > 12
    assert len({case["media_type"] for case in cases}) == 4
    check_cases(vector_page, "readers", cases)


def test_files_at_the_limits_read_alike(vector_page: Page) -> None:
    for name, parts in large_files():
        expected = told(b"".join(part * times for part, times in parts))
        in_hex = [[part.hex(), times] for part, times in parts]
        check_cases(vector_page, "readers", [{"name": name, "parts": in_hex, "steps": [1 << 16], **expected}])


def test_files_without_end_give_records_as_they_come(vector_page: Page) -> None:
    check(vector_page, "streams", {}, 5)


def test_characters_have_the_same_classes(vector_page: Page) -> None:
    """But for a handful that Unicode itself moved between the versions of Python and Chromium."""
    known = {code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) != "Cn"}
    for outcome in outcomes(vector_page, "characters", {}):
        ours = set(json.loads(outcome["error"]))
        is_one = str.islower if outcome["name"] == "lower" else str.isdecimal
        assert len((ours & known) ^ {code for code in known if is_one(chr(code))}) < 12, outcome["name"]
