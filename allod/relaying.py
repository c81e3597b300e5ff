"""The relay: one thread of the server that carries accepted operations to keepers and chain, in their order.

Promises: whatever dies between two lines here, going on from the database does each effect once, because every
transaction is kept under the operation's key before it is sent (`consent.chain.sending`). A revocation goes to the
keepers before the chain hears of it, and those that were away are asked again for a day. What a reorganisation took
out counts as sent and is followed again; `final` is what the chain's node calls safe. An operation that has to wait
holds back only later ones of its account, and no revocation.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnExpressionArgument, select

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
    """Works off the operations of a home. `start` does so in a thread until `stop`; `work` does one pass."""

    def __init__(self, world: World, *, patience: Patience = ROUND) -> None:
        self._world = world
        self._patience = patience
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- the thread ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take up nothing more; what is under way goes on after the next start."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        waited = SAFE_LOOK
        while not self._stop.is_set():
            try:
                self.tell_keepers()
                self.send_open()
                waited += LOOK
                if self._world.chain.is_development or waited >= SAFE_LOOK:
                    waited = 0.0
                    self.finish_included()
            except Exception:
                _log.exception("The relay's pass failed; it begins anew.")
                self._stop.wait(1.0)
            self._stop.wait(LOOK)

    def work(self) -> None:
        """One pass over everything that is due."""
        self.tell_keepers()
        self.send_open()
        self.finish_included()

    # -- the keepers --------------------------------------------------------------------------------------------------

    def tell_keepers(self) -> None:
        """Give revocations to the keepers that have not stored them yet."""
        due = (OperationRow.untold, OperationRow.ask_due <= now())
        for row in self._rows(*due):
            if self._stop.is_set():
                return
            self._tell(row)

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
        except AllodError as error:  # none of them can be reached at all
            stored, reasons, away = set(), dict.fromkeys(missing, error.message), missing
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
        waiting: set[bytes] = set()
        for row in self._rows(OperationRow.state.in_(OPEN)):
            if self._stop.is_set():
                return
            is_revocation = row.kind in effects.REVOCATIONS
            if is_revocation and not row.asked:
                continue  # the keepers first
            if row.due > now() or (row.account in waiting and not is_revocation):
                waiting.add(row.account)
                continue
            if not self._send(row):
                waiting.add(row.account)

    def _send(self, row: OperationRow) -> bool:
        """Whether it came to an end, good or bad; else it is put off."""
        world = self._world
        relayer = Relayer(world.chain, world.relayer.account, self._remember)
        hands = effects.Hands(world, world.view, relayer.keyed(f"operation {row.id}", partial(self._kept, row)))
        try:
            done = effects.perform(hands, row)
        except (Unavailable, Busy):
            self._put_off(row)
            return False
        except AllodError as error:
            self._fail(row, error)
            return True
        except Exception:
            _log.exception("Operation %s broke.", row.id)
            if row.tries < BROKEN:
                self._put_off(row)
                return False
            self._fail(row, AllodError("Something broke here.", hint="Tell the operator of this server."))
            return True
        sent = [sent_fields(one.tx_hash, one.receipt.block_number, one.receipt.block_hash) for one in done.sent]
        with transaction(world.engine) as session:
            about = {**row.about, **done.about}
            if operations.advance(session, row, State.INCLUDED, sent=sent, about=about):
                for account, kind, data in done.told:
                    activity.record(session, account, kind, {**data, "operation": row.id})
        return True

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
        with transaction(self._world.engine) as session:
            if operations.advance(session, row, State.FAILED, problem=operations.problem(error)):
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
