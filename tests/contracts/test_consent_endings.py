"""How owners and holders end consents, by themselves and through relayers, and how uses are counted."""

from __future__ import annotations

from typing import Any

import pytest

from consent.grant import Consent, nonce_of
from consent.typed import revoke_all_digest, revoke_digest, revoke_nonces_digest, surrender_digest
from core.errors import Refused
from core.ids import NOBODY
from tests.contracts.world import DAY, OTHER_OWNER, OWNER, RELAYER, STRANGER, TRAINER, World, tree_of

LIVE, NEVER, BURNED, EPOCH, NONCE, NOT_YET, EXPIRED, USED = range(8)


def granted(world: World, bit: int = 0, **changes: Any) -> Consent:
    consent = world.consent(bit, **changes)
    world.send(OWNER, world.token, "grant", consent.as_tuple())
    return consent


def domain(world: World) -> tuple[int, bytes]:
    return world.chain.chain_id, world.token.address


# -- revoke -----------------------------------------------------------------------------------------------------------


def test_a_revoked_token_is_gone_and_stays_gone(world: World) -> None:
    consent = granted(world)
    receipt = world.send(OWNER, world.token, "revoke", consent.as_tuple(), TRAINER.address)
    token_id = int.from_bytes(world.id(consent), "big")
    assert world.events(receipt, "Transfer") == [{"sender": TRAINER.address, "receiver": NOBODY, "token_id": token_id}]
    assert world.word(consent) == consent.expiry << 16
    assert world.token.read("balanceOf", TRAINER.address) == 0
    again = world.send(OWNER, world.token, "revoke", consent.as_tuple(), TRAINER.address)
    assert again.logs == ()
    assert world.token.read("balanceOf", TRAINER.address) == 0


def test_revoking_before_the_mint_leaves_a_tombstone(world: World) -> None:
    consent = world.consent()
    receipt = world.send(OWNER, world.token, "revoke", consent.as_tuple(), TRAINER.address)
    assert world.events(receipt, "Tombstoned") == [{"id": world.id(consent)}]
    assert world.events(receipt, "Transfer") == []
    assert world.status(consent) == BURNED
    assert world.token.read("balanceOf", TRAINER.address) == 0


@pytest.mark.parametrize("who", [TRAINER, STRANGER, OTHER_OWNER])
def test_only_the_owner_revokes(world: World, who: Any) -> None:
    consent = granted(world)
    world.refused("not the owner", who, world.token, "revoke", consent.as_tuple(), TRAINER.address)


@pytest.mark.parametrize("holder", [STRANGER.address, NOBODY])
def test_revoking_towards_somebody_who_cannot_hold_it_is_refused_not_ignored(world: World, holder: bytes) -> None:
    consent = granted(world)
    world.refused("wrong holder", OWNER, world.token, "revoke", consent.as_tuple(), holder)
    offer = world.consent(1, grantee=NOBODY)
    world.refused("wrong holder", OWNER, world.token, "revoke", offer.as_tuple(), NOBODY)


def test_revoking_one_taker_leaves_the_offer_open_and_its_nonce_ends_all(world: World) -> None:
    offer = world.consent(9, grantee=NOBODY)
    for taker in (TRAINER, STRANGER):
        world.send(taker, world.token, "take", offer.as_tuple(), world.sign(offer))
    world.send(OWNER, world.token, "revoke", offer.as_tuple(), TRAINER.address)
    assert [world.status(offer, x.address) for x in (TRAINER, STRANGER, RELAYER)] == [BURNED, LIVE, NEVER]
    world.send(OWNER, world.token, "revoke_nonces", 0, 1 << 9)
    assert [world.status(offer, x.address) for x in (TRAINER, STRANGER)] == [BURNED, NONCE]
    world.refused("nonce revoked", RELAYER, world.token, "take", offer.as_tuple(), world.sign(offer))


