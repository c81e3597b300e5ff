"""What a chain's event logs say about a job and its consents, for whoever verifies afterwards.

Only logs and block headers are read, never old state, with one exception that is said where it is made: the bits of
`revoke_nonces` leave no log.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent.chain.client import Chain
from consent.chain.contract import Contract, Event
from consent.contracts import load
from consent.grant import Consent
from consent.order import Order
from core.errors import AllodError
from core.ids import NOBODY, Address, Asset


@dataclass(frozen=True)
class Life:
    """When a consent token was minted, and every block in which something ended it, with what it was."""

    minted: int | None
    ends: tuple[tuple[int, str], ...]


class History:
    """The logs of one world's registry, consent token and escrow."""

    def __init__(self, chain: Chain, registry: Address, consent_token: Address, escrow: Address) -> None:
        self.chain = chain
        self.registry = Contract(chain, registry, load("DataRegistry").abi)
        self.token = Contract(chain, consent_token, load("ConsentToken").abi)
        self.escrow = Contract(chain, escrow, load("JobEscrow").abi)

    def opening(self, order: Order) -> Event | None:
        """The escrow's Opened event of exactly this order, if there is one."""
        for event in self.escrow.events("Opened", payer=order.payer, lane=order.lane):
            args = event.args
            same = (
                args["times"] == order.times
                and args["runner"] == order.runner
                and args["spec"] == order.spec
                and args["root"] == order.root
                and args["counted"] == order.counted_hash
            )
            if same:
                return event
        return None

    def settlements(self, order: Order) -> list[Event]:
        """The Settled events of this job: one where the runner confirmed or the keepers settled, else none."""
        found = self.escrow.events("Settled", payer=order.payer, lane=order.lane)
        return [event for event in found if event.args["times"] >> 40 == order.opened]

    def registration(self, owner: Address, asset: Asset) -> Event | None:
        """The owner's Registered event of this asset."""
        found = self.registry.events("Registered", owner=owner, asset=asset)
        return found[0] if found else None

    def life(self, consent: Consent, holder: Address) -> Life:
        """When the token of this consent and holder was minted, and what ended it when."""
        token_id = int.from_bytes(consent.id(self.chain.chain_id, self.token.address, holder), "big")
        minted = None
        ends: list[tuple[int, str]] = []
        for event in self.token.events("Transfer", token_id=token_id):
            if event.args["sender"] == NOBODY and event.args["receiver"] == holder:
                minted = event.block_number
            elif event.args["receiver"] == NOBODY:
                ends.append((event.block_number, "it was revoked or given back"))
        for event in self.token.events("EpochRaised", owner=consent.owner):
            if event.args["epoch"] > consent.epoch:
                ends.append((event.block_number, "the owner revoked everything"))
        return Life(minted, tuple(ends))

    def nonce_ended(self, consent: Consent, block: int | str = "latest") -> bool | None:
        """Whether the revocation bit of this consent's nonce is set at `block`; None if the node keeps no such state.

        Bits are never cleared: one that is clear now was always clear.
        """
        try:
            word = int(self.token.read("revoked_words", consent.owner, consent.word, block=block))
        except AllodError:
            if block == "latest":
                raise
            return None
        return bool(word >> consent.bit & 1)
