"""The runner's desk: takes orders from the database (`allod.orders`), quotes them, and opens what their payers signed.

It runs beside the queue in every `allod worker`; of several workers of a home one at a time is at it. What the runner
agreed to lies in the job's folder: the database is asked what is wanted, never what was drafted. Promises: whatever is
killed between two steps, the next one at the desk finds the order in the state before or after the step, and the job's
folder under the order's own name, so no order makes two jobs and no job is opened twice; an order that fails is
answered with the reason and holds up no other.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from allod import orders, starting, trainer
from allod.orders import OPENED, QUOTE_SECONDS, READY, REFUSED, WAITING, OrderRow
from allod.world import OpenWorld, World
from consent.grant import Consent
from consent.market import granting
from consent.recipe import Recipe
from consent.tree import FEE, SumTree
from consent.validity import check_token
from core.database import transaction
from core.encoding import from_hex, to_hex
from core.errors import AllodError, Busy, Conflict, NotFound, Refused, Unavailable
from core.ids import NOBODY, Address, ConsentId
from core.settings import Settings
from finetune.jobkey import open_runner
from finetune.opening import RUN_SECONDS, draft_opening, licences_of, require_deposit
from finetune.records import JobRow
from finetune.releasing import refusals_of
from finetune.workspace import State, Workspace

KEPT_SECONDS = 2 * RUN_SECONDS  # after a quote expired: then the chain takes its opening no more, whoever sends it
_log = logging.getLogger("allod.desk")
_BASE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Desk:
    """One runner's desk; `clock` gives Unix seconds."""

    def __init__(
        self, settings: Settings, engine: Engine, open_world: OpenWorld = World, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._engine, self._open_world, self._clock = settings, engine, open_world, clock

    def tend(self) -> bool:
        """Take every order that waits one step further, if it can be; whether there was one."""
        with transaction(self._engine) as session:
            rows = list(orders.pending(session))
            old = list(orders.forgotten(session, before=int(self._clock()) - KEPT_SECONDS))
        for row in old:
            with suppress(AllodError, OSError):  # somebody holds the job, or its folder is damaged: it stays
                self._forget(row)
        if rows:
            with self._open_world(self._settings) as world:
                for row in rows:
                    self._serve(world, row)
        return bool(rows)

    def _forget(self, row: OrderRow) -> None:
        """Remove what a quote left here that nobody can open any more: its opening has ended before it began.

        A job that its payer started in another way stays; of one that somebody holds nothing is known: `Busy`.
        """
        home = self._settings.home
        with suppress(NotFound):  # an earlier look was cut off below
            job = Workspace(home / "jobs" / folder_of(row.id))
            with job.hold():
                if job.state is not State.QUOTED:
                    if job.state is not State.OPENING:  # it may be a quote again
                        self._answer(row, OPENED)
                    return
                open_runner(home / "runner").keys.destroy(from_hex(job.facts["job_pk"]))
                (job.folder / "state.json").unlink()  # from here on it is no job
        shutil.rmtree(home / "jobs" / folder_of(row.id), ignore_errors=True)
        with transaction(self._engine) as session:
            orders.forget(session, row)

    def _serve(self, world: World, row: OrderRow) -> None:
        try:
            (self._quote if row.state == WAITING else self._open)(world, row)
        except (Unavailable, Busy, OSError, OperationalError):
            return  # the next look finds the order as it is
        except AllodError as error:
            self._answer(row, REFUSED, problem=error.document())
        except Exception as error:
            _log.error("order %s failed: %s", row.id, type(error).__name__)
            told = AllodError("Something went wrong on the runner's side.", hint="Ask for another quote.")
            self._answer(row, REFUSED, problem=told.document())

    def _answer(self, row: OrderRow, state: str, **values: Any) -> None:
        with transaction(self._engine) as session:
            orders.answer(session, row, state, **values)

    # -- quoting ------------------------------------------------------------------------------------------------------

    def _quote(self, world: World, row: OrderRow) -> None:
        payer = Address(row.payer)
        base = base_folder(world, str(row.wish["recipe"]["base"]))
        try:
            job = Workspace(world.home / "jobs" / folder_of(row.id))
        except NotFound:
            job = self._begin(world, row, base)
        with job.hold():
            if job.state is not State.QUOTED:
                raise Conflict("The job of this quote was started in another way.", hint="Ask for another quote.")
            job.note(base=str(base), order=row.id)
            number = world.jobs.of_folder(job.folder.name, payer).number
            opening = draft_opening(world.site(), job)
            fields = world.chain.draft(payer, world.market.escrow.address, opening.data)
            _check_gas(world, payer, fields.gas * fields.max_fee)
            self._answer(
                row,
                READY,
                job=number,
                quote=describe_quote(job),
                opening={
                    "type": 2,
                    "chain_id": fields.chain_id,
                    "nonce": fields.nonce,
                    "to": to_hex(world.market.escrow.address),
                    "value": "0",
                    "data": to_hex(opening.data),
                    "gas": fields.gas,
                    "max_fee_per_gas": str(fields.max_fee),
                    "max_priority_fee_per_gas": str(fields.max_priority_fee),
                    "lane": str(opening.order.lane),
                    "start": opening.order.start,
                },
                expires=int(self._clock()) + QUOTE_SECONDS,
            )

    def _begin(self, world: World, row: OrderRow, base: Path) -> Workspace:
        payer = Address(row.payer)
        asked = dict(row.wish["recipe"])
        name, purpose_code, epochs = str(asked.pop("base")), str(asked.pop("purpose")), int(asked.pop("epochs"))
        recipe = trainer.write_recipe(base, name, purpose_code, epochs=epochs, **asked)
        chosen = choose(world, payer, [ConsentId(from_hex(one, 32)) for one in row.wish["consents"]])
        found = trainer.quote(world, payer, chosen, recipe, int(row.wish["fee"]))
        require_deposit(world.site(), payer, found.total)
        return trainer.begin(world, found, folder=folder_of(row.id))[1]

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, world: World, row: OrderRow) -> None:
        raw = row.raw or b""
        job = Workspace(world.home / "jobs" / folder_of(row.id))
        with job.hold():
            tried = job.get_value("opening.cbor")["raw"] if job.has("opening.cbor") else None
            if job.state is not State.QUOTED and tried != raw:
                raise Conflict("The job of this quote was started in another way.", hint="Look at the job.")
            if job.state is State.QUOTED and self._is_unwanted(row):
                raise Refused("The job was cancelled by its payer before it was opened.", hint="Nothing was locked.")
            refused = None
            try:
                base = base_folder(world, str(row.wish["recipe"]["base"]))
                starting.start_signed(world, job, raw, base)
            except Refused as error:
                refused = error
            if refused is not None:
                self._answer(row, WAITING, problem=refused.document(), raw=None, tx_hash=None, expires=None)
            elif job.state is not State.OPENING:
                self._answer(row, OPENED)

    def _is_unwanted(self, row: OrderRow) -> bool:
        """Whether the payer asked to cancel after signing; who holds the folder can rely on a no."""
        with transaction(self._engine) as session:
            job = session.get(JobRow, row.job)
            return job is not None and job.wish is not None


