"""Owners and trainers on a real EVM: granting, revoking, paying, earning, through signatures and a relayer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.contract import create
from consent.chain.deployment import deploy, faucet
from consent.chain.embedded import EmbeddedChain, developer
from consent.grant import Consent, nonce_of
from consent.market.earnings import CLAIMS, EarningState, claim, earnings, total
from consent.market.granting import (
    SignedConsent,
    check_signature,
    consent_id,
    draft,
    grant,
    next_nonce,
    sign,
    status,
    take,
)
from consent.market.lanes import courses, free_lane
from consent.market.liveness import live, pair_of
from consent.market.paying import (
    Balance,
    balance,
    confirm,
    deposit,
    open_job,
    prepare_open,
    read_opening,
    reclaim,
    settle,
    standing,
    withdraw,
)
from consent.market.place import Market, Relayer, Sent
from consent.market.revoking import (
    relay_revocation,
    sign_revoke,
    sign_revoke_all,
    sign_revoke_nonces,
    surrender,
)
from consent.order import CLAIM_TIME, Order
from consent.purposes import purpose
from consent.terms import Terms
from consent.tree import FEE, Leaf, SumTree
from consent.typed import settlement_digest
from consent.validity import TokenStatus
from core.errors import Conflict, Corrupted, InvalidInput, NotFound, Refused
from core.ids import NOBODY, Address, Asset, ConsentId

_KEYS = count(1000)
KEEPERS = tuple(sorted((Account(bytes([n]) * 32) for n in (21, 22, 23)), key=lambda k: k.address))
YEAR = 365 * 86400


@dataclass
class World:
    market: Market
    relayer: Relayer
    sent: list[Sent]

    def person(self, *, tokens: int = 0) -> Account:
        """A new account; with tokens it is a trainer, who pays gas too."""
        account = Account(next(_KEYS).to_bytes(32, "big"))
        if tokens:
            faucet(self.market.chain, developer(), self.market.currency, account.address, 10**19, tokens)
        return account

    @property
    def now(self) -> int:
        return self.market.chain.block().timestamp

    def terms(self, owner: Account, **changes) -> Terms:
        given = {
            "purposes": ["service-provision", "academic-research"],
            "payee": owner.address,
            "committee": bytes(32),
            "expiry": self.now + YEAR,
            "flat": 1_000,
            "per_record_epoch": 5,
        }
        return Terms.write(**given | changes)

    def consent(self, owner: Account, known: list[Consent] | None = None, **changes) -> SignedConsent:
        asset = Asset(next(_KEYS).to_bytes(32, "big"))
        consent = draft(
            self.market, owner.address, asset, self.terms(owner), "service-provision", known or [], **changes
        )
        return sign(self.market, owner, consent)

    def order(self, payer: Account, runner: Account, tree: SumTree, lane: int = 0, days: int = 1, counted=()) -> Order:
        return Order(
            chain_id=self.market.chain_id,
            escrow=self.market.escrow.address,
            payer=payer.address,
            lane=lane,
            opened=0,
            start=self.now + days * 86400,
            runner=runner.address,
            recipe_hash=bytes([1]) * 32,
            job_pk=bytes([2]) * 1216,
            fee=0,
            q=3,
            keepers=tuple(key.address for key in KEEPERS),
            root=tree.root,
            counted=counted,
        )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    sent: list[Sent] = []
    with Chain.embedded(EmbeddedChain(None), owned=True) as chain:
        market = Market(chain, deploy(chain, developer()))
        yield World(market, Relayer(chain, developer(), sent.append), sent)


def leaf(account: Account, amount: int) -> Leaf:
    return Leaf(ConsentId(next(_KEYS).to_bytes(32, "big")), account.address, amount)


def paid_job(world: World, trainer: Account, runner: Account, tree: SumTree, **more) -> Order:
    """A job that is open and paid for."""
    deposit(world.market, trainer, tree.total)
    lane, former = free_lane(world.market, trainer.address)
    order, _ = open_job(world.market, trainer, world.order(trainer, runner, tree, lane, **more), [], former)
    return order


# -- consents --------------------------------------------------------------------------------------------------------


def test_an_owner_without_gas_grants_and_revokes(world):
    owner, trainer = world.person(), world.person()
    signed = world.consent(owner, grantee=trainer.address)
    assert status(world.market, signed.consent, trainer.address) is TokenStatus.NEVER_MINTED
    granted = grant(world.market, world.relayer, [signed])
    assert granted.minted == (consent_id(world.market, signed.consent),)
    assert granted.skipped == ()
    assert world.sent[-1].what == "grant"
    assert status(world.market, signed.consent, trainer.address) is TokenStatus.LIVE
    for revocation in sign_revoke(world.market, owner, [(signed.consent, trainer.address)]):
        relay_revocation(world.market, world.relayer, revocation)
    assert status(world.market, signed.consent, trainer.address) is TokenStatus.BURNED
    assert world.market.chain.balance(owner.address) == 0
    assert world.market.chain.nonce(owner.address) == 0


def test_our_digests_and_ids_are_the_contracts(world):
    owner, trainer = world.person(), world.person()
    consent = world.consent(owner, grantee=trainer.address).consent
    read = world.market.token.read
    assert read("digest_of", consent.as_tuple()) == consent.digest(world.market.chain_id, world.market.token.address)
    assert read("id_of", consent.as_tuple(), trainer.address) == consent_id(world.market, consent)


def test_a_bad_consent_in_a_batch_is_reported_and_the_others_are_granted(world):
    owner, stranger, trainer = world.person(), world.person(), world.person()
    known: list[Consent] = []
    good = []
    for _ in range(2):
        good.append(world.consent(owner, known, grantee=trainer.address))
        known.append(good[-1].consent)
    forged = sign(world.market, stranger, replace(good[0].consent, owner=stranger.address))
    forged = SignedConsent(replace(forged.consent, owner=owner.address, nonce=nonce_of(0, 9, 9)), forged.signature)
    offer = world.consent(owner, known)
    granted = grant(world.market, world.relayer, [good[0], forged, offer, good[1], good[0]])
    assert granted.minted == tuple(consent_id(world.market, signed.consent) for signed in good)
    assert {reason for _, reason in granted.skipped} == {
        "An offer is taken by its trainer, not granted.",
        "Its owner did not sign it.",
        "It was granted before.",
    }


def test_more_consents_than_one_call_takes_go_in_several(world):
    owner, trainer = world.person(), world.person()
    first = world.consent(owner, grantee=trainer.address).consent
    signed = [sign(world.market, owner, first.with_nonce(nonce_of(0, 1, bit))) for bit in range(18)]
    granted = grant(world.market, world.relayer, signed)
    assert len(granted.sent) == 2
    assert len(granted.minted) == 18
    tokens = [(item.consent, trainer.address) for item in signed]
    pairs = [pair_of(world.market, *token) for token in tokens]
    never = pair_of(world.market, first.with_nonce(nonce_of(0, 2, 0)), trainer.address)
    before = world.market.chain.block()
    assert live(world.market, [*pairs, never]) == [True] * 18 + [False]
    revocations = sign_revoke(world.market, owner, tokens)
    assert len(revocations) == 2
    relay_revocation(world.market, world.relayer, revocations[1])
    assert live(world.market, pairs) == [True] * 16 + [False] * 2
    (whole_word,) = sign_revoke_nonces(world.market, owner, [item.consent for item in signed])
    relay_revocation(world.market, world.relayer, whole_word)
    assert live(world.market, pairs) == [False] * 18
    assert live(world.market, pairs, before.hash) == live(world.market, pairs, before.number) == [True] * 18
    assert live(world.market, []) == []


WALLET = """
# pragma version 0.4.3
signer: immutable(address)
@deploy
def __init__(key: address):
    signer = key
