"""Logs as JSON, a line for each event, with nothing in them that is anybody's.

Promises: a request is told by its method, its route's template, status, milliseconds and trace id, never by a body, a
query, a cookie, an account or an address; whatever other libraries say is redacted; an error is told by its kind and
where it happened, never by its message.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOG = logging.getLogger("allod.server")
_SECRETS = (
    (re.compile(r"0x[0-9a-fA-F]{8,}"), "0x…"),
    (re.compile(r"(?i)\b(cookie|authorization|x-csrf-token|set-cookie|password|passphrase)\b\s*[:=].*"), r"\1: …"),
    (re.compile(r"\?[^\s\"']+"), "?…"),
    (re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b(:\d+)?"), "(address)"),
    (re.compile(r"(?i)\b[0-9a-f]{0,4}(:[0-9a-f]{0,4}){3,7}\b"), "(address)"),
    (re.compile(r"[A-Za-z0-9_\-+/=]{24,}"), "…"),
)


def redact(text: str) -> str:
    """`text` without hex, tokens, addresses and queries."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text[:2000]


class JsonLines(logging.Formatter):
    """One JSON object for each record. What a caller put into `extra={"facts": …}` stands as it is."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        facts = getattr(record, "facts", None)
        line: dict[str, object] = {
            "at": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        line["event"] = record.getMessage() if facts is not None else redact(record.getMessage())
        if facts is not None:
            line.update(facts)
        if record.exc_info and record.exc_info[1] is not None:
            line.update(of_error(record.exc_info[1]))
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)


def of_error(error: BaseException) -> dict[str, object]:
    """An error's kind and where it happened; its message may hold what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    where = [f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "where": where}


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


@contextmanager
def logging_to(stream: TextIO | None = None) -> Iterator[None]:
    """Log to `stream` (stderr) while the block runs: requests, and of everything else warnings."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    former = LOG.level
    root.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        LOG.setLevel(former)
