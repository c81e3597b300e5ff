"""Every digest that we pack by hand equals eth-account's encoding of the same typed data."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import encode as abi_encode
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from consent import typed
from consent.typed import keccak
from core.errors import InvalidInput

CHAIN, CONTRACT = 31337, bytes([0xC0]) * 20
words = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
numbers = st.integers(0, 2**256 - 1)


def oracle(name: str, struct_type: str, message: dict[str, Any]) -> bytes:
    """EIP-712 by eth-account, from the type string itself."""
    primary, _, members = struct_type.partition("(")
    fields = [dict(zip(("type", "name"), part.split(" "), strict=True)) for part in members.rstrip(")").split(",")]
    domain = {"name": name, "version": "1", "chainId": CHAIN, "verifyingContract": "0x" + CONTRACT.hex()}
    message = {
        key: "0x" + value.hex() if isinstance(value, bytes) and len(value) == 20 else value
        for key, value in message.items()
    }
    signable = encode_typed_data(domain, {primary: fields}, message)
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


@given(addresses, addresses, words, words, words, addresses, addresses, st.data())
def test_a_consents_digest_is_eip712(owner, grantee, asset, terms, purpose, runner, escrow, data):
    not_before, expiry = data.draw(st.integers(0, 2**40 - 1)), data.draw(st.integers(0, 2**40 - 1))
    max_uses, nonce = data.draw(st.integers(0, 2**16 - 1)), data.draw(st.integers(0, 2**96 - 1))
    ours = typed.consent_digest(
        CHAIN, CONTRACT, owner=owner, grantee=grantee, asset=asset, terms=terms, purpose=purpose, runner=runner,
        escrow=escrow, not_before=not_before, expiry=expiry, max_uses=max_uses, nonce=nonce,
    )  # fmt: skip
    message = {
        "owner": owner, "grantee": grantee, "asset": asset, "terms": terms, "purpose": purpose, "runner": runner,
        "escrow": escrow, "notBefore": not_before, "expiry": expiry, "maxUses": max_uses, "nonce": nonce,
    }  # fmt: skip
    assert ours == oracle("Allod Consent", typed.CONSENT_TYPE, message)


@given(addresses, words, words)
def test_a_registrations_digest_is_eip712(owner, digest, terms):
    message = {"owner": owner, "digest": digest, "terms": terms}
    ours = typed.register_digest(CHAIN, CONTRACT, owner, digest, terms)
    assert ours == oracle("Allod Registry", typed.REGISTER_TYPE, message)


@given(addresses, st.lists(words, max_size=5))
def test_revocation_and_surrender_of_ids_are_eip712(account, ids):
    ours = typed.revoke_digest(CHAIN, CONTRACT, account, ids)
    assert ours == oracle("Allod Consent", typed.REVOKE_TYPE, {"owner": account, "ids": ids})
    ours = typed.surrender_digest(CHAIN, CONTRACT, account, ids)
    assert ours == oracle("Allod Consent", typed.SURRENDER_TYPE, {"holder": account, "ids": ids})


@given(addresses, numbers, numbers, st.integers(0, 2**32 - 1))
def test_revocation_of_nonces_and_of_all_is_eip712(owner, word, mask, epoch):
    ours = typed.revoke_nonces_digest(CHAIN, CONTRACT, owner, word, mask)
    assert ours == oracle("Allod Consent", typed.REVOKE_NONCES_TYPE, {"owner": owner, "word": word, "mask": mask})
    ours = typed.revoke_all_digest(CHAIN, CONTRACT, owner, epoch)
    assert ours == oracle("Allod Consent", typed.REVOKE_ALL_TYPE, {"owner": owner, "epoch": epoch})


@given(words, numbers, words)
def test_settlement_and_proposal_are_eip712_in_different_domains(job, root, statement):
    message = {"job": job, "root": root, "statement": statement}
    settlement = typed.settlement_digest(CHAIN, CONTRACT, job, root, statement)
    assert settlement == oracle("Allod Escrow", typed.SETTLEMENT_TYPE, message)
    proposal = typed.proposal_digest(CHAIN, CONTRACT, job, root, statement)
    assert proposal == oracle("Allod Keeper", typed.PROPOSAL_TYPE, message)


@given(words, words, st.integers(0, 255), words, words, words, words)
def test_keeper_messages_are_eip712(job, consent, keeper, safe, latest, root, previous):
    ours = typed.receipt_digest(CHAIN, CONTRACT, job, consent, keeper, safe, latest, root, previous)
    message = {
        "job": job, "consent": consent, "keeper": keeper, "safeBlock": safe, "latestBlock": latest, "root": root,
        "previous": previous,
    }  # fmt: skip
    assert ours == oracle("Allod Keeper", typed.RECEIPT_TYPE, message)
    ours = typed.release_request_digest(CHAIN, CONTRACT, job, consent, keeper, root)
    message = {"job": job, "consent": consent, "keeper": keeper, "body": root}
    assert ours == oracle("Allod Keeper", typed.RELEASE_REQUEST_TYPE, message)


@given(words, words, st.integers(0, 2**64 - 1))
def test_a_ledger_total_is_eip712(job, consent, total):
    ours = typed.ledger_total_digest(CHAIN, CONTRACT, job, consent, total)
    message = {"job": job, "consent": consent, "recordEpochs": total}
    assert ours == oracle("Allod Keeper", typed.LEDGER_TOTAL_TYPE, message)


@given(addresses, addresses, numbers, numbers, numbers)
def test_a_permit_is_erc2612(owner, spender, value, nonce, deadline):
    domain = typed.domain_separator("Play Dollar", CHAIN, CONTRACT)
    message = {"owner": owner, "spender": spender, "value": value, "nonce": nonce, "deadline": deadline}
    ours = typed.permit_digest(domain, owner, spender, value, nonce, deadline)
    assert ours == oracle("Play Dollar", typed.PERMIT_TYPE, message)


def test_arguments_of_another_width_are_refused():
    with pytest.raises(InvalidInput):
        typed.revoke_all_digest(CHAIN, CONTRACT, bytes(20), 2**32)
    with pytest.raises(InvalidInput):
        typed.revoke_digest(CHAIN, CONTRACT, bytes(19), [])
    with pytest.raises(InvalidInput):
        typed.revoke_digest(CHAIN, CONTRACT, bytes(20), [bytes(31)])
    with pytest.raises(InvalidInput):
        typed.settlement_digest(CHAIN, CONTRACT, bytes(32), -1, bytes(32))


def test_keccak_is_not_sha3():
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_the_words_of_an_array_are_abi_words():
    ids = [bytes([i]) * 32 for i in range(3)]
    assert b"".join(ids) == abi_encode(["bytes32[]"], [ids])[64:]
