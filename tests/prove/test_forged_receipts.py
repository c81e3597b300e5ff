"""Receipts that are no keeper's word about this job, and keepers who collude."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consent.chain.client import Chain
from consent.chain.embedded import developer
from consent.keeper.receipt import Receipt
from consent.market.place import Market, Relayer
from consent.market.revoking import relay_revocation, sign_revoke_nonces
from consent.tree import SumTree
from core.encoding import decode_cbor
from core.ids import Address
from tests.prove.proofs import (
    FORGER,
    Forgetful,
    Proof,
    edit_receipts,
    embedded_of,
    put,
)

pytestmark = pytest.mark.needs_trainer


def test_receipts_of_too_few_keepers_fail(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    edit_receipts(bundle, lambda receipts: receipts[1:])
    report = whole.verify(bundle)
    assert report.broken == ["releases"]
    edit_receipts(bundle, lambda receipts: [receipts[0], *receipts])
    assert whole.verify(bundle).broken == ["releases"], "one keeper twice is not two"


def forged_receipts(whole: Proof) -> dict[str, Callable[[Receipt], Receipt]]:
    chain, order = whole.world.chain, whole.order
    domain = (order.chain_id, order.escrow)
    early = chain.block(1).hash

    def own(receipt: Receipt, **changes: Any) -> Receipt:
        return replace(receipt, **changes).signed(whole.keeper(receipt.keeper), *domain)

    return {
        "of a stranger": lambda one: one.signed(FORGER, *domain),
        "of another keeper": lambda one: replace(one, keeper=one.keeper % 3 + 1),
        "of no keeper": lambda one: replace(one, keeper=9).signed(FORGER, *domain),
        "of something else": lambda one: replace(one, root=bytes(32)),
        "for another job": lambda one: own(one, job=bytes(32)),
        "for another chain": lambda one: one.signed(whole.keeper(one.keeper), 1, order.escrow),
        "for another escrow": lambda one: one.signed(whole.keeper(one.keeper), order.chain_id, Address(b"\x11" * 20)),
        "for another consent": lambda one: own(one, consent=b"\x22" * 32),
        "at a block that is not there": lambda one: own(one, latest=b"\x33" * 32),
        "at a block before the job": lambda one: own(one, safe=early),
        "with a signature of high s": lambda one: replace(one, sig=one.sig[:32] + b"\xff" * 32 + one.sig[64:]),
    }


@pytest.mark.parametrize("kind", [
    "of a stranger", "of another keeper", "of no keeper", "of something else", "for another job", "for another chain",
    "for another escrow", "for another consent", "at a block that is not there", "at a block before the job",
    "with a signature of high s",
])  # fmt: skip
def test_a_receipt_that_is_no_keepers_word_about_this_job_fails(whole: Proof, tmp_path: Path, kind: str) -> None:
    forge = forged_receipts(whole)[kind]
    bundle = whole.copy(tmp_path / "bundle")
    edit_receipts(bundle, lambda receipts: [forge(receipts[0]), *receipts[1:]])
    assert whole.verify(bundle).broken == ["releases"]
    edit_receipts(bundle, lambda _: [forge(one) for one in receipts_of(whole)])
    assert whole.verify(bundle).broken == ["releases"]
    edit_receipts(bundle, lambda _: [*receipts_of(whole), forge(receipts_of(whole)[0])])
    assert whole.verify(bundle).broken == ["releases"], "beside enough good ones too"


def receipts_of(proof: Proof) -> list[Receipt]:
    return [Receipt.read(row) for row in decode_cbor(proof.job.get("receipts.cbor"))["receipts"]]


def test_keepers_that_release_a_consent_that_was_never_minted_are_seen(lowered: Proof, tmp_path: Path) -> None:
    dario = lowered.world.owners["dario"].consent_id
    bundle = lowered.copy(tmp_path / "bundle")

    def collude(receipts: list[Receipt]) -> list[Receipt]:
        domain = (lowered.order.chain_id, lowered.order.escrow)
        more = [replace(one, consent=dario).signed(lowered.keeper(one.keeper), *domain) for one in receipts[:2]]
        return [*receipts, *more]

    edit_receipts(bundle, collude)
    report = lowered.verify(bundle)
    # What was released and not paid shows as well.
    assert set(report.broken) == {"consents", "settlement", "ledger"}
    assert "never granted" in next(one.evidence for one in report.findings if one.slug == "consents")


def test_keepers_that_release_after_a_revocation_are_seen(lowered: Proof, tmp_path: Path) -> None:
    bruno = lowered.world.owners["bruno"].consent_id
    after = lowered.world.chain.block().hash
    bundle = lowered.copy(tmp_path / "bundle")

    def late(receipts: list[Receipt]) -> list[Receipt]:
        domain = (lowered.order.chain_id, lowered.order.escrow)
        return [
            replace(one, safe=after, latest=after).signed(lowered.keeper(one.keeper), *domain)
            if one.consent == bruno
            else one
            for one in receipts
        ]

    edit_receipts(bundle, late)
    report = lowered.verify(bundle)
    assert report.broken == ["consents"]
    assert "it was revoked" in next(one.evidence for one in report.findings if one.slug == "consents")


def test_a_nonce_revoked_before_the_release_is_seen_where_the_node_keeps_state(whole: Proof, tmp_path: Path) -> None:
    ada, bundle = whole.world.owners["ada"], whole.copy(tmp_path / "bundle")
    domain = (whole.order.chain_id, whole.order.escrow)
    with Chain.embedded(embedded_of(whole.world.chain).duplicate(), owned=True) as later:
        market = Market(later, whole.world.deployment)
        for signed in sign_revoke_nonces(market, ada.account, [ada.signed.consent]):
            relay_revocation(market, Relayer(later, developer()), signed)
        late = later.block().hash
        others = [one for one in receipts_of(whole) if one.consent != ada.consent_id]
        hers = [replace(one, latest=late) for one in receipts_of(whole) if one.consent == ada.consent_id]
        edit_receipts(bundle, lambda _: others + [one.signed(whole.keeper(one.keeper), *domain) for one in hers])
        assert whole.verify(bundle, chain=later).broken == ["consents"]
        forgetful = Chain(Forgetful(embedded_of(later)))
        assert whole.verify(bundle, chain=forgetful).holds, "then the keepers' word stands"


def test_an_owner_who_never_granted_is_no_payee(lowered: Proof, tmp_path: Path) -> None:
    bundle = lowered.copy(tmp_path / "bundle")
    opening = lowered.job.get("tree.cbor")
    put(bundle, "final.cbor", opening)
    report = lowered.verify(bundle, chain=lowered.posting(bundle, SumTree.decode(opening)))
    assert set(report.broken) == {"consents", "payees"}
