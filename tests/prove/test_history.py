"""When a consent lived, as the chain's logs tell it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consent.chain.client import Chain
from consent.chain.embedded import developer
from consent.history import History, Life
from consent.market.place import Market, Relayer
from consent.market.revoking import relay_revocation, sign_revoke, sign_revoke_all, sign_revoke_nonces
from tests.job.worlds import World
from tests.prove.proofs import Forgetful, embedded_of

pytestmark = pytest.mark.needs_trainer


@pytest.fixture
def market(small_world: World) -> Iterator[Market]:
    """The small world's market on a chain of this test's own."""
    chain = Chain.embedded(embedded_of(small_world.chain).duplicate(), owned=True)
    yield Market(chain, small_world.deployment)
    chain.close()


def history(market: Market, chain: Chain | None = None) -> History:
    return History.of(chain or market.chain, market.deployment)


def test_a_life_begins_with_the_mint_and_ends_with_the_first_end() -> None:
    life = Life(5, ((8, "it was revoked"), (9, "everything was")))
    assert life.why_dead(4) == "it was granted only afterwards"
    assert life.why_dead(5) is None
    assert life.why_dead(7) is None
    assert life.why_dead(8) == "it was revoked", "whoever reads the state of that block sees it ended"
    assert life.why_dead(100) == "it was revoked"
    assert Life().why_dead(10**9) == "it was never granted on chain"


def test_revocations_show_in_their_block_and_touch_nobody_else(small_world: World, market: Market) -> None:
    owners, trainer, relayer = small_world.owners, small_world.trainer.address, Relayer(market.chain, developer())
    consents = {owner.consent_id: owner.signed.consent for owner in owners.values()}
    before = history(market).lives(consents, trainer)
    assert all(life.ends == () for life in before.values())
    assert before[owners["dario"].consent_id] == Life()
    ada, bruno = owners["ada"], owners["bruno"]
    for signed in sign_revoke(market, ada.account, [(ada.signed.consent, trainer)]):
        first = relay_revocation(market, relayer, signed).receipt.block_number
    second = relay_revocation(market, relayer, sign_revoke_all(market, bruno.account)).receipt.block_number
    after = history(market).lives(consents, trainer)
    assert [end[0] for end in after[ada.consent_id].ends] == [first]
    assert [end[0] for end in after[bruno.consent_id].ends] == [second]
    assert after[owners["chiara"].consent_id] == before[owners["chiara"].consent_id]
    other = history(market).lives(consents, bruno.account.address)
    assert other[ada.consent_id].minted is None, "nobody else held it"


def test_a_revoked_nonce_is_known_from_its_block_on_where_the_node_keeps_state(
    small_world: World, market: Market
) -> None:
    ada, consent = small_world.owners["ada"], small_world.owners["ada"].signed.consent
    before = market.chain.block().hash
    assert not history(market).nonce_ended_by(consent, [before])
    for signed in sign_revoke_nonces(market, ada.account, [consent]):
        relay_revocation(market, Relayer(market.chain, developer()), signed)
    after = market.chain.block().hash
    assert not history(market).nonce_ended_by(consent, [before])
    assert history(market).nonce_ended_by(consent, [before, after])
    forgetful = Forgetful(embedded_of(market.chain))
    assert not history(market, Chain(forgetful)).nonce_ended_by(consent, [before, after])
    assert forgetful.refused == 2


def test_assets_are_registered_by_their_owners_only(small_world: World, market: Market) -> None:
    consents = [owner.signed.consent for owner in small_world.owners.values()]
    wanted = {(consent.owner, consent.asset) for consent in consents}
    assert history(market).registered({consent.asset for consent in consents}) == wanted
    assert history(market).registered({bytes(32)}) == set()  # type: ignore[arg-type]
