"""Which format a file has, told from its first 64 KiB alone.

The owner previews by this rule and a job reads by it. A job never learns a file's name, so the name decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from vault.readers.source import as_utf8

HEAD: Final = 1 << 16

TEXT: Final = "text/plain"
MARKDOWN: Final = "text/markdown"
JSON_LINES: Final = "application/jsonl"
JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"

_JSON_ARRAY = re.compile(rb'\s*\[\s*(\{\s*["}]|\]\s*$)')
_JSON_OBJECT = re.compile(rb'\s*\{\s*["}]')
# Tab, newline, return, form feed and escape occur in text; other control bytes do not.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_ODD_SHARE = 0.3


def detect(head: bytes) -> str:
    """The media type of a file that begins with `head` (its first 64 KiB, or all of it)."""
    text = b"".join(as_utf8(_one(head[:HEAD])))
    if b"\0" in text or len(_CONTROL.findall(text)) > 8 or _strange(text):
        return BINARY
    if _JSON_ARRAY.match(text):
        return JSON
    if _JSON_OBJECT.match(text):
        return JSON_LINES if _is_line(text.lstrip().split(b"\n", 1)[0]) else JSON
    return TEXT


def _is_line(line: bytes) -> bool:
    """Whether a file's first line is a JSON object of its own, perhaps a broken one, not the start of a longer one."""
    # A pretty-printed object breaks its line behind a comma or an opening bracket, where no JSON ends.
    return _JSON_OBJECT.match(line) is not None and not line.rstrip().endswith((b",", b"{", b"["))


def _strange(text: bytes) -> bool:
    """Whether most of what is not ASCII is not UTF-8 either: an image, an archive, an unknown encoding."""
    bad = text.decode("utf-8", "replace").count("\ufffd")
    return bad > 8 and bad > len(text) * _ODD_SHARE


def _one(head: bytes) -> Iterator[bytes]:
    if head:
        yield head
