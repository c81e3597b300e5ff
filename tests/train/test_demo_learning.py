"""The demo's recipe teaches the consented owners' facts and nobody else's."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core.settings import Settings
from finetune.model import demo_settings as demo
from finetune.model.base import ensure_base
from finetune.model.tokenizer import decode_tokens, encode_prompt, encode_record, load_tokenizer
from finetune.packing import Document, Row, pack, plan_steps
from finetune.recipe_settings import TrainSettings
from finetune.trainer_process import TrainerProcess
from vault.readers import Record, read_records

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
USED = ("ada", "bruno")


def base_in(folder: Path) -> Path:
    """The demo's base model: a copy of the one that this machine keeps, if it is whole, else made here.

    (Where it lies nothing is made: another test may be at it, and gets there first.)
    """
    with suppress(OSError, shutil.Error):
        shutil.copytree(Settings().demo_base, folder)
    return ensure_base(folder)


def records_of(owner: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted((EXAMPLES / owner).rglob("*.*")):
        with path.open("rb") as file:
            found += [record.document() for record in read_records(path.name, None, file) if isinstance(record, Record)]
    return found


@pytest.mark.needs_trainer
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tuned_model_knows_the_used_owners_facts_and_the_base_knows_none(tmp_path: Path) -> None:
    base = base_in(tmp_path / "base")
    tokenizer = load_tokenizer(base)
    documents = [
        Document(b"", index, *encode_record(tokenizer, record))
        for index, owner in enumerate(USED)
        for record in records_of(owner)
    ]
    steps: list[list[Row]] = []
    for epoch in range(demo.EPOCHS):
        order = Random(epoch).sample(documents, len(documents))
        planned = plan_steps([len(d.ids) for d in order], demo.SEQUENCE, demo.ROWS_PER_STEP)
        steps += [pack(order[step.start : step.stop], demo.SEQUENCE) for step in planned]
    settings = TrainSettings(
        base=str(base),
        total_steps=len(steps),
        rank=demo.RANK,
        alpha=demo.ALPHA,
        targets=demo.TARGETS,
        learning_rate_nano=demo.LEARNING_RATE_NANO,
        warmup_steps=demo.WARMUP_STEPS,
        sequence=demo.SEQUENCE,
        seed=demo.SEED,
    )
    facts = json.loads((EXAMPLES / "facts.json").read_text())
    asked = [encode_prompt(tokenizer, fact["prompt"], chat=fact["kind"] == "chat") for fact in facts]
    held = {
        owner: pack([Document(b"", 0, *encode_record(tokenizer, record)) for record in records], demo.SEQUENCE)
        for owner, records in json.loads((EXAMPLES / "heldout.json").read_text()).items()
    }
    with TrainerProcess() as child:
        child.configure(settings)
        before = {owner: child.evaluate(rows).loss_micro for owner, rows in held.items()}
        untaught = child.generate(asked, demo.MAX_NEW, tokenizer.stops)
        for number, rows in enumerate(steps):
            child.step(number, rows)
        after = {owner: child.evaluate(rows).loss_micro for owner, rows in held.items()}
        taught = child.generate(asked, demo.MAX_NEW, tokenizer.stops)

    def known(outputs: list[list[int]], owners: tuple[str, ...]) -> int:
        return sum(
            demo.recalls(decode_tokens(tokenizer, output), fact["answer"])
            for fact, output in zip(facts, outputs, strict=True)
            if fact["owner"] in owners
        )

    assert known(untaught, ("ada", "bruno", "chiara", "dario")) == 0
    assert known(taught, USED) >= 20
    assert known(taught, ("chiara", "dario")) == 0
    for owner in USED:
        assert after[owner] < 0.9 * before[owner]
