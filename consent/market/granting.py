"""Consents on chain: drafting with a fresh nonce, signing, granting through the relayer, taking an offer, asking.

Promises: one nonce serves one consent; a bad consent in a batch is reported, never a reason to lose the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from consent.chain.account import Account, recover
from consent.chain.client import BlockId
from consent.grant import Consent, nonce_of
from consent.market.place import BATCH, Market, Relayer, Sent
from consent.purposes import purpose
from consent.terms import Terms
from consent.validity import TokenStatus
from core.errors import Conflict, InvalidInput, Refused
from core.ids import NOBODY, Address, Asset, ConsentId

WALLETS = 12  # consents of contract wallets in one call: below the gas that one transaction may take (EIP-7825)
WALLET_GAS = 1_150_000  # what ConsentToken grants an ERC-1271 wallet, and the mint

_SKIPPED = {
    2: "It was revoked, or given back.",
    3: "The owner revoked all consents of its epoch.",
    4: "The owner revoked its nonce.",
    6: "It has expired.",
    8: "It was granted before.",
    9: "It is malformed.",
    10: "It is an offer: its trainer takes it.",
    11: "Its owner did not sign it.",
}


@dataclass(frozen=True)
class SignedConsent:
    """A consent and its owner's signature over its digest."""

    consent: Consent
    signature: bytes


@dataclass(frozen=True)
class Granted:
    """What became of a batch: ids of minted tokens, what was skipped and why, the transactions."""

    minted: tuple[ConsentId, ...]
    skipped: tuple[tuple[SignedConsent, str], ...]
    sent: tuple[Sent, ...]


def next_nonce(market: Market, owner: Address, signed: Iterable[Consent]) -> int:
    """A nonce of the owner's current epoch that no consent had: above all of `signed`, past every revoked bit.

    `signed` is every consent this owner ever signed, from the vault's records. Counting upwards fills a word before
    the next begins, so that later revocations write to a slot that is already in use.
    """
    epoch = int(market.token.read("epochs", owner))
    used = [consent.nonce & (2**64 - 1) for consent in signed if consent.owner == owner]
    place = max(used, default=-1) + 1
    while place < 2**64:
        word, bit = place >> 8, place & 255
        free = ~int(market.token.read("revoked_words", owner, word)) >> bit
        ahead = free & ((1 << (256 - bit)) - 1)
        if ahead:
            return nonce_of(epoch, word, bit + (ahead & -ahead).bit_length() - 1)
        place = (word + 1) << 8
    raise Conflict("This owner has used up every nonce.", hint="Begin a new epoch with a new address.")


def draft(
    market: Market,
    owner: Address,
    asset: Asset,
    terms: Terms,
    purpose_code: str,
    signed: Iterable[Consent],
    *,
    grantee: Address = NOBODY,
    not_before: int | None = None,
    expiry: int | None = None,
    max_uses: int | None = None,
) -> Consent:
    """A consent under these terms, ready to sign: for `grantee`, or an offer without one.

    It begins now unless told; it ends with the terms and has their uses unless told less.
    """
    if purpose_code not in terms.purposes:
        raise InvalidInput(
            f"The terms do not allow the purpose '{purpose_code}'.", hint=f"They allow {', '.join(terms.purposes)}."
        )
    uses = terms.max_uses if max_uses is None else max_uses
    if terms.max_uses and not 0 < uses <= terms.max_uses:
        raise InvalidInput(
            "The terms allow fewer uses than this consent.", hint=f"Choose between 1 and {terms.max_uses}."
        )
    return Consent(
        owner=owner,
        grantee=grantee,
        asset=asset,
        terms=terms.hash,
        purpose=purpose(purpose_code).hash,
        runner=terms.runner,
        escrow=market.escrow.address,
        not_before=_now(market) if not_before is None else not_before,
        expiry=terms.expiry if expiry is None else min(expiry, terms.expiry),
        max_uses=uses,
        nonce=next_nonce(market, owner, signed),
    )


def sign(market: Market, owner: Account, consent: Consent) -> SignedConsent:
    """The owner's signature; keep it in the vault's records before it is handed to anyone."""
    if owner.address != consent.owner:
        raise InvalidInput("Only its owner signs a consent.")
    return SignedConsent(consent, owner.sign_hash(consent.digest(market.chain_id, market.token.address)))


