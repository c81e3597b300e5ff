"""Cursors of lists that are ordered by a time and a hash: where the next page begins, as text and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from core.errors import InvalidInput

_CURSOR = re.compile(r"([0-9]{1,17})-([0-9a-f]{64})")
_START = datetime(1970, 1, 1, tzinfo=UTC)


def write_cursor(at: datetime, digest: bytes) -> str:
    """The cursor of a row."""
    return f"{(at - _START) // timedelta(microseconds=1)}-{digest.hex()}"


def read_cursor(text: str | None) -> tuple[datetime, bytes] | None:
    """What a cursor says; `InvalidInput` unless it is one."""
    if text is None:
        return None
    match = _CURSOR.fullmatch(text)
    try:
        if match is not None:
            return _START + timedelta(microseconds=int(match[1])), bytes.fromhex(match[2])
    except OverflowError:
        pass
    raise InvalidInput("This cursor was not given out by this list.", hint="Take `next_after` of a page.")