def folder_of(order: str) -> str:
    """The name of the folder of an order's job: it follows from the order, so that twice is once."""
    return hashlib.sha256(b"allod/order/v1\0" + order.encode()).hexdigest()[:16]


def base_names(settings: Settings) -> list[str]:
    """The base models that this runner takes orders for: the demo's, and the folders in `bases` of its home."""
    folder = settings.home / "bases"
    here = [entry.name for entry in folder.iterdir() if _BASE.fullmatch(entry.name)] if folder.is_dir() else []
    return [trainer.DEMO_BASE, *sorted(here)]


def base_folder(world: World, name: str) -> Path:
    """Where a base model lies that an order names; never a path or an id that a stranger chose."""
    if name not in base_names(world.settings):
        raise Refused(
            f"This runner has no base model called {name[:64]}.",
            hint=f"It has: {', '.join(base_names(world.settings))}.",
        )
    return trainer.base_folder(world, name if name == trainer.DEMO_BASE else str(world.settings.home / "bases" / name))


def choose(world: World, payer: Address, wanted: Sequence[ConsentId]) -> list[Consent]:
    """The live consents of this payer that an order names by their tokens' ids; `Refused` says which do not serve."""
    known: dict[ConsentId, Consent] = {}
    for row in world.consents.consents(grantees=[payer, NOBODY]):
        consent = trainer.read_row(row).consent
        known[granting.consent_id(world.market, consent, payer)] = consent
    wrong: dict[str, list[str]] = {}
    for consent_id in wanted:
        if consent_id not in known:
            wrong[to_hex(consent_id)] = ["No consent of yours has this id."]
            continue
        status = granting.status(world.market, known[consent_id], payer)
        reasons = check_token([-1 if status is None else status], counted=False)
        if reasons:
            wrong[to_hex(consent_id)] = reasons
    if wrong:
        name, reasons = next(iter(wrong.items()))
        raise Refused(
            f"{len(wrong)} of the consents do not serve: {name}: {' '.join(reasons)}",
            hint="Take offers on chain first, and order with live consents only: GET /v1/consents?role=trainer.",
            reasons=wrong,
        )
    return [known[consent_id] for consent_id in wanted]


def describe_quote(job: Workspace) -> dict[str, Any]:
    """What a quoted job costs, from its own folder: amounts are UNITs in decimal."""
    tree, licences = SumTree.decode(job.get("tree.cbor")), licences_of(job)
    fee = tree.find(FEE)
    return {
        "recipe": to_hex(Recipe.decode(job.get("recipe.json")).hash),
        "payees": [
            {
                "consent": to_hex(leaf.consent_id),
                "owner": to_hex(licences[leaf.consent_id].consent.owner),
                "payee": to_hex(leaf.payee),
                "records": licences[leaf.consent_id].counts.records,
                "amount": str(leaf.amount),
            }
            for leaf in tree.leaves
            if leaf.consent_id != FEE
        ],
        "left_out": [
            {
                "consent": entry["consent"],
                "owner": entry["owner"],
                "reasons": sorted({str(said["reason"]) for said in entry["reasons"]}),
            }
            for entry in refusals_of(job)
        ],
        "fee": str(0 if fee is None else tree.leaves[fee].amount),
        "total": str(tree.total),
    }


def _check_gas(world: World, payer: Address, price: int) -> None:
    if world.chain.balance(payer) < price:
        raise Refused(
            "The payer has no money for the gas of the opening.",
            hint="Send it native money; on a development chain: `allod faucet`.",
            missing=str(price - world.chain.balance(payer)),
        )
