from __future__ import annotations

import pickle

import pytest
from eth_account import Account as Oracle
from eth_keys import keys
from hypothesis import given
from hypothesis import strategies as st

from consent.chain.account import SECP256K1_ORDER, Account, recover
from core.errors import InvalidInput
from core.ids import Address

KEYS = st.integers(1, SECP256K1_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def test_the_key_one_has_its_well_known_address() -> None:
    account = Account((1).to_bytes(32, "big"))
    assert account.address.hex() == "7e5f4552091a69125d5dfcb7b8c2659029395bdf"


@given(KEYS, st.binary(min_size=32, max_size=32))
def test_signatures_equal_those_of_an_independent_signer_and_name_their_signer(key: bytes, digest: bytes) -> None:
    account = Account(key)
    signature = account.sign_hash(digest)
    theirs = keys.PrivateKey(key).sign_msg_hash(digest)
    assert signature == theirs.to_bytes()[:64] + bytes([27 + theirs.v])
    assert int.from_bytes(signature[32:64], "big") <= SECP256K1_ORDER // 2
    assert recover(digest, signature) == account.address == bytes.fromhex(Oracle.from_key(key).address[2:])


@given(
    KEYS,
    st.none() | st.binary(min_size=20, max_size=20),
    st.binary(max_size=80),
    st.integers(0, 2**128),
    st.integers(0, 2**32),
)
def test_transactions_equal_those_of_an_independent_signer(
    key: bytes, to: bytes | None, data: bytes, value: int, nonce: int
) -> None:
    raw = Account(key).sign_transaction(
        chain_id=31337,
        nonce=nonce,
        max_priority_fee=3,
        max_fee=5,
        gas=99_000,
        to=None if to is None else Address(to),
        value=value,
        data=data,
    )
    fields = {
        "type": 2,
        "chainId": 31337,
        "nonce": nonce,
        "maxPriorityFeePerGas": 3,
        "maxFeePerGas": 5,
        "gas": 99_000,
        "to": to or b"",
        "value": value,
        "data": data,
    }
    assert raw == bytes(Oracle.sign_transaction(fields, key).raw_transaction)


@pytest.mark.parametrize(
    "key", [b"", bytes(31), bytes(32), bytes(33), SECP256K1_ORDER.to_bytes(32, "big"), b"\xff" * 32]
)
def test_what_is_no_private_key_is_refused(key: bytes) -> None:
    with pytest.raises(InvalidInput):
        Account(key)


def test_an_account_never_shows_its_key() -> None:
    key = bytes(range(1, 33))
    account = Account(key)
    shown = f"{account!r} {account!s} {account!r:>80}"
    assert key.hex() not in shown
    assert str(int.from_bytes(key, "big")) not in shown
    with pytest.raises(TypeError) as caught:
        pickle.dumps(account)
    assert key.hex() not in str(caught.value)
    assert not hasattr(account, "__dict__")


def test_only_the_one_canonical_form_of_a_signature_is_recovered() -> None:
    digest = b"\x11" * 32
    good = Account(b"\x22" * 32).sign_hash(digest)
    s = int.from_bytes(good[32:64], "big")
    mirrored = good[:32] + (SECP256K1_ORDER - s).to_bytes(32, "big") + bytes([55 - good[64]])
    forged = {
        "high s": mirrored,
        "v as parity": good[:64] + bytes([good[64] - 27]),
        "v of EIP-155": good[:64] + bytes([37]),
        "short": good[:64],
        "long": good + b"\0",
        "r zero": bytes(32) + good[32:],
        "s zero": good[:32] + bytes(32) + good[64:],
        "r beyond the order": b"\xff" * 32 + good[32:],
    }
    for signature in forged.values():
        with pytest.raises(InvalidInput):
            recover(digest, signature)
    with pytest.raises(InvalidInput):
        recover(digest[:31], good)


def test_a_signature_over_another_digest_names_another_signer() -> None:
    account = Account(b"\x33" * 32)
    assert recover(b"\x02" * 32, account.sign_hash(b"\x01" * 32)) != account.address
    with pytest.raises(InvalidInput):
        account.sign_hash(b"short")
