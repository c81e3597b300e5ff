"""Ending consents: signed once by the owner, sent to the chain by a relayer and, the same bytes, to keepers.

Promises: what is signed here is valid for both; nothing here needs the owner to have gas. A signature handed to the
keepers counts with each that stored it, before any block has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consent.chain.account import Account
from consent.grant import Consent
from consent.keeper.revocation import Revocation, Revoke, RevokeAll, RevokeNonces, write_revocation
from consent.keeper.wire import sign as envelope
from consent.market.granting import consent_id
from consent.market.place import BATCH, Market, Relayer, Sent
from consent.typed import surrender_digest
from core.encoding import to_hex
from core.errors import InvalidInput
from core.ids import Address


@dataclass(frozen=True)
class SignedRevocation:
    """An owner's revocation with its signature; `consents` and `holders` spell out the ids of a Revoke."""

    message: Revocation
    signature: bytes
    consents: tuple[Consent, ...] = ()
    holders: tuple[Address, ...] = ()

    def for_keepers(self) -> bytes:
        """The request that keepers take at /revoke."""
        return envelope(write_revocation(self.message), self.signature)


def sign_revoke(market: Market, owner: Account, tokens: Sequence[tuple[Consent, Address]]) -> list[SignedRevocation]:
    """End these tokens, each given with its holder, minted or not: one signature for every sixteen.

    For an offer this ends one taker's token; `sign_revoke_nonces` ends the offer itself.
    """
    out = []
    for start in range(0, len(tokens), BATCH):
        chunk = tokens[start : start + BATCH]
        if any(consent.owner != owner.address for consent, _ in chunk):
            raise InvalidInput("Only its owner revokes a consent.", hint="Act as its owner: --as NAME.")
        ids = tuple(consent_id(market, consent, holder) for consent, holder in chunk)
        message = Revoke(owner.address, ids)
        signature = owner.sign_hash(message.digest(market.chain_id, market.token.address))
        consents, holders = tuple(consent for consent, _ in chunk), tuple(holder for _, holder in chunk)
        out.append(SignedRevocation(message, signature, consents, holders))
    return out


def sign_revoke_nonces(market: Market, owner: Account, consents: Sequence[Consent]) -> list[SignedRevocation]:
    """End these signatures, in a drawer or minted, for every taker: one message for each word of 256 nonces."""
    masks: dict[int, int] = {}
    for consent in consents:
        if consent.owner != owner.address:
            raise InvalidInput("Only its owner revokes a consent.", hint="Act as its owner: --as NAME.")
        masks[consent.word] = masks.get(consent.word, 0) | 1 << consent.bit
    out = []
    for word, mask in sorted(masks.items()):
        message = RevokeNonces(owner.address, word, mask)
        out.append(SignedRevocation(message, owner.sign_hash(message.digest(market.chain_id, market.token.address))))
    return out


def sign_revoke_all(market: Market, owner: Account) -> SignedRevocation:
    """End every consent of the owner's current epoch."""
    message = RevokeAll(owner.address, int(market.token.read("epochs", owner.address)))
    return SignedRevocation(message, owner.sign_hash(message.digest(market.chain_id, market.token.address)))


def relay_revocation(market: Market, relayer: Relayer, revocation: SignedRevocation) -> Sent:
    """Put a signed revocation on chain at the relayer's cost."""
    message, signature = revocation.message, revocation.signature
    key = f"revoke {to_hex(signature)}"  # whoever sends it and however often: one signature, one revocation
    if isinstance(message, Revoke):
        structs = [consent.as_tuple() for consent in revocation.consents]
        holders = list(revocation.holders)
        return relayer.send("revoke", market.token, "revoke_by_sig", structs, holders, signature, key=key)
    if isinstance(message, RevokeNonces):
        word = (message.owner, message.word, message.mask, signature)
        return relayer.send("revoke nonces", market.token, "revoke_nonces_by_sig", *word, key=key)
    epoch = (message.owner, message.epoch, signature)
    return relayer.send("revoke all", market.token, "revoke_all_by_sig", *epoch, key=key)


def surrender(market: Market, relayer: Relayer, holder: Account, consents: Sequence[Consent]) -> list[Sent]:
    """Give consent tokens back, by the holder's signature."""
    out = []
    for start in range(0, len(consents), BATCH):
        chunk = consents[start : start + BATCH]
        ids = [consent_id(market, consent, holder.address) for consent in chunk]
        signature = holder.sign_hash(surrender_digest(market.chain_id, market.token.address, holder.address, ids))
        structs = [consent.as_tuple() for consent in chunk]
        out.append(relayer.send("surrender", market.token, "surrender_by_sig", structs, holder.address, signature))
    return out
