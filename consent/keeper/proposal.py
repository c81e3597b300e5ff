"""What ends a job at its keepers: the runner's ledger total after a revocation, and the proposal of a final tree.

A total is signed (EIP-712 LedgerTotal) by the job's runner, a proposal (EIP-712 Proposal) by its payer or runner. A
proposal without a tree only closes the job: its answer says what a final tree must respect.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from consent.fields import UINT64_MAX, constant, integer, octets
from consent.grant import Consent
from consent.keeper.wire import any_octets, read, write
from consent.order import Order
from consent.tree import SumTree
from consent.typed import ledger_total_digest, proposal_digest
from core.ids import Address, ConsentId

NO_STATEMENT = bytes(32)


@dataclass(frozen=True)
class LedgerTotal:
    """The runner's word: `record_epochs` of this consent's data went through the job before it was revoked."""

    order: Order
    consent: Consent
    record_epochs: int

    def consent_id(self, token: Address) -> ConsentId:
        """The id of the consent's token, which the job's payer holds."""
        return self.consent.id(self.order.chain_id, token, self.order.payer)

    def digest(self, token: Address) -> bytes:
        """What the runner signs."""
        order = self.order
        ended = self.consent_id(token)
        return ledger_total_digest(order.chain_id, order.escrow, order.job_id, ended, self.record_epochs)

    def encode(self) -> bytes:
        """The request's body."""
        return write(
            "ledger", order=self.order.encode(), consent=self.consent.encode(), record_epochs=self.record_epochs
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Parse exactly what `encode` writes, else `InvalidInput`."""
        fields = read(body, ("kind", "order", "consent", "record_epochs"), "The ledger total")
        constant(fields["kind"], "ledger", "The request's kind")
        return cls(
            Order.decode(any_octets(fields["order"], "The order")),
            Consent.decode(any_octets(fields["consent"], "The consent")),
            integer(fields["record_epochs"], "The record-epochs", at_most=UINT64_MAX),
        )


@dataclass(frozen=True)
class Proposal:
    """A final tree for a job and the hash of the runner's statement (zeros unless the runner proposes).

    `tree` is the encoded final tree; empty, the proposal asks to close the job and to say what was released.
    """

    order: Order
    tree: bytes = b""
    statement: bytes = NO_STATEMENT

    @cached_property
    def final(self) -> SumTree | None:
        """The final tree, decoded; None where the proposal only closes."""
        return SumTree.decode(self.tree) if self.tree else None

    @property
    def root(self) -> int:
        """The final tree's root word; 0 where the proposal only closes."""
        return self.final.root if self.final else 0

    @property
    def digest(self) -> bytes:
        """What the payer or the runner signs."""
        order = self.order
        return proposal_digest(order.chain_id, order.escrow, order.job_id, self.root, self.statement)

    def encode(self) -> bytes:
        """The request's body."""
        return write("settlement", order=self.order.encode(), tree=self.tree, statement=self.statement)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Parse exactly what `encode` writes, else `InvalidInput`."""
        fields = read(body, ("kind", "order", "tree", "statement"), "The proposal")
        constant(fields["kind"], "settlement", "The request's kind")
        return cls(
            Order.decode(any_octets(fields["order"], "The order")),
            any_octets(fields["tree"], "The final tree"),
            octets(fields["statement"], "The statement's hash", 32),
        )