def check_signature(market: Market, signed: SignedConsent) -> None:
    """`Refused` unless the owner's own key signed. (A contract wallet's signature only the chain can check.)"""
    try:
        signer = recover(signed.consent.digest(market.chain_id, market.token.address), signed.signature)
    except InvalidInput:
        signer = NOBODY
    if signer != signed.consent.owner and not market.chain.code(signed.consent.owner):
        raise Refused("The consent is not signed by its owner.", hint="Ask the owner for a new one.")


def consent_id(market: Market, consent: Consent, holder: Address | None = None) -> ConsentId:
    """The token's id; `holder` is needed for an offer."""
    return consent.id(market.chain_id, market.token.address, consent.holder(holder))


def grant(market: Market, relayer: Relayer, consents: Sequence[SignedConsent]) -> Granted:
    """Mint the tokens of consents that name their trainer, in batches; a bad one is skipped and reported."""
    named = [signed for signed in consents if not signed.consent.is_offer]
    skipped = [(signed, "An offer is taken by its trainer, not granted.") for signed in consents if signed not in named]
    minted: list[ConsentId] = []
    sent = []
    for batch, gas in _batches(market, named):
        structs = [signed.consent.as_tuple() for signed in batch]
        done = relayer.send("grant", market.token, "redeem", structs, [signed.signature for signed in batch], gas=gas)
        sent.append(done)
        # One event for each consent, in their order: its mint, or why it was skipped.
        events = [e for e in market.token.decode(done.receipt.logs) if e.name in ("Transfer", "Skipped")]
        for signed, event in zip(batch, events, strict=True):
            if event.name == "Transfer":
                minted.append(consent_id(market, signed.consent))
            else:
                reason = int(event.args["reason"])
                skipped.append((signed, _SKIPPED.get(reason, "The contract skipped it for another reason.")))
    return Granted(tuple(minted), tuple(skipped), tuple(sent))


def is_granted(market: Market, consent: Consent) -> bool:
    """Whether the trainer that it names holds its token, live or not, whoever sent it to the chain."""
    return status(market, consent, consent.grantee) not in (TokenStatus.NEVER_MINTED, TokenStatus.BURNED)


def is_over(market: Market, consent: Consent) -> bool:
    """Whether its token is not there and never will be, whoever has the signature: what ended it is for good.

    (That a wallet denies having signed is not: tomorrow it may say otherwise.)
    """
    head = market.chain.block()
    found = status(market, consent, consent.grantee, head.hash)
    if found is not TokenStatus.NEVER_MINTED:
        return found is TokenStatus.BURNED
    epoch = int(market.token.read("epochs", consent.owner, block=head.hash))
    revoked = int(market.token.read("revoked_words", consent.owner, consent.word, block=head.hash))
    return head.timestamp >= consent.expiry or epoch > consent.epoch or revoked >> consent.bit & 1 == 1


def _now(market: Market) -> int:
    """The earlier of the chain's clock and ours: a consent counts only where it has begun by both, and the clock of a
    busy development chain runs ahead."""
    return min(market.chain.block().timestamp, int(time.time()))


def _batches(market: Market, named: list[SignedConsent]) -> Iterator[tuple[list[SignedConsent], int | None]]:
    """Batches of one call. Contract wallets go apart and with all the gas that the contract lets each of them use."""
    wallets = {owner for owner in {signed.consent.owner for signed in named} if market.chain.code(owner)}
    keyed = [signed for signed in named if signed.consent.owner not in wallets]
    for start in range(0, len(keyed), BATCH):
        yield keyed[start : start + BATCH], None
    walleted = [signed for signed in named if signed.consent.owner in wallets]
    for start in range(0, len(walleted), WALLETS):
        batch = walleted[start : start + WALLETS]
        yield batch, 100_000 + WALLET_GAS * len(batch)


def take(market: Market, trainer: Account, offer: SignedConsent) -> tuple[ConsentId, Sent]:
    """Take an open offer: the token is the trainer's own, minted in a transaction of the trainer's own."""
    if not offer.consent.is_offer:
        raise InvalidInput(
            "This consent names its trainer; it is granted, not taken.", hint="Take an offer: `allod consent list`."
        )
    receipt = market.token.transact(trainer, "take", offer.consent.as_tuple(), offer.signature)
    return consent_id(market, offer.consent, trainer.address), Sent("take", receipt)


def status(market: Market, consent: Consent, holder: Address, block: BlockId = "latest") -> TokenStatus | None:
    """What ConsentToken says of this consent's token; None for an answer that is not known here, which means no."""
    found = int(market.token.read("status", consent.as_tuple(), holder, block=block))
    return TokenStatus(found) if found in TokenStatus.__members__.values() else None
