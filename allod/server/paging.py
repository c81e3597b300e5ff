"""Lists in pages: `?limit=1..100&after=CURSOR` gives {data, has_more, next_after}.

def handler(paging: Paging, db: Db) -> Page[Thing]:
    rows = read(db, after=paging.after, at_most=paging.limit + 1)
    return paging.page([Thing.of(row) for row in rows], lambda thing: thing.id)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from core.errors import InvalidInput

T = TypeVar("T")
MAX_CURSOR = 200


class Page(BaseModel, Generic[T]):
    """A part of a list. `next_after` continues it while `has_more`."""

    data: list[T]
    has_more: bool
    next_after: str | None = Field(default=None, max_length=MAX_CURSOR)


@dataclass(frozen=True)
class Asked:
    """Which part of a list is asked for."""

    limit: int
    after: str | None

    @property
    def after_id(self) -> int | None:
        """The cursor where it is a row's number; `InvalidInput` if it is none."""
        if self.after is None:
            return None
        if not self.after.isascii() or not self.after.isdigit() or len(self.after) > 18:
            raise InvalidInput("This cursor was not given out by this list.", hint="Take `next_after` of a page.")
        return int(self.after)

    def page(self, rows: Sequence[T], cursor: Callable[[T], str | int]) -> Page[T]:
        """The page of `rows`, of which one more than `limit` was read to see whether more follow."""
        data = list(rows[: self.limit])
        more = len(rows) > self.limit
        return Page(data=data, has_more=more, next_after=str(cursor(data[-1])) if more and data else None)


async def _asked(
    limit: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 50,
    after: Annotated[
        str | None,
        Query(max_length=MAX_CURSOR, pattern=r"^[\x21-\x7e]+$", description="`next_after` of the page before."),
    ] = None,
) -> Asked:
    return Asked(limit, after)


Paging = Annotated[Asked, Depends(_asked)]
