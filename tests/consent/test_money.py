"""Amounts are exact in both directions, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.money import base_units, format_units, parse_units, unit_of
from core.errors import InvalidInput


@pytest.mark.parametrize(
    ("units", "decimals", "shown"),
    [
        (0, 6, "0.00"), (1, 6, "0.000001"), (12_500_000, 6, "12.50"), (12_000_000, 6, "12.00"), (5, 0, "5"),
        (15, 1, "1.5"), (10**9, 18, "1.00"), (1, 18, "0.000000001"), (2**64 - 1, 6, "18446744073709.551615"),
    ],
)  # fmt: skip
def test_people_see_decimal_amounts(units, decimals, shown):
    assert format_units(units, decimals) == shown
    assert parse_units(shown, decimals) == units


@given(st.integers(0, 2**64 - 1), st.integers(0, 18))
def test_what_is_shown_means_what_it_was(units, decimals):
    assert parse_units(format_units(units, decimals), decimals) == units


@pytest.mark.parametrize("text", ["", "-1", "1.", ".5", "1e3", "1,5", "0.0000001", "99999999999999999999", "१", "1 2"])
def test_other_texts_are_refused(text):
    with pytest.raises(InvalidInput):
        parse_units(text, 6)


def test_a_unit_is_a_billionth_at_the_finest():
    assert [unit_of(d) for d in (0, 6, 9, 10, 18)] == [1, 1, 1, 10, 10**9]
    assert base_units(3, 18) == 3 * 10**9
    with pytest.raises(InvalidInput):
        format_units(2**64, 6)