def test_a_relayer_sends_the_owners_revocation_of_many(world: World) -> None:
    minted, unminted = granted(world, 0), world.consent(1)
    offer = world.consent(2, grantee=NOBODY)
    world.send(STRANGER, world.token, "take", offer.as_tuple(), world.sign(offer))
    consents = [minted, unminted, offer]
    holders = [TRAINER.address, TRAINER.address, STRANGER.address]
    ids = [world.id(c, h) for c, h in zip(consents, holders, strict=True)]
    signature = OWNER.sign_hash(revoke_digest(*domain(world), OWNER.address, ids))
    arguments = ([c.as_tuple() for c in consents], holders, signature)
    world.send(RELAYER, world.token, "revoke_by_sig", *arguments)
    assert [world.status(c, h) for c, h in zip(consents, holders, strict=True)] == [BURNED] * 3
    assert world.send(STRANGER, world.token, "revoke_by_sig", *arguments).logs == ()  # a replay changes nothing


@pytest.mark.parametrize("case", ["stranger", "fewer ids", "other order", "two owners", "lengths", "none", "holder"])
def test_a_revocation_that_the_owner_did_not_sign_so_is_refused(world: World, case: str) -> None:
    a, b = granted(world, 0), granted(world, 1)
    consents, holders = [a, b], [TRAINER.address, TRAINER.address]
    ids, signer, words = [world.id(a), world.id(b)], OWNER, "bad signature"
    if case == "stranger":
        signer = STRANGER
    elif case == "fewer ids":
        ids = ids[:1]
    elif case == "other order":
        ids = ids[::-1]
    elif case == "two owners":
        consents, words = [a, world.consent(1, owner=OTHER_OWNER.address)], "not the owner"
    elif case == "lengths":
        holders, words = holders[:1], "one holder per consent"
    elif case == "none":
        consents, holders, ids, words = [], [], [], "nothing to revoke"
    else:
        holders, words = [TRAINER.address, STRANGER.address], "wrong holder"
    signature = signer.sign_hash(revoke_digest(*domain(world), OWNER.address, ids))
    structs = [c.as_tuple() for c in consents]
    world.refused(words, RELAYER, world.token, "revoke_by_sig", structs, holders, signature)
    assert world.status(a) == LIVE


# -- surrender --------------------------------------------------------------------------------------------------------


def test_a_holder_gives_tokens_back_and_refuses_others_for_good(world: World) -> None:
    minted, unminted = granted(world, 0), world.consent(1)
    world.send(TRAINER, world.token, "surrender", [minted.as_tuple(), unminted.as_tuple()])
    assert [world.status(c) for c in (minted, unminted)] == [BURNED, BURNED]
    world.refused("burned", OWNER, world.token, "grant", unminted.as_tuple())


@pytest.mark.parametrize("who", [STRANGER, OWNER])
def test_nobody_surrenders_anothers_token(world: World, who: Any) -> None:
    consent = granted(world)
    world.refused("wrong holder", who, world.token, "surrender", [consent.as_tuple()])
    offer = world.consent(1, grantee=NOBODY)
    world.send(TRAINER, world.token, "take", offer.as_tuple(), world.sign(offer))
    world.send(who, world.token, "surrender", [offer.as_tuple()])  # refuses the offer for itself alone
    assert world.status(offer, TRAINER.address) == LIVE


def test_a_relayer_sends_the_holders_surrender(world: World) -> None:
    consent = granted(world)
    forged = STRANGER.sign_hash(surrender_digest(*domain(world), TRAINER.address, [world.id(consent)]))
    structs = [consent.as_tuple()]
    world.refused("bad signature", RELAYER, world.token, "surrender_by_sig", structs, TRAINER.address, forged)
    owners = OWNER.sign_hash(revoke_digest(*domain(world), OWNER.address, [world.id(consent)]))
    world.refused("bad signature", RELAYER, world.token, "surrender_by_sig", structs, TRAINER.address, owners)
    signature = TRAINER.sign_hash(surrender_digest(*domain(world), TRAINER.address, [world.id(consent)]))
    world.refused("wrong holder", RELAYER, world.token, "surrender_by_sig", structs, STRANGER.address, signature)
    world.send(RELAYER, world.token, "surrender_by_sig", structs, TRAINER.address, signature)
    assert world.status(consent) == BURNED


# -- nonces and epochs ------------------------------------------------------------------------------------------------


def test_revocation_bits_only_ever_get_more(world: World) -> None:
    for mask in (0b0110, 0b1000, 0, 0b0010):
        world.send(OWNER, world.token, "revoke_nonces", 5, mask)
    assert world.token.read("revoked_words", OWNER.address, 5) == 0b1110
    assert world.token.read("revoked_words", OWNER.address, 4) == 0
    assert world.token.read("revoked_words", OTHER_OWNER.address, 5) == 0


