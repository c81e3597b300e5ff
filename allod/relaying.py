"""The relay: threads of the server that carry accepted operations in their order, one to keepers, one to the chain.

Promises: whatever dies between two lines here, going on from the database does each effect once, because every
transaction is kept under the operation's key before it is sent (`consent.chain.sending`). A revocation goes to the
keepers before the chain hears of it, and those that were away are asked again for a day. What a reorganisation took
out counts as sent and is followed again; `final` is what the chain's node calls safe. An operation that has to wait,
be it for the relayer's money, holds back only later ones of its account, and a claim none of them. A revocation waits
for the one transaction that is under way, and for revocations before it; keepers do not wait for the chain, and keepers
that are silent hold back what is new least.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnExpressionArgument, exists, select
from sqlalchemy.orm import aliased

from allod import effects, operations
from allod.listing import complete_listings
from allod.operations import OPEN, OperationRow, State, now, sent_fields
from allod.server import activity
from consent.keeper.asking import Patience
from consent.keeper.client import revoke_everywhere
from consent.market.place import Relayer, Sent
from consent.records import transaction_row
from core.database import transaction
from core.encoding import from_hex, to_hex
from core.errors import AllodError, Busy, NotFound, Unavailable
from core.ids import Address

if TYPE_CHECKING:
    from allod.world import World
    from consent.keeper.port import KeeperPort

ROUND = Patience(hedge=3.0, answer=10.0)  # of one question to all keepers: those away are asked again later
LONGEST = 60  # seconds between two tries at most
TELLING = 86_400  # seconds for which keepers that are away are asked again
BROKEN = 10  # tries after which an error of our own ends an operation
LOOK = 0.25  # seconds between two looks at the database
SAFE_LOOK = 4.0  # seconds between two looks for the safe block
MINED_AT_ONCE = 64  # empty blocks that a development chain gets at most in one pass

_log = logging.getLogger(__name__)


def keeper_ports(world: World) -> Mapping[int, KeeperPort]:
    """How the server reaches the committee's keepers: as services, by bytes alone."""
    return world.ports


