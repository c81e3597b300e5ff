"""The questions a keeper asks the chain, each at a pinned block and the same of every endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consent.chain.client import Block, Chain
from consent.chain.contract import Contract
from consent.chain.deployment import Deployment
from consent.chain.wallet import GAS, is_yes, question
from consent.grant import Consent
from consent.keeper.sight import Sight, Watch
from consent.order import Order
from core.errors import InvalidInput, Refused
from core.ids import Address


class Facts:
    """One deployment through one or several endpoints."""

    def __init__(self, chains: Sequence[Chain], deployment: Deployment, clock: Callable[[], float]) -> None:
        self._chains = chains
        self._watch = Watch(chains, clock)
        contracts = deployment.contracts(chains[0])
        self._consents: Contract = contracts.consent_token
        self._escrow: Contract = contracts.escrow

    @property
    def is_development(self) -> bool:
        """Whether the chain is a development chain, whose time may be moved and runs ahead under load."""
        return self._chains[0].is_development

    def look(self) -> Sight:
        """The two blocks of one decision."""
        return self._watch.look()

    def lane_word(self, order: Order, block: Block) -> int:
        """The word of the order's lane in the escrow."""
        return self._number(self._escrow, "lanes", order.payer, order.lane, block=block)

    def status(self, consent: Consent, holder: Address, block: Block) -> int:
        """ConsentToken.status: 0 for a live token, else the reason."""
        return self._number(self._consents, "status", consent.as_tuple(), holder, block=block)

    def wallet_accepts(self, wallet: Address, digest: bytes, signature: bytes, block: Block) -> bool:
        """Whether the contract wallet at this address, if there is one, accepts the signature (ERC-1271)."""
        if not self._watch.code(wallet, block):
            return False
        try:
            return is_yes(self._watch.call(wallet, question(digest, signature), block, gas=GAS))
        except Refused:
            return False

    def ended_by_owner(self, consent: Consent, block: Block) -> bool:
        """Whether the owner's epoch or revocation bits end this consent. A burned token does not show who burned it."""
        if self._number(self._consents, "epochs", consent.owner, block=block) != consent.epoch:
            return True
        bits = self._number(self._consents, "revoked_words", consent.owner, consent.word, block=block)
        return bool(bits >> consent.bit & 1)

    def _number(self, contract: Contract, name: str, *args: object, block: Block) -> int:
        answer = self._watch.call(contract.address, contract.encode(name, *args), block)
        value = contract.interface.decode_result(name, len(args), answer)
        if not isinstance(value, int):
            raise InvalidInput(f"The contract's {name} gave no number.")
        return value
