"""Sending for an account: stored before it is sent, sent until a block has it, and never done twice.

Promises: whatever this process and others do, crash or repeat, one key has one effect on a chain. A transaction that a
node forgot is sent again, with those before it; one that its price keeps waiting is replaced under the same nonce; a
nonce that nobody uses is filled; one that another program used meanwhile is signed anew, and only when the chain shows
whose transaction took it. A mined transaction that a reorganisation undid counts as sent.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from consent.chain.account import Account, Transaction, read_transaction, sender_of
from consent.chain.answers import Receipt
from consent.chain.outbox import Attempt, Fate, MemoryOutbox, Outbox, Outgoing
from core.errors import AllodError, Busy, Refused, Unavailable
from core.ids import Address

if TYPE_CHECKING:
    from consent.chain.client import Chain, Prepared

OnKept = Callable[[bytes], None]

TRIES = 100
TRANSFER_GAS = 21_000
SEEN = 256  # blocks in which the taker of a nonce is looked for; an older one is believed without
REORG = 8  # blocks before the first signing in which a reorganisation may still have put a transaction


class Sending:
    """Sends over one chain, and keeps what it sends in `outbox`.

    `stuck_after` are seconds after which a transaction that no block has is looked at again, `timeout` those after
    which whoever waits is told that it is not mined yet. `clock` gives Unix seconds.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        stuck_after: float = 60.0,
        timeout: float = 180.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._open: Callable[[], Outbox] = MemoryOutbox
        self._outbox: Outbox | None = None
        self._first_block: bytes | None = None
        self._turns: defaultdict[Address, threading.RLock] = defaultdict(threading.RLock)
        self._guard = threading.Lock()
        self.stuck_after = stuck_after
        self.timeout = timeout
        self.clock = clock

    def keep_in(self, open_outbox: Callable[[], Outbox]) -> None:
        """Use another outbox from now on; it is opened at the first transaction."""
        with self._guard:
            self._open, self._outbox = open_outbox, None

    @property
    def outbox(self) -> Outbox:
        """Where this sender keeps what it sends."""
        with self._guard:
            if self._outbox is None:
                self._outbox = self._open()
            return self._outbox

    @property
    def _genesis(self) -> bytes:
        """Which chain this is: development chains share their id, but no first block."""
        if self._first_block is None:
            self._first_block = self._chain.block(0).hash
        return self._first_block

    def next_nonce(self, sender: Address) -> int:
        """The first nonce that neither the node nor the outbox knows to be used."""
        kept = self.outbox.last_nonce(self._genesis, sender)
        return max(self._chain.nonce(sender), 0 if kept is None else kept + 1)

    def send(
        self,
        account: Account,
        to: Address | None,
        data: bytes,
        *,
        value: int,
        gas: int | None,
        key: str | None,
        on_kept: OnKept | None = None,
    ) -> Receipt:
        """Sign, keep, send, and wait for a block; with a `key` that was used before, wait for what it stands for.

        `on_kept` hears the hash of the transaction that is waited for, once it is kept.
        """
        for _ in range(TRIES):
            known = None if key is None else self.outbox.find(self._genesis, key)
            ours = known or self._begin(account, to, data, value, gas, key)
            if on_kept is not None:
                on_kept(ours.newest.tx_hash)
            try:
                receipt = self._follow(ours, account)
            except Unavailable as error:
                hint = "Look whether it happened before you repeat it: the transaction is kept, and may still be sent."
                if key is not None:
                    hint = "Run the same again: it goes on from here and cannot happen twice."
                raise Unavailable(error.message, hint=hint, **error.detail) from None
            if receipt is not None:
                return receipt
        raise _contended()

    def _begin(
        self, account: Account, to: Address | None, data: bytes, value: int, gas: int | None, key: str | None
    ) -> Outgoing:
        """Keep a new transaction and offer it to the node, which may refuse it: then it is forgotten again."""
        chain, outbox = self._chain, self.outbox
        with self._guard:
            turn = self._turns[account.address]
        with turn:
            chain_id = chain.check_chain_id()
            if gas is None:
                gas = chain.estimate(account.address, to, data, value)
            head, base, tip = chain.pricing()
            for _ in range(TRIES):
                nonce = self.next_nonce(account.address)
                wanted = Transaction(chain_id, nonce, tip, 2 * base + tip, gas, to, value, data)
                attempt = self._sign(account, wanted)
                new = Outgoing(self._genesis, account.address, nonce, key, head, (attempt,))
                kept = outbox.add(new)
                if kept is not None:
                    self._introduce(kept)
                    return kept
                other = None if key is None else outbox.find(self._genesis, key)
                if other is not None:
                    return other
        raise _contended()

    def _sign(self, account: Account, wanted: Transaction) -> Attempt:
        return Attempt(account.sign_transaction(**wanted._asdict()), self.clock())

    def _introduce(self, ours: Outgoing) -> None:
        """Send it for the first time. A clear no means that no node has it, so it is as if it had never been signed."""
        try:
            self._chain.submit_raw(ours.newest.raw)
        except AllodError as error:
            if not isinstance(error, Refused) and "code" not in error.detail:
                return  # the node did not answer, and may have it
            waits = bool(error.detail.get("stale_nonce")) or self._chain.nonce(ours.sender, "latest") < ours.nonce
            if not waits and not self._chain.knows(ours.newest.tx_hash):
                self.outbox.remove(ours.number)
                raise

    # -- until a block has it -----------------------------------------------------------------------------------------

    def _follow(self, ours: Outgoing, account: Account) -> Receipt | None:
        """Its receipt, once a block has it; None where it can no longer happen and its key is free again."""
        chain = self._chain
        signer = account if account.address == ours.sender else None
        deadline, pause, push_at = time.monotonic() + self.timeout, 0.02, 0.0
        while True:
            for tx_hash in reversed(ours.hashes):
                receipt = chain.receipt(tx_hash)
                if receipt is not None:
                    return self._done(ours, receipt)
            used = chain.nonce(ours.sender, "latest")
            if used > ours.nonce:
                if self._was_taken(ours) and not self._move(ours, signer):
                    return None
            elif time.monotonic() >= push_at:
                self._push(ours, used, signer)
                push_at = time.monotonic() + 1.0
            if time.monotonic() > deadline:
                raise Unavailable(f"Transaction 0x{ours.newest.tx_hash.hex()} is sent, but no block has it yet.")
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)
            found = self.outbox.get(ours.number)
            if found is None:  # the process that signed it was told no
                return None
            ours = found

    def _done(self, ours: Outgoing, receipt: Receipt) -> Receipt:
        fate = Fate.MINED if receipt.success else Fate.REVERTED
        if ours.fate != fate:
            self.outbox.mark(ours.number, ours.nonce, fate)
        if not receipt.success:
            raise self._chain.reverted(receipt)
        return receipt

    def _was_taken(self, ours: Outgoing) -> bool:
        """Whether a block shows another transaction under this nonce; a node that lags shows none, and is asked again.

        Receipts alone do not tell: behind one address there may be nodes of which some know less.
        """
        newest = self._chain.block().number
        for number in range(newest, max(0, ours.since - REORG) - 1, -1):
            for sender, nonce, tx_hash in self._chain.transactions(number):
                if (sender, nonce) == (ours.sender, ours.nonce):
                    return tx_hash not in ours.hashes
        return False

    def is_taken(self, prepared: Prepared) -> bool:
        """Whether one of the newest blocks shows another transaction under the nonce of a prepared one."""
        sender, wanted = sender_of(prepared.raw), read_transaction(prepared.raw).nonce
        newest = self._chain.block().number
        for number in range(newest, max(0, newest - SEEN) - 1, -1):
            for who, nonce, tx_hash in self._chain.transactions(number):
                if (who, nonce) == (sender, wanted):
                    return tx_hash != prepared.tx_hash
        return False

    def _move(self, ours: Outgoing, signer: Account | None) -> bool:
        """Sign the same again for a free nonce; False where that is not ours to do, and it is given up.

        Another process may do the same at the same time: what it did counts then.
        """
        wanted = ours.newest.transaction
        if signer is None:
            return not self.outbox.mark(ours.number, ours.nonce, Fate.VOID)
        try:
            self._chain.estimate(ours.sender, wanted.to, wanted.data, wanted.value)
        except Refused:  # it has become moot
            if self.outbox.mark(ours.number, ours.nonce, Fate.VOID):
                raise
            return True
        _, base, tip = self._chain.pricing()
        nonce = self.next_nonce(ours.sender)
        wanted = wanted._replace(nonce=nonce, max_priority_fee=tip, max_fee=2 * base + tip)
        self.outbox.move(ours.number, ours.nonce, nonce, self._sign(signer, wanted))
        return True

    def _push(self, ours: Outgoing, used: int, signer: Account | None) -> None:
        """See that a node has it, and every one before it; `used` is the account's next nonce on chain."""
        line = self.outbox.between(self._genesis, ours.sender, used, ours.nonce)
        for one in line:
            if one.is_alive:
                self._offer(one)
                if signer is not None and one.nonce == used and self._is_old(one):
                    self._outbid(one, signer)
        hole = self._chain.nonce(ours.sender)
        if signer is not None and used <= hole < ours.nonce and self._is_old(ours):
            kept = next((one for one in line if one.nonce == hole), None)
            if kept is None or not kept.is_alive:
                self._fill(hole, kept, signer)

    def _offer(self, one: Outgoing) -> None:
        if not any(self._chain.knows(tx_hash) for tx_hash in reversed(one.hashes)):
            with suppress(AllodError):  # whatever the node says now: the receipt or the nonce will tell
                self._chain.submit_raw(one.newest.raw)

    def _is_old(self, one: Outgoing) -> bool:
        return self.clock() - one.newest.at > self.stuck_after

    def _outbid(self, one: Outgoing, signer: Account) -> None:
        """Replace it at a better price, unless its price is good: then it waits for something else."""
        _, base, tip = self._chain.pricing()
        last = one.newest.transaction
        if last.max_fee >= base + last.max_priority_fee and last.max_priority_fee >= tip:
            return
        tip = max(tip, _raised(last.max_priority_fee))
        fee = max(2 * base + tip, _raised(last.max_fee))
        attempt = self._sign(signer, last._replace(max_priority_fee=tip, max_fee=fee))
        self.outbox.attempt(one.number, attempt)
        with suppress(AllodError):
            self._chain.submit_raw(attempt.raw)

    def _fill(self, nonce: int, dead: Outgoing | None, signer: Account) -> None:
        """Use up a nonce that nothing uses any more, by sending nothing to ourselves."""
        head, base, tip = self._chain.pricing()
        chain_id, fee = self._chain.check_chain_id(), 2 * base + tip
        attempt = self._sign(signer, Transaction(chain_id, nonce, tip, fee, TRANSFER_GAS, signer.address, 0, b""))
        if dead is not None:
            self.outbox.attempt(dead.number, attempt)
        elif self.outbox.add(Outgoing(self._genesis, signer.address, nonce, None, head, (attempt,))) is None:
            return  # somebody uses it after all
        with suppress(AllodError):
            self._chain.submit_raw(attempt.raw)


def _raised(price: int) -> int:
    """An eighth more: nodes take a replacement that offers a tenth more in both prices."""
    return price + price // 8 + 1


def _contended() -> Busy:
    return Busy("Other programs use every nonce of this account first.", hint="Stop them, or try again later.")
