"""The search for an owner's secrets finds them in every form, wherever they are, and nothing where there is nothing."""

from __future__ import annotations

import base64
import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.web import searching

WORDS = [f"word{number}" for number in range(24)]
KEY = bytes(range(7, 39))
WANTED = searching.of_words(WORDS) | searching.of_bytes("key", KEY) | searching.of_text("name", "CANARY-file.txt")
FORMS = {
    "raw": KEY,
    "hex": KEY.hex().encode(),
    "HEX": KEY.hex().upper().encode(),
    "json": str(list(KEY)).encode(),
    "base64": base64.b64encode(b"ab" + KEY + b"c"),
    "base64url": base64.urlsafe_b64encode(b"a" + KEY),
    "utf-16": "CANARY-file.txt".encode("utf-16"),
    "a good part of the words": " ".join(WORDS[9:14]).encode(),
    "words as json": str(WORDS).replace("'", '"').encode(),
    "gzip": gzip.compress(b"xx" + KEY),
    "zlib of base64": zlib.compress(base64.b64encode(KEY)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found_in_a_file(tmp_path: Path, form: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"before " + FORMS[form] + b" after")
    (tmp_path / "other").write_bytes(b"nothing here")
    found = searching.in_folder(tmp_path, WANTED)
    assert found
    assert all(one.startswith("deep/file: ") for one in found)


def test_a_name_on_disk_is_found_and_other_bytes_are_not(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(bytes(range(0, 256, 3)) * 9 + b"word1 word3")
    assert searching.in_folder(tmp_path, WANTED) == []
    (tmp_path / "CANARY-file.txt.sealed").touch()
    assert [one.partition(": ")[0] for one in searching.in_folder(tmp_path, WANTED)] == ["CANARY-file.txt.sealed"]


@pytest.mark.skipif(sys.platform != "linux", reason="where processes show their environment as files")
def test_a_processs_environment_and_command_line_are_read() -> None:
    words = [sys.executable, "-c", "print(flush=True); input()", "--passphrase", "CANARY-file.txt"]
    with subprocess.Popen(words, env={"SECRET": KEY.hex()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it is the program now, and no copy of this one
        found = searching.in_processes([process.pid], WANTED)
        assert process.stdin is not None
        process.stdin.write(b"\n")
    assert {one.partition(", ")[2].partition(":")[0] for one in found} == {"environ", "cmdline"}
