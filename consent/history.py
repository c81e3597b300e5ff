"""What a chain's event logs say about a job and its consents, for whoever verifies afterwards.

Logs and block headers tell everything but one thing: the bits of `revoke_nonces` leave no log. A bit is never cleared,
so one that is clear at the newest block always was; about one that is set only old state could say since when, and
`nonce_ended_by` asks for it without needing it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from consent.chain.client import Chain
from consent.chain.contract import Contract, Event
from consent.chain.deployment import Deployment
from consent.contracts import load
from consent.grant import Consent
from consent.order import Order
from core.errors import Refused, Unavailable
from core.ids import NOBODY, Address, Asset, ConsentId

_AT_ONCE = 200  # alternatives of one topic in one query: few enough for any node

Item = TypeVar("Item")


@dataclass(frozen=True)
class Life:
    """The block in which a consent token was minted, and every block in which something ended it, with what it was."""

    minted: int | None = None
    ends: tuple[tuple[int, str], ...] = ()

    def why_dead(self, block: int) -> str | None:
        """Why the token was not live after block number `block`, or None if it was."""
        if self.minted is None:
            return "it was never granted on chain"
        if self.minted > block:
            return "it was granted only afterwards"
        return next((reason for ended, reason in self.ends if ended <= block), None)


class History:
    """The logs of one world's registry, consent token and escrow."""

    def __init__(self, chain: Chain, registry: Address, consent_token: Address, escrow: Address) -> None:
        self.chain = chain
        self.registry = Contract(chain, registry, load("DataRegistry").abi)
        self.token = Contract(chain, consent_token, load("ConsentToken").abi)
        self.escrow = Contract(chain, escrow, load("JobEscrow").abi)

    @classmethod
    def of(cls, chain: Chain, deployment: Deployment) -> History:
        """The logs of a world's own contracts."""
        return cls(chain, deployment.registry, deployment.consent_token, deployment.escrow)

    def opening(self, order: Order) -> Event | None:
        """The escrow's Opened event of exactly this order, if there is one."""
        wanted = {
            "times": order.times,
            "runner": order.runner,
            "spec": order.spec,
            "root": order.root,
            "counted": order.counted_hash,
        }
        for event in self.escrow.events("Opened", payer=order.payer, lane=order.lane):
            if all(event.args[name] == value for name, value in wanted.items()):
                return event
        return None

    def settlement(self, order: Order) -> Event | None:
        """The Settled event of this job: the runner confirmed, or the keepers settled; else None.

        There is one at most: the escrow takes `confirm` and `settle` from an open job only, and a lane's next job has
        a later `opened`.
        """
        for event in self.escrow.events("Settled", payer=order.payer, lane=order.lane):
            if event.args["times"] >> 40 == order.opened:
                return event
        return None

    def registered(self, assets: Collection[Asset]) -> set[tuple[Address, Asset]]:
        """Those of `assets` that are registered, with their owners."""
        return {
            (event.args["owner"], event.args["asset"])
            for some in _portions(assets)
            for event in self.registry.events("Registered", asset=some)
        }

    def lives(self, consents: Mapping[ConsentId, Consent], holder: Address) -> dict[ConsentId, Life]:
        """When each of these tokens of `holder` was minted, and what ended it when."""
        minted: dict[int, int] = {}
        ended: dict[int, list[tuple[int, str]]] = {}
        for some in _portions([int.from_bytes(consent_id, "big") for consent_id in consents]):
            for event in self.token.events("Transfer", token_id=some):
                token = event.args["token_id"]
                if event.args["sender"] == NOBODY and event.args["receiver"] == holder:
                    minted[token] = event.block_number
                elif event.args["receiver"] == NOBODY:
                    ended.setdefault(token, []).append((event.block_number, "it was revoked or given back"))
        raised: dict[Address, list[tuple[int, int]]] = {}
        for owners in _portions({consent.owner for consent in consents.values()}):
            for event in self.token.events("EpochRaised", owner=owners):
                raised.setdefault(event.args["owner"], []).append((event.block_number, event.args["epoch"]))
        lives = {}
        for consent_id, consent in consents.items():
            token = int.from_bytes(consent_id, "big")
            epochs = [
                (block, "the owner revoked everything")
                for block, epoch in raised.get(consent.owner, [])
                if epoch > consent.epoch
            ]
            lives[consent_id] = Life(minted.get(token), tuple(sorted([*ended.get(token, []), *epochs])))
        return lives

    def nonce_ended_by(self, consent: Consent, blocks: Sequence[bytes]) -> bool:
        """Whether the consent's nonce is known to have been revoked by one of these blocks (hashes).

        False also where it is revoked now and the node keeps no state of those blocks: then the keepers, who read it at
        the time and signed, are the only witnesses.
        """
        if not self._nonce_bit(consent, "latest"):
            return False
        for block in blocks:
            try:
                if self._nonce_bit(consent, block):
                    return True
            except (Unavailable, Refused):
                continue
        return False

    def _nonce_bit(self, consent: Consent, block: bytes | str) -> bool:
        word = int(self.token.read("revoked_words", consent.owner, consent.word, block=block))
        return bool(word >> consent.bit & 1)


def _portions(items: Iterable[Item]) -> Iterator[list[Item]]:
    source = iter(items)
    while some := list(islice(source, _AT_ONCE)):
        yield some
