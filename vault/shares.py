"""Shamir's secret sharing of a 32-byte key over GF(2^8), byte by byte, in the share bytes of HashiCorp Vault.

    share = y[32] ‖ x[1],  x = 1 … n,  field polynomial x^8 + x^4 + x^3 + x + 1 (0x11B)

Secrets are only ever multiplied by public numbers (x and the Lagrange weights made from them). All 32 bytes are
multiplied at once by shifts and masks over one integer: no table, no index and no branch depends on a secret.
t − 1 shares say nothing about the secret; which secret t shares make is up to who made them, so callers check the
result against a commitment. Source: Shamir, "How to share a secret", 1979.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Sequence

from core.errors import InvalidInput

SECRET = 32
SHARE = SECRET + 1

_LOW_BITS = int.from_bytes(b"\x01" * SECRET, "big")
_LOW_SEVEN = int.from_bytes(b"\x7f" * SECRET, "big")


def split(secret: bytes, t: int, n: int) -> list[bytes]:
    """`n` shares for x = 1 … n, any `t` of which give `secret` back."""
    if len(secret) != SECRET:
        raise InvalidInput(f"Only a secret of {SECRET} bytes is split.")
    check_threshold(t, n)
    # The constant term is the secret; the others are fresh for every split and may be anything, zero included.
    coefficients = [int.from_bytes(secret, "big"), *(random.randbits(8 * SECRET) for _ in range(t - 1))]
    shares = []
    for x in range(1, n + 1):
        y = 0
        for coefficient in reversed(coefficients):
            y = _times(y, x) ^ coefficient
        shares.append(y.to_bytes(SECRET, "big") + bytes((x,)))
    return shares


def combine(shares: Sequence[bytes]) -> bytes:
    """The secret that these shares lie on. Fewer than t of them give another one: check a commitment."""
    if not 2 <= len(shares) <= 255 or any(len(share) != SHARE for share in shares):
        raise InvalidInput(f"Between 2 and 255 shares of {SHARE} bytes are combined.")
    places = [share[SECRET] for share in shares]
    if 0 in places or len(set(places)) != len(places):
        raise InvalidInput("Shares to combine have different numbers from 1 to 255.")
    secret = 0
    for share in shares:
        weight = 1
        for other in places:
            if other != share[SECRET]:
                weight = _product(weight, _product(other, _inverse(other ^ share[SECRET])))
        secret ^= _times(int.from_bytes(share[:SECRET], "big"), weight)
    return secret.to_bytes(SECRET, "big")


def check_threshold(t: int, n: int) -> None:
    """Return if a secret can be shared t-of-n, else raise `InvalidInput`."""
    if not 2 <= t <= n <= 255:
        raise InvalidInput("A committee has a threshold of at least 2 and at most 255 members.")


def _times(secret: int, public: int) -> int:
    """Each of the 32 bytes of `secret` times the field element `public`."""
    product = 0
    while public:
        if public & 1:
            product ^= secret
        carry = secret >> 7 & _LOW_BITS
        secret = (secret & _LOW_SEVEN) << 1 ^ carry ^ carry << 1 ^ carry << 3 ^ carry << 4
        public >>= 1
    return product


def _product(a: int, b: int) -> int:
    """The product of two public field elements."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _inverse(a: int) -> int:
    """The inverse of a public field element other than 0: a^254."""
    result = 1
    for _ in range(7):
        a = _product(a, a)
        result = _product(result, a)
    return result