def test_one_call_ends_256_signatures_whether_minted_or_in_a_drawer(world: World) -> None:
    last = 2**56 - 1
    minted = granted(world, nonce=nonce_of(0, last, 255))
    drawer = world.consent(nonce=nonce_of(0, last, 0))
    beside = granted(world, nonce=nonce_of(0, last - 1, 255))
    world.send(OWNER, world.token, "revoke_nonces", last, 2**256 - 1)
    assert world.status(minted) == NONCE
    world.refused("nonce revoked", OWNER, world.token, "grant", drawer.as_tuple())
    assert world.status(beside) == LIVE


def test_words_beyond_56_bits_touch_no_other_owner(world: World) -> None:
    word = 2**56
    world.refused("no such word", OWNER, world.token, "revoke_nonces", word, 1)
    digest = revoke_nonces_digest(*domain(world), OWNER.address, word, 1)
    signature = OWNER.sign_hash(digest)
    world.refused("no such word", RELAYER, world.token, "revoke_nonces_by_sig", OWNER.address, word, 1, signature)
    with pytest.raises(Refused, match="no such word"):
        world.token.read("revoked_words", OWNER.address, word)


def test_a_relayer_sends_the_owners_revoked_nonces(world: World) -> None:
    consent = granted(world, 3)
    digest = revoke_nonces_digest(*domain(world), OWNER.address, 0, 1 << 3)
    signature = OWNER.sign_hash(digest)
    for arguments in (
        (OWNER.address, 0, 1 << 4, signature),
        (OWNER.address, 1, 1 << 3, signature),
        (OTHER_OWNER.address, 0, 1 << 3, signature),
        (OWNER.address, 0, 1 << 3, STRANGER.sign_hash(digest)),
    ):
        world.refused("bad signature", RELAYER, world.token, "revoke_nonces_by_sig", *arguments)
    assert world.status(consent) == LIVE
    world.send(RELAYER, world.token, "revoke_nonces_by_sig", OWNER.address, 0, 1 << 3, signature)
    assert world.status(consent) == NONCE


def test_revoke_all_ends_everything_before_it_and_nothing_after(world: World) -> None:
    old = granted(world, 0)
    receipt = world.send(OWNER, world.token, "revoke_all")
    assert world.events(receipt, "EpochRaised") == [{"owner": OWNER.address, "epoch": 1}]
    assert world.status(old) == EPOCH
    new = granted(world, nonce=nonce_of(1, 0, 0))
    assert world.status(new) == LIVE
    assert world.token.read("epochs", OTHER_OWNER.address) == 0


def test_a_replayed_revoke_all_counts_once(world: World) -> None:
    signature = OWNER.sign_hash(revoke_all_digest(*domain(world), OWNER.address, 0))
    arguments = (OWNER.address, 0, signature)
    world.send(RELAYER, world.token, "revoke_all_by_sig", *arguments)
    fresh = granted(world, nonce=nonce_of(1, 0, 0))
    world.refused("not the current epoch", STRANGER, world.token, "revoke_all_by_sig", *arguments)
    world.refused("bad signature", STRANGER, world.token, "revoke_all_by_sig", OWNER.address, 1, signature)
    assert world.status(fresh) == LIVE


def test_nobody_raises_anothers_epoch(world: World) -> None:
    signature = STRANGER.sign_hash(revoke_all_digest(*domain(world), OWNER.address, 0))
    world.refused("bad signature", STRANGER, world.token, "revoke_all_by_sig", OWNER.address, 0, signature)
    ahead = OWNER.sign_hash(revoke_all_digest(*domain(world), OWNER.address, 1))
    world.refused("not the current epoch", STRANGER, world.token, "revoke_all_by_sig", OWNER.address, 1, ahead)


# -- uses -------------------------------------------------------------------------------------------------------------


def counted(world: World, bit: int = 0, uses: int = 1, **changes: Any) -> Consent:
    return granted(world, bit, max_uses=uses, **changes)