@external
@view
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    spent: uint256 = 0
    for i: uint256 in range(2000):
        spent += i
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    r: uint256 = extract32(signature, 0, output_type=uint256)
    s: uint256 = extract32(signature, 32, output_type=uint256)
    return 0x1626ba7e if ecrecover(digest, v, r, s) == signer and spent > 0 else 0xffffffff
"""


def test_a_contract_wallet_grants_and_a_thirsty_one_gets_gas_enough(world):
    import vyper

    key, trainer, owner = world.person(), world.person(), world.person()
    output = vyper.compile_code(WALLET, output_formats=["abi", "bytecode"])
    bytecode = bytes.fromhex(output["bytecode"][2:])
    wallet, _ = create(world.market.chain, developer(), output["abi"], bytecode, key.address)
    plain = world.consent(owner, grantee=trainer.address)
    consent = replace(plain.consent, owner=wallet.address)
    digest = consent.digest(world.market.chain_id, world.market.token.address)
    signed = SignedConsent(consent, key.sign_hash(digest))
    check_signature(world.market, signed)
    forged = SignedConsent(consent.with_nonce(nonce_of(0, 3, 3)), signed.signature)
    granted = grant(world.market, world.relayer, [signed, plain, forged])
    assert set(granted.minted) == {consent_id(world.market, item) for item in (consent, plain.consent)}
    assert granted.skipped == ((forged, "Its owner did not sign it."),)
    assert status(world.market, consent, trainer.address) is TokenStatus.LIVE


def test_an_offer_is_taken_by_each_trainer_in_a_transaction_of_their_own(world):
    owner, one, two = world.person(), world.person(tokens=1), world.person(tokens=1)
    offer = world.consent(owner)
    check_signature(world.market, offer)
    taken, _ = take(world.market, one, offer)
    assert taken == consent_id(world.market, offer.consent, one.address)
    take(world.market, two, offer)
    with pytest.raises(Refused, match="already minted"):
        take(world.market, one, offer)
    (ending,) = sign_revoke(world.market, owner, [(offer.consent, one.address)])
    relay_revocation(world.market, world.relayer, ending)
    assert status(world.market, offer.consent, one.address) is TokenStatus.BURNED
    assert status(world.market, offer.consent, two.address) is TokenStatus.LIVE
    (ending,) = sign_revoke_nonces(world.market, owner, [offer.consent])
    relay_revocation(world.market, world.relayer, ending)
    assert status(world.market, offer.consent, two.address) is TokenStatus.NONCE_REVOKED
    assert world.market.chain.balance(owner.address) == 0


def test_a_named_consent_is_not_taken_and_a_forged_offer_is_refused(world):
    owner, trainer = world.person(), world.person(tokens=1)
    with pytest.raises(InvalidInput):
        take(world.market, trainer, world.consent(owner, grantee=trainer.address))
    offer = world.consent(owner)
    forged = SignedConsent(replace(offer.consent, max_uses=7), offer.signature)
    with pytest.raises(Refused):
        check_signature(world.market, forged)
    with pytest.raises(Refused, match="bad signature"):
        take(world.market, trainer, forged)


def test_a_drawer_consent_revoked_before_it_was_minted_is_never_minted(world):
    owner, trainer = world.person(), world.person()
    signed = world.consent(owner, grantee=trainer.address)
    (ending,) = sign_revoke(world.market, owner, [(signed.consent, trainer.address)])
    relay_revocation(world.market, world.relayer, ending)
    granted = grant(world.market, world.relayer, [signed])
    assert granted.minted == ()
    assert granted.skipped[0][1] == "It was revoked, or given back."


def test_revoke_all_ends_every_consent_once(world):
    owner, trainer = world.person(), world.person()
    signed = world.consent(owner, grantee=trainer.address)
    grant(world.market, world.relayer, [signed])
    everything = sign_revoke_all(world.market, owner)
    first = relay_revocation(world.market, world.relayer, everything)
    assert status(world.market, signed.consent, trainer.address) is TokenStatus.OTHER_EPOCH
    again = world.consent(owner, [signed.consent], grantee=trainer.address)
    assert again.consent.epoch == 1
    assert grant(world.market, world.relayer, [again]).skipped == ()
    assert relay_revocation(world.market, world.relayer, everything) == first  # the same one, sent once
    elsewhere = Chain(world.market.chain._provider)  # whose outbox does not know it: the contract takes it once
    with pytest.raises(Refused):
        relay_revocation(Market(elsewhere, world.market.deployment), Relayer(elsewhere, developer()), everything)
    assert status(world.market, again.consent, trainer.address) is TokenStatus.LIVE


def test_a_holder_gives_a_token_back_by_signature(world):
    owner, trainer = world.person(), world.person()
    signed = world.consent(owner, grantee=trainer.address)
    grant(world.market, world.relayer, [signed])
    surrender(world.market, world.relayer, trainer, [signed.consent])
    assert status(world.market, signed.consent, trainer.address) is TokenStatus.BURNED


def test_a_revocation_for_keepers_carries_the_same_signature(world):
    from consent.keeper.revocation import read_revocation
    from consent.keeper.wire import unsign

    owner, trainer = world.person(), world.person()
    consent = world.consent(owner, grantee=trainer.address).consent
    for revocation in (
        *sign_revoke(world.market, owner, [(consent, trainer.address)]),
        *sign_revoke_nonces(world.market, owner, [consent]),
        sign_revoke_all(world.market, owner),
    ):
        body, signature = unsign(revocation.for_keepers())
        assert read_revocation(body) == revocation.message
        assert signature == revocation.signature


def test_only_the_owner_signs(world):
    owner, stranger = world.person(), world.person()
    consent = world.consent(owner).consent
    with pytest.raises(InvalidInput):
        sign(world.market, stranger, consent)
    with pytest.raises(InvalidInput):
        sign_revoke(world.market, stranger, [(consent, owner.address)])
    with pytest.raises(InvalidInput):
        sign_revoke_nonces(world.market, stranger, [consent])


def test_a_nonce_is_never_used_twice_and_skips_revoked_bits(world):
    owner = world.person()
    market = world.market
    first = world.consent(owner).consent
    assert first.nonce == nonce_of(0, 0, 0)
    (ending,) = sign_revoke_nonces(market, owner, [first.with_nonce(nonce_of(0, 0, bit)) for bit in (0, 1, 2, 4)])
    relay_revocation(market, world.relayer, ending)
    assert next_nonce(market, owner.address, []) == nonce_of(0, 0, 3)
    assert next_nonce(market, owner.address, [first.with_nonce(nonce_of(0, 0, 3))]) == nonce_of(0, 0, 5)
    assert next_nonce(market, owner.address, [first.with_nonce(nonce_of(0, 0, 255))]) == nonce_of(0, 1, 0)
    assert next_nonce(market, owner.address, [first.with_nonce(nonce_of(9, 7, 8))]) == nonce_of(0, 7, 9)
    with pytest.raises(Conflict):
        next_nonce(market, owner.address, [first.with_nonce(2**64 - 1)])


def test_a_draft_keeps_within_its_terms(world):
    owner = world.person()
    terms = world.terms(owner, max_uses=3, runner=Address(bytes([9]) * 20))
    asset = Asset(bytes(32))
    consent = draft(world.market, owner.address, asset, terms, "academic-research", [], expiry=world.now + 99 * YEAR)
    assert (consent.expiry, consent.max_uses, consent.runner) == (terms.expiry, 3, terms.runner)
    assert (consent.purpose, consent.terms) == (purpose("academic-research").hash, terms.hash)
    assert consent.grantee == NOBODY
    with pytest.raises(InvalidInput, match="personalisation"):
        draft(world.market, owner.address, asset, terms, "personalisation", [])


# -- money -----------------------------------------------------------------------------------------------------------


def test_a_deposit_needs_one_transaction_and_can_be_withdrawn(world):
    trainer = world.person(tokens=10_000)
    before = world.market.chain.nonce(trainer.address)
    deposit(world.market, trainer, 9_000)
    assert world.market.chain.nonce(trainer.address) == before + 1
    withdraw(world.market, trainer, 4_000)
    found = balance(world.market, trainer.address)
    assert (found.tokens, found.deposited) == (5_000, 5_000)
    with pytest.raises(Refused):
        withdraw(world.market, trainer, 5_001)
    with pytest.raises(InvalidInput):
        deposit(world.market, trainer, 0)
    with pytest.raises(InvalidInput):
        deposit(world.market, trainer, 2**64)


def test_a_confirmed_job_pays_every_leaf_through_the_real_escrow(world):
    market = world.market
    trainer, runner = world.person(tokens=10_000), world.person(tokens=1)
    owners = [world.person() for _ in range(5)]
    tree = SumTree([*(leaf(owner, 100 * (i + 1)) for i, owner in enumerate(owners)), Leaf(FEE, runner.address, 50)])
    order = paid_job(world, trainer, runner, tree)
    (course,) = courses(market, trainer.address)
    assert course.opening.job_id == order.job_id
    assert int(market.escrow.read("lanes", trainer.address, order.lane)) == order.open_word
    lookup = {(order.job_id, tree.root): tree}
    found = earnings(market, owners[0].address, lambda *key: lookup.get(key))
    assert [(x.state, x.amount, x.consent_id) for x in found] == [
        (EarningState.IN_ESCROW, 100, tree.leaves[0].consent_id)
    ]
    assert claim(market, world.relayer, found).skipped[0][1] == "It is in escrow."

    confirm(market, runner, order, bytes([7]) * 32)
    here = standing(market, order.job_id)
    assert (here.statement, here.remaining, here.total, here.current) == (bytes([7]) * 32, 1_550, 1_550, True)
    everyone = [
        earning
        for account in (*owners, runner)
        for earning in earnings(market, account.address, lambda *key: lookup.get(key))
    ]
    assert {x.state for x in everyone} == {EarningState.CLAIMABLE}
    done = claim(market, world.relayer, everyone)
    assert len(done.sent) == 1
    assert (len(done.paid), done.skipped) == (6, ())
    for i, owner in enumerate(owners):
        assert balance(market, owner.address) == Balance(native=0, tokens=100 * (i + 1), deposited=0)
        (mine,) = earnings(market, owner.address, lambda *key: lookup.get(key))
        assert (mine.state, mine.tx_hash) == (EarningState.PAID, done.sent[0].tx_hash)
    assert total(everyone, EarningState.CLAIMABLE) == 1_550
    twice = claim(market, world.relayer, everyone)
    assert twice.paid == ()
    assert {reason for _, reason in twice.skipped} == {"It was paid before."}
    assert standing(market, order.job_id).remaining == 0
    with pytest.raises(Conflict):
        reclaim(market, trainer, order.job_id)


def test_more_leaves_than_one_call_takes_are_claimed_in_several(world):
    market = world.market
    trainer, runner, owner = world.person(tokens=1_000), world.person(tokens=1), world.person()
    tree = SumTree([leaf(owner, i) for i in range(35)])
    order = paid_job(world, trainer, runner, tree)
    confirm(market, runner, order, bytes(32))
    mine = earnings(market, owner.address, lambda *_: tree)
    assert len(mine) == 34  # the leaf of 0 is nothing to earn
    done = claim(market, world.relayer, mine)
    assert (len(done.sent), len(done.paid), done.skipped) == (-(-34 // CLAIMS), 34, ())
    assert balance(market, owner.address).tokens == tree.total
    assert standing(market, order.job_id).remaining == 0


def test_the_opening_tree_is_claimable_from_stop_when_everybody_stays_silent(world):
    market = world.market
    trainer, runner, owner = world.person(tokens=500), world.person(), world.person()
    tree = SumTree([leaf(owner, 500)])
    order = paid_job(world, trainer, runner, tree)
    market.chain.advance(86400)
    (mine,) = earnings(market, owner.address, lambda *_: tree)
    assert mine.state is EarningState.CLAIMABLE
    assert claim(market, world.relayer, [mine]).paid[0].state is EarningState.PAID
    assert balance(market, owner.address).tokens == 500
    assert standing(market, order.job_id).statement is None


def test_the_keepers_statement_lowers_a_leaf_and_refunds_the_difference(world):
    market = world.market
    trainer, runner = world.person(tokens=1_000), world.person()
    one, two = world.person(), world.person()
    tree = SumTree([leaf(one, 600), leaf(two, 400)])
    order = paid_job(world, trainer, runner, tree)
    final = tree.lowered({tree.leaves[1].consent_id: 0})
    digest = settlement_digest(market.chain_id, market.escrow.address, order.job_id, final.root, bytes(32))
    signatures = {key.address: key.sign_hash(digest) for key in KEEPERS}
    with pytest.raises(Refused, match="2 of the committee"):
        settle(market, world.relayer, order, final.root, bytes(32), dict(list(signatures.items())[:2]))
    forged = signatures | {KEEPERS[1].address: one.sign_hash(digest)}
    with pytest.raises(Refused, match="not the keepers"):
        settle(market, world.relayer, order, final.root, bytes(32), forged)
    settled = settle(market, world.relayer, order, final.root, bytes(32), signatures)
    assert balance(market, trainer.address).deposited == 400
    trees = {tree.root: tree, final.root: final}
    (mine,) = earnings(market, one.address, lambda _, root: trees.get(root))
    assert (mine.state, mine.amount) == (EarningState.CLAIMABLE, 600)
    assert earnings(market, two.address, lambda _, root: trees.get(root)) == []
    assert earnings(market, one.address, lambda *_: tree) == []
    assert len(claim(market, world.relayer, [mine]).paid) == 1
    assert settle(market, world.relayer, order, final.root, bytes(32), signatures) == settled


@pytest.mark.parametrize("signers", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_q_signatures_settle_whichever_keepers_gave_them(world, signers):
    market, tree = world.market, SumTree([leaf(world.person(), 600)])
    trainer, runner = world.person(tokens=1_000), world.person()
    deposit(market, trainer, tree.total)
    lane, former = free_lane(market, trainer.address)
    order, _ = open_job(market, trainer, replace(world.order(trainer, runner, tree, lane), q=2), [], former)
    digest = settlement_digest(market.chain_id, market.escrow.address, order.job_id, 0, bytes(32))
    signatures = {KEEPERS[i].address: KEEPERS[i].sign_hash(digest) for i in reversed(signers)}
    settle(market, world.relayer, order, 0, bytes(32), signatures)
    assert balance(market, trainer.address).deposited == 600


def test_a_claim_with_a_foreign_tree_is_skipped_and_the_rest_of_the_batch_is_paid(world):
    market = world.market
    trainer, runner, owner, thief = world.person(tokens=500), world.person(tokens=1), world.person(), world.person()
    tree = SumTree([leaf(owner, 300), leaf(owner, 200)])
    order = paid_job(world, trainer, runner, tree)
    confirm(market, runner, order, bytes(32))
    mine = earnings(market, owner.address, lambda *_: tree)
    stolen = SumTree([Leaf(tree.leaves[0].consent_id, thief.address, 300), tree.leaves[1]])
    done = claim(market, world.relayer, [replace(mine[0], tree=stolen), mine[1]])
    assert [x.amount for x in done.paid] == [200]
    assert done.skipped[0][1] == "Its tree is not the job's."
    assert balance(market, thief.address).tokens == 0


def test_a_lane_is_reused_once_paid_out_and_old_claims_do_not_come_back(world):
    market = world.market
    trainer, runner, owner = world.person(tokens=1_000), world.person(tokens=1), world.person()
    tree = SumTree([leaf(owner, 400)])
    first = paid_job(world, trainer, runner, tree)
    assert free_lane(market, trainer.address) == (1, [0, 0, 0])
    confirm(market, runner, first, bytes(32))
    (mine,) = earnings(market, owner.address, lambda *_: tree)
    claim(market, world.relayer, [mine])
    lane, former = free_lane(market, trainer.address)
    assert (lane, former[1]) == (0, tree.root)
    again = paid_job(world, trainer, runner, tree)
    assert (again.lane, again.job_id != first.job_id) == (0, True)
    assert claim(market, world.relayer, [mine]).skipped[0][1] == "The lane serves another job now."
    states = [x.state for x in earnings(market, owner.address, lambda *_: tree)]
    assert states == [EarningState.PAID, EarningState.IN_ESCROW]
    assert not standing(market, first.job_id).current


def test_an_open_job_that_pays_nothing_keeps_its_lane(world):
    market = world.market
    trainer, runner, owner = world.person(tokens=1), world.person(tokens=1), world.person()
    tree = SumTree([leaf(owner, 0)])
    order, _ = open_job(market, trainer, world.order(trainer, runner, tree), [], [0, 0, 0])
    market.chain.mine()
    assert free_lane(market, trainer.address)[0] == 1
    confirm(market, runner, order, bytes(32))
    assert free_lane(market, trainer.address)[0] == 0


def test_what_nobody_claims_returns_after_180_days_and_not_before(world):
    market = world.market
    trainer, runner, owner = world.person(tokens=300), world.person(tokens=1), world.person()
    tree = SumTree([leaf(owner, 300)])
    order = paid_job(world, trainer, runner, tree)
    confirm(market, runner, order, bytes(32))
    with pytest.raises(Refused, match="time to claim"):
        reclaim(market, trainer, order.job_id)
    market.chain.advance(CLAIM_TIME + 5)
    reclaim(market, trainer, order.job_id)
    assert balance(market, trainer.address).deposited == 300
    (mine,) = earnings(market, owner.address, lambda *_: tree)
    assert mine.state is EarningState.EXPIRED
    with pytest.raises(NotFound):
        reclaim(market, owner, order.job_id)
    with pytest.raises(NotFound):
        standing(market, bytes(32))


def test_counted_consents_lose_a_use_when_the_job_opens(world):
    market = world.market
    owner, trainer, runner = world.person(), world.person(tokens=1_000), world.person()
    signed = world.consent(owner, grantee=trainer.address, max_uses=1)
    grant(market, world.relayer, [signed])
    mine = consent_id(market, signed.consent)
    tree = SumTree([Leaf(mine, owner.address, 100)])
    deposit(market, trainer, 100)
    with pytest.raises(InvalidInput):
        prepare_open(market, trainer, world.order(trainer, runner, tree, counted=(mine,)), [], [0, 0, 0])
    plan = world.order(trainer, runner, tree, counted=(mine,))
    order, _ = open_job(market, trainer, plan, [signed.consent], [0, 0, 0])
    assert int(market.escrow.read("lanes", trainer.address, 0)) == order.open_word
    assert status(market, signed.consent, trainer.address) is TokenStatus.USED_UP
    with pytest.raises(Refused, match="used up"):
        open_job(market, trainer, replace(plan, lane=1), [signed.consent], [0, 0, 0])


def test_an_order_of_another_payer_or_escrow_is_not_sent(world):
    market = world.market
    trainer, runner = world.person(), world.person()
    order = world.order(trainer, runner, SumTree([leaf(runner, 1)]))
    for wrong in (
        replace(order, payer=runner.address),
        replace(order, escrow=runner.address),
        replace(order, chain_id=1),
    ):
        with pytest.raises(InvalidInput):
            prepare_open(market, trainer, wrong, [], [0, 0, 0])
    with pytest.raises(InvalidInput):
        confirm(market, trainer, order, bytes(32))


def test_a_receipt_that_opened_something_else_is_not_believed(world):
    market = world.market
    trainer, runner, owner = world.person(tokens=100), world.person(), world.person()
    tree = SumTree([leaf(owner, 100)])
    deposit(market, trainer, 100)
    plan = world.order(trainer, runner, tree)
    receipt = market.chain.submit(prepare_open(market, trainer, plan, [], [0, 0, 0]))
    assert read_opening(market, plan, receipt).opened == market.chain.block(receipt.block_hash).timestamp
    with pytest.raises(Corrupted):
        read_opening(market, replace(plan, fee=1), receipt)


def test_a_job_without_enough_deposit_is_refused(world):
    trainer, runner, owner = world.person(tokens=10), world.person(), world.person()
    deposit(world.market, trainer, 10)
    with pytest.raises(Refused, match="deposit too low"):
        open_job(world.market, trainer, world.order(trainer, runner, SumTree([leaf(owner, 11)])), [], [0, 0, 0])
