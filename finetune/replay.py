"""The ledger of a job held against its plan: nothing trained on that the plan does not have, nothing left out.

Order and steps follow from the plan by a rule that anyone can repeat (docs/format/71-plan-ledger.md), so a verifier
counts each step's record-epochs itself. Tokens that bore loss are the runner's count; they are only bounded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.errors import VerificationFailed
from core.ids import ConsentId, JobId
from finetune.ledger import Tally, Use, split_ledger
from finetune.plan import Plan, Step

Entry = dict[str, Any]


def replay(plan: Plan, ledger: bytes, job: JobId) -> None:
    """Return if the steps behind the ledger's last model are the whole walk through `plan`; else `VerificationFailed`.

    Consents that were dropped in an earlier attempt stay dropped. A step is left out only where every consent with a
    record in it was dropped before. What a resume took back is not part of the walk.
    """
    tally, gone, last = Tally(job), frozenset[ConsentId](), list[Entry]()
    for encoded in split_ledger(ledger):
        entry = tally.read(encoded)
        if entry["kind"] == "start":
            gone = tally.dropped
            last.clear()
        else:
            last.append(entry)
    if tally.plan != plan.hash():
        raise VerificationFailed("The ledger follows another plan.")
    _follow(plan, iter(_lineage(last)), set(gone))


def _lineage(entries: list[Entry]) -> list[Entry]:
    """The entries of one start without the steps that were taken back; a drop among these holds from the step at which
    the run went on."""
    kept, limit = list[Entry](), None
    for entry in reversed(entries):  # from behind, a step stands unless a later resume went below it
        if entry["kind"] == "resume":
            limit = entry["step"] if limit is None else min(limit, entry["step"])
        elif entry["kind"] == "drop" and limit is not None:
            kept.append({**entry, "step": min(limit, entry["step"])})
        elif limit is None or entry["step"] < limit:
            kept.append(entry)
    return kept[::-1]


def _follow(plan: Plan, entries: Iterator[Entry], gone: set[ConsentId]) -> None:
    entry, planned = next(entries, None), {item.consent for item in plan.objects}
    for step in plan.steps():
        while entry is not None and entry["kind"] == "drop" and entry["step"] <= step.number:
            gone.update(entry["consents"])
            entry = next(entries, None)
        if gone >= planned:
            break
        expected = _uses(plan, step, gone)
        if not expected:
            continue
        if entry is None or entry["kind"] != "step" or entry["step"] != step.number:
            raise VerificationFailed(f"The ledger leaves out step {step.number} of the plan.")
        counted = {consent: Use(records, tokens) for consent, records, tokens in entry["uses"]}
        same = counted.keys() == expected.keys() and all(
            use.record_epochs == expected[consent].record_epochs and use.tokens <= expected[consent].tokens
            for consent, use in counted.items()
        )
        if not same:
            raise VerificationFailed(f"The ledger counts other records than the plan has in step {step.number}.")
        entry = next(entries, None)
    if entry is not None:
        raise VerificationFailed("The ledger goes on behind the end of the plan.")


def _uses(plan: Plan, step: Step, gone: set[ConsentId]) -> dict[ConsentId, Use]:
    """The record-epochs of a step, and the most tokens that can bear loss: the first of each record never does."""
    uses: dict[ConsentId, Use] = {}
    for record in step.records:
        item, index = plan.locate(record)
        planned = plan.objects[item]
        if planned.consent not in gone:
            uses[planned.consent] = uses.get(planned.consent, Use()) + Use(1, planned.tokens[index] - 1)
    return uses