def opening(world: World, lane: int, consents: list[Consent]) -> tuple[Any, ...]:
    return (
        lane, world.now + DAY, STRANGER.address, bytes(32), 0, [c.as_tuple() for c in consents], [0, 0, 0],
    )  # fmt: skip


def test_each_job_takes_one_use_and_never_gives_it_back(world: World) -> None:
    consent = counted(world, uses=2)
    tree = tree_of(5)
    world.fund(TRAINER, 100)
    job = world.open(tree.root, lane=0, counted=[consent])
    assert world.word(consent) & 0xFFFF == 1
    world.settle(job, 0)
    assert world.word(consent) & 0xFFFF == 1
    world.open(tree.root, lane=1, counted=[consent])
    assert world.status(consent) == USED
    world.refused("used up", TRAINER, world.escrow, "open", *opening(world, 2, [consent]))


def test_a_consent_for_one_use_is_counted_in_one_job_only(world: World) -> None:
    consent, other = counted(world, 0), counted(world, 1)
    world.refused("used up", TRAINER, world.escrow, "open", *opening(world, 0, [other, consent, consent]))
    assert world.word(consent) & 0xFFFF == 0
    world.send(TRAINER, world.escrow, "open", *opening(world, 0, [consent]))
    world.refused("used up", TRAINER, world.escrow, "open", *opening(world, 1, [other, consent]))
    assert world.status(other) == LIVE  # all count or none


def test_a_use_counts_only_through_the_consents_own_escrow(world: World) -> None:
    consent = counted(world)
    for who in (STRANGER, TRAINER, OWNER):
        world.refused("not the consent's escrow", who, world.token, "use", TRAINER.address, [consent.as_tuple()])
    foreign = counted(world, 1, escrow=STRANGER.address)
    world.refused("not the consent's escrow", TRAINER, world.escrow, "open", *opening(world, 0, [foreign]))


def test_strangers_cannot_burn_anothers_uses(world: World) -> None:
    consent = counted(world)
    world.refused("never minted", STRANGER, world.escrow, "open", *opening(world, 0, [consent]))
    offer = world.consent(5, grantee=NOBODY, max_uses=1)
    for taker in (TRAINER, STRANGER):
        world.send(taker, world.token, "take", offer.as_tuple(), world.sign(offer))
    world.send(STRANGER, world.escrow, "open", *opening(world, 0, [offer]))
    assert world.status(offer, STRANGER.address) == USED
    assert world.status(offer, TRAINER.address) == LIVE
    assert world.status(consent) == LIVE


@pytest.mark.parametrize("case", ["burned", "nonce revoked", "epoch ended", "not yet valid", "expired", "never minted"])
def test_only_a_live_token_is_used(world: World, case: str) -> None:
    now = world.now
    times = {"not_before": now + DAY} if case == "not yet valid" else {"expiry": now + 1000}
    consent = world.consent(2, max_uses=3, **times)
    if case != "never minted":
        world.send(OWNER, world.token, "grant", consent.as_tuple())
    if case == "burned":
        world.send(OWNER, world.token, "revoke", consent.as_tuple(), TRAINER.address)
    elif case == "nonce revoked":
        world.send(OWNER, world.token, "revoke_nonces", 0, 0b100)
    elif case == "epoch ended":
        world.send(OWNER, world.token, "revoke_all")
    elif case == "expired":
        world.advance(2000)
    world.refused(case, TRAINER, world.escrow, "open", *opening(world, 0, [consent]))


def test_an_unlimited_consent_is_not_counted(world: World) -> None:
    world.refused("not counted", TRAINER, world.escrow, "open", *opening(world, 0, [granted(world)]))


def test_an_escrow_counts_up_to_64_uses_at_once_and_not_one_more_than_granted(world: World) -> None:
    consent = counted(world, uses=64, escrow=STRANGER.address)
    structs = [consent.as_tuple()] * 64
    world.send(STRANGER, world.token, "use", TRAINER.address, structs)
    assert world.word(consent) == int.from_bytes(TRAINER.address, "big") << 96 | consent.expiry << 16 | 64
    world.refused("used up", STRANGER, world.token, "use", TRAINER.address, structs[:1])
    with pytest.raises(Refused):
        world.send(STRANGER, world.token, "use", TRAINER.address, structs + structs[:1])
