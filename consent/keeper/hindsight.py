"""A keeper's log against the blockchain: did each release and each settlement that it tells of have its right?

It reads event logs, block headers and the transactions that minted tokens, so no archive of old state. What it cannot
see it says: a consent whose minting went through another contract shows neither its epoch nor its nonce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from consent.chain.client import Block
from consent.chain.contract import Event
from consent.grant import Consent
from consent.history import History, Life
from consent.keeper.audit import Log
from consent.keeper.log import Entry
from consent.keeper.releasing import MARGIN
from consent.keeper.sight import MAX_AGE
from consent.market.lanes import Opening
from consent.market.place import Market
from consent.tree import SumTree
from core.encoding import from_hex, to_hex
from core.errors import AllodError, NotFound
from core.ids import NOBODY, ConsentId, JobId

SLACK = 60  # seconds that lie between a keeper's look at the chain and its log entry, at most
TreeOf = Callable[[JobId], SumTree | None]
"""The opening tree of a job, from whoever has it; its root is checked here."""
Dues = Mapping[tuple[JobId, ConsentId], int]
"""What the terms of a consent ask of a job, in UNITs, where a bundle shows them."""


@dataclass(frozen=True)
class _Job:
    opening: Opening
    settled: Event | None


class Hindsight:
    """One deployment's history, as far as a log needs it. `notes` are things that could not be looked at."""

    def __init__(self, market: Market, tree_of: TreeOf, dues: Dues | None = None) -> None:
        self._market = market
        self._history = History.of(market.chain, market.deployment)
        self._tree_of = tree_of
        self._dues = dues or {}
        self._blocks: dict[bytes, Block | None] = {}
        self._trees: dict[JobId, SumTree | None] = {}
        self.notes: list[str] = []
        first = market.deployment.first_block
        ends = {
            (event.args["payer"], event.args["lane"], event.args["times"] >> 40): event
            for event in market.escrow.events("Settled", first)
        }
        self._jobs: dict[JobId, _Job] = {}
        for event in market.escrow.events("Opened", first):
            opening = Opening.of(market, event)
            self._jobs[opening.job_id] = _Job(opening, ends.get((opening.payer, opening.lane, opening.opened)))

    def check(self, log: Log) -> None:
        """Name in `log` every release, closing and settlement that had no right."""
        releases = log.of("release")
        lives, known = self._lives([(entry.facts["job"], entry.facts["consent"]) for _, entry in releases])
        for place, entry in releases:
            for why in self._release(entry, lives, known):
                job, consent = to_hex(entry.facts["job"]), to_hex(entry.facts["consent"])
                log.add("bad-release", place, f"Entry {place} released for consent {consent} in job {job}: {why}.")
        for place, entry in log.of("settlement"):
            for why in self._settlement(entry):
                log.add("bad-settlement", place, f"Entry {place} settles job {to_hex(entry.facts['job'])}: {why}.")
        for kind in ("closed", "ledger"):
            for place, entry in log.of(kind):
                if entry.facts["job"] not in self._jobs:
                    what = f"Entry {place} is about job {to_hex(entry.facts['job'])}, which was never opened."
                    log.add("bad-job", place, what)

    # -- releases -----------------------------------------------------------------------------------------------------

    def _release(
        self, entry: Entry, lives: Mapping[ConsentId, Life], known: Mapping[ConsentId, Consent]
    ) -> Iterable[str]:
        facts, job = entry.facts, self._jobs.get(entry.facts["job"])
        if job is None:
            yield "no such job was ever opened"
            return
        safe, latest = self._block(facts["safe"]), self._block(facts["latest"])
        if safe is None or latest is None:
            yield "a block that it names is not on the chain"
            return
        if safe.number > latest.number:
            yield "its safe block is newer than its latest"
        if safe.number < job.opening.block_number:
            yield "the job was not open yet in its safe block"
        if job.settled is not None and job.settled.block_number <= latest.number:
            yield "the job had ended"
        if latest.timestamp > job.opening.stop - MARGIN:
            yield "the job was about to end, or had ended, by its own time"
        if entry.time - latest.timestamp > MAX_AGE + SLACK:
            yield f"its latest block was {entry.time - latest.timestamp} seconds old by the keeper's own clock"
        life = lives[facts["consent"]]
        if life.minted is not None and life.minted > safe.number:
            yield "the consent was not granted yet in its safe block"
        dead = life.why_dead(latest.number)
        if dead is not None:
            yield f"the consent was not live: {dead}"
        consent = known.get(facts["consent"])
        if consent is not None:
            if self._history.nonce_ended_by(consent, [safe.hash, latest.hash]):
                yield "the consent was not live: its nonce was revoked"
            if not consent.not_before <= latest.timestamp < consent.expiry:
                yield "the consent was not valid at that time"
            if consent.escrow != self._market.escrow.address or consent.runner not in (NOBODY, job.opening.runner):
                yield "the consent is for another escrow or another runner"
        yield from self._pay(facts, job)

    def _pay(self, facts: Mapping[str, Any], job: _Job) -> Iterable[str]:
        tree = self._tree(facts["job"], job)
        if tree is None:
            return
        index = tree.find(facts["consent"])
        if index is None:
            yield "the job pays nothing for it"
            return
        due = self._dues.get((facts["job"], facts["consent"]))
        if due is not None and tree.leaves[index].amount != due:
            yield f"the job pays {tree.leaves[index].amount} for it, and its terms ask {due}"

    def _tree(self, job_id: JobId, job: _Job) -> SumTree | None:
        if job_id not in self._trees:
            tree = self._tree_of(job_id)
            if tree is None or tree.root != job.opening.root:
                self._note(f"Nobody shows the opening tree of job {to_hex(job_id)}: its amounts were not looked at.")
                tree = None
            self._trees[job_id] = tree
        return self._trees[job_id]

    def _block(self, block_hash: bytes) -> Block | None:
        """The block of that hash, if it still is on the chain."""
        if block_hash not in self._blocks:
            try:
                block: Block | None = self._market.chain.block(block_hash)
                if block is not None and self._market.chain.block(block.number).hash != block_hash:
                    block = None
            except NotFound:
                block = None
            self._blocks[block_hash] = block
        return self._blocks[block_hash]

    # -- consents -----------------------------------------------------------------------------------------------------

    def _lives(
        self, pairs: Iterable[tuple[JobId, ConsentId]]
    ) -> tuple[dict[ConsentId, Life], dict[ConsentId, Consent]]:
        """Minting and ends of every consent of the log, and those whose full text the chain shows."""
        lives: dict[ConsentId, Life] = {}
        known: dict[ConsentId, Consent] = {}
        for job_id, consent_id in pairs:
            job = self._jobs.get(job_id)
            if job is None or consent_id in lives:
                lives.setdefault(consent_id, Life())
                continue
            payer = job.opening.payer
            token = int.from_bytes(consent_id, "big")
            minted: Event | None = None
            ends = []
            for event in self._history.token.events("Transfer", self._market.deployment.first_block, token_id=token):
                if event.args["sender"] == NOBODY and event.args["receiver"] == payer:
                    minted = event
                elif event.args["receiver"] == NOBODY:
                    ends.append((event.block_number, "it was revoked or given back"))
            lives[consent_id] = Life(minted.block_number if minted else None, tuple(ends))
            consent = self._minted(minted, consent_id) if minted else None
            if consent is not None:
                known[consent_id] = consent
                lives[consent_id] = self._history.lives({consent_id: consent}, payer)[consent_id]
            elif minted is not None:
                self._note(f"The chain does not show the text of consent {to_hex(consent_id)}, so neither its nonce.")
        return lives, known

    def _minted(self, event: Event, consent_id: ConsentId) -> Consent | None:
        """The consent in the transaction that minted its token, where that called the ConsentToken itself."""
        try:
            found = self._market.chain.request("eth_getTransactionByHash", to_hex(event.tx_hash))
            call = self._history.token.interface.decode_call(from_hex(found["input"]))
        except (AllodError, KeyError, TypeError):
            return None
        if call is None or call[0] not in ("grant", "take", "redeem"):
            return None
        structs = call[1][0] if call[0] == "redeem" else [call[1][0]]
        for struct in structs:
            try:
                consent = Consent(*struct)
                if consent.id(self._market.chain_id, self._market.token.address, event.args["receiver"]) == consent_id:
                    return consent
            except AllodError:
                continue
        return None

    # -- settlements --------------------------------------------------------------------------------------------------

    def _settlement(self, entry: Entry) -> Iterable[str]:
        job = self._jobs.get(entry.facts["job"])
        if job is None:
            yield "no such job was ever opened"
            return
        if job.settled is None:
            return  # signed, and never posted
        root = int(job.settled.args["root"])
        if root == job.opening.root:
            return  # the runner confirmed instead, or nobody posted it in time
        if root.to_bytes(32, "big") != entry.facts["root"]:
            yield "the chain pays another tree than this keeper signed"
        elif job.settled.args["statement"] != entry.facts["statement"]:
            yield "the chain holds another statement than this keeper signed"

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
