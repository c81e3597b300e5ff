"""Amounts: UNITs inside, decimal text for people, a token's base units only at its contract.

UNIT = 10^max(0, decimals − 9) base units, so that every amount fits uint64. Promises: exact, never rounded; a text that
needs finer steps than a UNIT, or more than 64 bits, is `InvalidInput`.
"""

from __future__ import annotations

import re

from consent.fields import UINT64_MAX, integer
from core.errors import InvalidInput

_AMOUNT = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,18}))?", re.ASCII)


def unit_of(decimals: int) -> int:
    """Base units in one UNIT, for a token of so many decimals."""
    return int(10 ** max(0, integer(decimals, "The token's decimals", at_most=77) - 9))


def unit_decimals(decimals: int) -> int:
    """Decimal places that a UNIT stands at: the token's, at most nine."""
    return min(9, integer(decimals, "The token's decimals", at_most=77))


def base_units(units: int, decimals: int) -> int:
    """UNITs as the token's own base units (uint256)."""
    return integer(units, "The amount", at_most=UINT64_MAX) * unit_of(decimals)


def format_units(units: int, decimals: int) -> str:
    """An amount of UNITs as people write it: `12.50`, `0.000125`; at least two places where the token has them."""
    places = unit_decimals(decimals)
    whole, part = divmod(integer(units, "The amount", at_most=UINT64_MAX), 10**places)
    digits = f"{part:0{places}d}".rstrip("0") if part else ""
    digits = digits.ljust(min(2, places), "0")
    return f"{whole}.{digits}" if digits else str(whole)


def parse_units(amount: str, decimals: int) -> int:
    """The UNITs that a decimal text means; `InvalidInput` if it means a fraction of one or too many."""
    places = unit_decimals(decimals)
    match = _AMOUNT.fullmatch(amount.strip())
    if match is None:
        raise InvalidInput(f"'{amount[:40]}' is not an amount.", hint="Write it like 12 or 12.50.")
    part = (match[2] or "").rstrip("0")
    if len(part) > places:
        raise InvalidInput(f"The amount has more than {places} decimal places.", hint="Round it yourself.")
    units = int(match[1]) * 10**places + int(part.ljust(places, "0") or "0")
    return integer(units, "The amount in UNITs", at_most=UINT64_MAX)
