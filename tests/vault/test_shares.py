"""Shamir's sharing: t shares make the secret, fewer make something else."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from vault.shares import SECRET, _inverse, _product, _times, combine, split

secrets = st.binary(min_size=32, max_size=32)


def slow_product(a: int, b: int) -> int:
    """Schoolbook: multiply the polynomials, then reduce by 0x11B from the top."""
    wide = 0
    for bit in range(8):
        if b >> bit & 1:
            wide ^= a << bit
    for bit in range(15, 7, -1):
        if wide >> bit & 1:
            wide ^= 0x11B << (bit - 8)
    return wide


def test_the_field_is_the_one_of_0x11b() -> None:
    for a in range(256):
        for b in range(0, 256, 7):
            assert _product(a, b) == slow_product(a, b)
    assert _product(0x57, 0x83) == 0xC1  # FIPS 197 §4.2
    assert all(_product(a, _inverse(a)) == 1 for a in range(1, 256))


@given(secrets, st.integers(0, 255))
def test_all_bytes_are_multiplied_at_once_and_apart(secret: bytes, public: int) -> None:
    product = _times(int.from_bytes(secret, "big"), public).to_bytes(SECRET, "big")
    assert product == bytes(slow_product(byte, public) for byte in secret)


@pytest.mark.parametrize(("t", "n"), [(2, 2), (2, 3), (3, 5), (5, 5), (4, 7)])
def test_any_t_shares_in_any_order_make_the_secret(t: int, n: int) -> None:
    secret = bytes(range(32))
    shares = split(secret, t, n)
    assert [share[32] for share in shares] == list(range(1, n + 1))
    for chosen in combinations(shares, t):
        assert combine(chosen) == combine(chosen[::-1]) == secret
    assert combine(shares) == secret


@given(secrets, st.integers(2, 9), st.integers(0, 6))
@settings(max_examples=40)
def test_a_split_secret_comes_back(secret: bytes, t: int, more: int) -> None:
    assert combine(split(secret, t, t + more)[more:]) == secret


def test_t_minus_one_shares_make_another_secret() -> None:
    secret = b"\x5a" * 32
    for chosen in combinations(split(secret, 3, 5), 2):
        assert combine(chosen) != secret


def test_t_minus_one_shares_fit_every_secret() -> None:
    """One share of a 2-of-n split plus a guess always lies on some line: it rules nothing out."""
    share = split(b"\x01" * 32, 2, 3)[0]
    for guess in (b"\0" * 32, b"\xff" * 32):
        slope = int.from_bytes(guess, "big") ^ int.from_bytes(share[:32], "big")
        second = (int.from_bytes(guess, "big") ^ _times(slope, 2)).to_bytes(32, "big") + b"\x02"
        assert combine([share, second]) == guess


def test_two_splits_of_one_secret_share_nothing() -> None:
    one, two = split(b"s" * 32, 2, 3), split(b"s" * 32, 2, 3)
    assert not set(one) & set(two)


@pytest.mark.parametrize(("t", "n"), [(0, 3), (1, 3), (4, 3), (2, 256), (2, 1), (-1, 2)])
def test_an_impossible_threshold_is_refused(t: int, n: int) -> None:
    with pytest.raises(InvalidInput):
        split(bytes(32), t, n)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_only_secrets_of_32_bytes_are_split(length: int) -> None:
    with pytest.raises(InvalidInput):
        split(bytes(length), 2, 3)


def test_malformed_shares_are_refused() -> None:
    one, two, _ = split(bytes(32), 2, 3)
    for shares in ([], [one], [one, one], [one, two[:-1]], [one, two + b"\0"], [one, two[:32] + b"\0"]):
        with pytest.raises(InvalidInput):
            combine(shares)