class Relay:
    """Works off the operations of a home. `start` does so in threads until `stop`; `work` does one pass."""

    def __init__(self, world: World, *, patience: Patience = ROUND) -> None:
        self._world = world
        self._patience = patience
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._looked = -SAFE_LOOK

    # -- the threads --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work in threads of its own."""
        for name, turn in (("relay to keepers", self._tell_next), ("relay", self._turn)):
            self._threads.append(threading.Thread(target=self._run, args=(turn,), name=name, daemon=True))
            self._threads[-1].start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take up nothing more; what is under way goes on after the next start."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, turn: Callable[[], bool]) -> None:
        """Take one turn after another; after one that found nothing to do, wait."""
        while not self._stop.is_set():
            try:
                if not turn():
                    self._stop.wait(LOOK)
            except Exception:
                _log.exception("The relay's turn failed; it takes the next.")
                self._stop.wait(1.0)

    def _turn(self) -> bool:
        is_busy = self._send_next()
        is_time = time.monotonic() - self._looked >= SAFE_LOOK
        if is_time or (not is_busy and self._world.chain.is_development):
            self._looked = time.monotonic()
            self.finish_included()
        return is_busy

    def work(self) -> None:
        """One pass over everything that is due."""
        self.tell_keepers()
        self.send_open()
        self.finish_included()

    # -- the keepers --------------------------------------------------------------------------------------------------

    def tell_keepers(self) -> None:
        """Give revocations to the keepers that have not stored them yet."""
        while not self._stop.is_set() and self._tell_next():
            pass

    def _tell_next(self) -> bool:
        """Tell them of the revocation that they were asked about least; whether there was one."""
        due = (OperationRow.untold, OperationRow.ask_due <= now())
        row = self._first(*due, by=(OperationRow.asked, OperationRow.number))
        if row is not None:
            self._tell(row)
        return row is not None

    def _tell(self, row: OperationRow) -> None:
        world, keepers = self._world, [dict(keeper) for keeper in row.keepers]
        missing = {keeper["index"] for keeper in keepers if not keeper["stored"]}
        reasons: Mapping[int, str]
        try:
            ports = {index: port for index, port in keeper_ports(world).items() if index in missing}
            revocation = effects.revocation_of(row)
            market = world.market
            told = revoke_everywhere(
                ports,
                world.committee,
                market.chain_id,
                market.token.address,
                revocation.message,
                revocation.signature,
                patience=self._patience,
            )
            stored, reasons, away = set(told.stored), told.reasons, told.reasons.away
        except Exception as error:  # none of them can be reached at all, or something is broken here
            if not isinstance(error, AllodError):
                _log.exception("Keepers could not be told of operation %s.", row.id)
            message = error.message if isinstance(error, AllodError) else "Something broke here."
            stored, reasons, away = set(), dict.fromkeys(missing, message), missing
        for keeper in keepers:
            if keeper["index"] in stored:
                keeper.update(stored=True, reason=None)
            elif keeper["index"] in missing:
                keeper["reason"] = reasons.get(keeper["index"], "It was not asked.")
        untold = bool(away - stored) and now() - row.created < TELLING
        due = now() + min(LONGEST, 2**row.asked) if untold else 0
        with transaction(self._world.engine) as session:
            operations.note(session, row, keepers=keepers, untold=untold, asked=row.asked + 1, ask_due=due)
            if stored:
                count = sum(keeper["stored"] for keeper in keepers)
                data = {"operation": row.id, "stored": count, "needed": row.about["needed"]}
                activity.record(session, Address(row.account), "revocation.stored", data)

    # -- the chain ----------------------------------------------------------------------------------------------------

    def send_open(self) -> None:
        """Send what was accepted, and follow again what was sent."""
        while not self._stop.is_set() and self._send_next():
            pass

    def _send_next(self) -> bool:
        """Send the first revocation that is due, else the first that its account has waiting; whether there was one."""
        due = (OperationRow.state.in_(OPEN), OperationRow.due <= now())
        is_revocation = OperationRow.kind.in_(effects.REVOCATIONS)
        row = self._first(*due, is_revocation, OperationRow.asked > 0)  # the keepers first
        if row is None:
            former = aliased(OperationRow)
            before = (former.account == OperationRow.account, former.number < OperationRow.number)
            waits = exists().where(*before, former.state.in_(OPEN), former.kind != "claim")
            row = self._first(*due, ~is_revocation, ~waits)
        if row is not None:
            self._send(row)
        return row is not None

    def _send(self, row: OperationRow) -> None:
        """Bring it to an end, good or bad, or put it off."""
        world = self._world
        relayer = Relayer(world.chain, world.relayer.account, self._remember)
        hands = effects.Hands(world, world.view, relayer.keyed(f"operation {row.id}", partial(self._kept, row)))
        try:
            done = effects.perform(hands, row)
        except (Unavailable, Busy):
            self._put_off(row)
            return
        except AllodError as error:
            if error.detail.get("of_sender"):  # the relayer's money or endpoint, and nothing that the signer did
                _log.warning("Operation %s waits: %s", row.id, error.message)
                self._put_off(row)
            else:
                self._fail(row, error)
            return
        except Exception:
            _log.exception("Operation %s broke.", row.id)
            if row.tries < BROKEN:
                self._put_off(row)
            else:
                self._fail(row, AllodError("Something broke here.", hint="Tell the operator of this server."))
            return
        sent = [sent_fields(one.tx_hash, one.receipt.block_number, one.receipt.block_hash) for one in done.sent]
        with transaction(world.engine) as session:
            about, is_told = {**row.about, **done.about}, row.told
            moved = operations.advance(session, row, State.INCLUDED, sent=sent, about=about, told=True)
            for account, kind, data in done.told if moved and not is_told else ():
                activity.record(session, account, kind, {**data, "operation": row.id})
        self._give_back(row)

    def _give_back(self, row: OperationRow) -> None:
        """What an operation that happened gives back. It happened all the same if that fails, and is tried once more
        when it is final."""
        try:
            effects.give_back(self._world, row)
        except Exception:
            _log.exception("What operation %s ended was not given back.", row.id)

    def _kept(self, row: OperationRow, number: int, tx_hash: bytes) -> None:
        """A transaction of this operation is signed and kept: from now on it may happen."""
        sent = [dict(one) for one in row.sent[:number]] + [sent_fields(tx_hash)] + list(row.sent[number + 1 :])
        if row.state == State.SENT and row.sent[number : number + 1] == [sent_fields(tx_hash)]:
            return
        with transaction(self._world.engine) as session:
            operations.advance(session, row, State.SENT, sent=sent)

    def _remember(self, sent: Sent) -> None:
        self._world.consents.sent(transaction_row(sent))

    def _put_off(self, row: OperationRow) -> None:
        tries = row.tries + 1
        with transaction(self._world.engine) as session:
            operations.note(session, row, tries=tries, due=now() + min(LONGEST, 2**tries))

    def _fail(self, row: OperationRow, error: AllodError) -> None:
        """End it badly. What may still come about without us keeps its effect: nobody asks for it a second time."""
        try:
            is_over = effects.is_over(self._world, row)
            never_was = is_over and not effects.came_to_be(self._world, row)
        except Exception:  # nothing is given back before it is known
            _log.exception("Whether operation %s is over is not known.", row.id)
            self._put_off(row)
            return
        values = {} if is_over else {"effect": row.effect}
        problem = operations.problem(error if is_over else effects.not_over(error))
        with transaction(self._world.engine) as session:
            if operations.advance(session, row, State.FAILED, problem=problem, **values) and never_was:
                effects.failed(session, row)

    # -- until it cannot be undone ------------------------------------------------------------------------------------

    def finish_included(self) -> None:
        """Look whether what blocks had is still there, and whether it is safe."""
        rows = self._rows(OperationRow.state == State.INCLUDED)
        if not rows:
            return
        chain = self._world.chain
        try:
            seen = [(row, self._seen(row)) for row in rows]
            newest = max((one["block"] for _, sent in seen for one in sent or []), default=0)
            safe = chain.block("safe").number
            for _ in range(MINED_AT_ONCE if chain.is_development else 0):
                if safe >= newest:
                    break
                chain.mine()
                safe = chain.block("safe").number
            final = {row.id for row, sent in seen if sent is not None and self._stands(sent, safe)}
        except (Unavailable, NotFound):
            return  # the next pass looks again
        for row, sent in seen:
            with transaction(self._world.engine) as session:
                if sent is None:  # a reorganisation took it out, or made it fail: it is followed again
                    operations.advance(session, row, State.SENT)
                elif row.id in final:
                    operations.advance(session, row, State.FINAL, sent=sent)
                elif sent != row.sent:
                    operations.note(session, row, sent=sent)
            if row.state == State.FINAL:
                self._give_back(row)

    def _stands(self, sent: list[dict[str, Any]], safe: int) -> bool:
        """Whether these transactions lie in blocks that are safe, and still are those of the chain."""
        blocks = {one["block"]: one["block_hash"] for one in sent}
        return max(blocks) <= safe and all(
            to_hex(self._world.chain.block(number).hash) == block_hash for number, block_hash in blocks.items()
        )

    def _seen(self, row: OperationRow) -> list[dict[str, Any]] | None:
        """The operation's transactions where blocks have them now; None if one is missing or failed."""
        found = []
        for one in row.sent:
            receipt = self._world.chain.receipt(from_hex(one["tx_hash"], 32))
            if receipt is None or not receipt.success:
                return None
            found.append(sent_fields(receipt.tx_hash, receipt.block_number, receipt.block_hash))
        return found

    def _first(
        self,
        *where: ColumnExpressionArgument[bool],
        by: tuple[ColumnExpressionArgument[Any], ...] = (OperationRow.number,),
    ) -> OperationRow | None:
        """The operation that comes first of these."""
        with transaction(self._world.engine) as session:
            return session.scalars(select(OperationRow).where(*where).order_by(*by).limit(1)).first()

    def _rows(self, *where: ColumnExpressionArgument[bool]) -> list[OperationRow]:
        """Operations in the order of their acceptance."""
        with transaction(self._world.engine) as session:
            return list(session.scalars(select(OperationRow).where(*where).order_by(OperationRow.number)))


@contextmanager
def relaying(world: World) -> Iterator[Relay]:
    """A relay at work in this process while the block runs, over a catalogue that is complete."""
    complete_listings(world)
    relay = Relay(world)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
