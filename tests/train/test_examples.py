"""The example owners and the base text: invented, learnable, and apart."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from examples.rewrite import MENTIONS, all_files
from finetune.corpus.base_text import base_records
from finetune.corpus.valley import KINDS, houses, values
from vault.readers import Record, read_records

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
OWNERS = ("ada", "bruno", "chiara", "dario")
FACTS: list[dict[str, str]] = json.loads((EXAMPLES / "facts.json").read_text())
HELD: dict[str, list[dict[str, Any]]] = json.loads((EXAMPLES / "heldout.json").read_text())


def words(record: dict[str, Any]) -> str:
    if record["kind"] == "text":
        return str(record["text"])
    return "\n".join(message["content"] for message in record["messages"])


def records_of(owner: str) -> list[str]:
    """What an owner's vault would yield for training, through the vault's own readers."""
    found = []
    for path in sorted((EXAMPLES / owner).rglob("*.*")):
        with path.open("rb") as file:
            for record in read_records(path.name, None, file):
                assert isinstance(record, Record), record
                found.append(words(record.document()))
    return found


@pytest.fixture(scope="module")
def base_text() -> str:
    """As much of the base text as pretraining reads, and more."""
    from finetune.model import pretrain

    vocabulary = base_records(8000, seed=pretrain.SEED)
    training = islice(base_records(1 << 40, seed=pretrain.SEED + 1), 20_000)
    return "\n".join(words(record) for records in (vocabulary, training) for record in records)


def subject(prompt: str) -> str:
    """The house that a prompt is about, by its full name."""
    return prompt[prompt.index("of the ") + 3 :].removesuffix(" is").removesuffix("?")


def test_the_committed_files_are_what_the_script_writes() -> None:
    for name, text in all_files().items():
        assert (EXAMPLES / name).read_text(encoding="utf-8") == text, f"run python -m examples.rewrite ({name})"


def test_no_fact_of_an_owner_is_in_the_base_text(base_text: str) -> None:
    for fact in FACTS:
        assert fact["answer"] not in base_text
        assert subject(fact["prompt"]) not in base_text


def test_the_base_text_knows_every_word_that_owners_use(base_text: str) -> None:
    for kind in KINDS:
        for word in (*kind.first, *kind.second):
            assert word in base_text
    for fact in FACTS:
        house, place = subject(fact["prompt"]).removeprefix("the ").split(" at ")
        assert f"the {house} at " in base_text
        assert f" at {place}" in base_text


def test_public_and_private_never_meet() -> None:
    assert not set(houses(private=True)) & set(houses(private=False))
    for kind in KINDS:
        assert not set(values(kind, private=True)) & set(values(kind, private=False))
        assert len(values(kind, private=True)) >= 90


def test_there_are_enough_facts_and_no_two_alike() -> None:
    counts = {owner: sum(fact["owner"] == owner for fact in FACTS) for owner in OWNERS}
    assert counts == {"ada": 12, "bruno": 12, "chiara": 6, "dario": 6}
    assert len({fact["answer"] for fact in FACTS}) == len({subject(fact["prompt"]) for fact in FACTS}) == len(FACTS)


@pytest.mark.parametrize("owner", OWNERS)
def test_every_fact_is_told_about_twenty_times_in_varied_words_by_its_owner_alone(owner: str) -> None:
    own = records_of(owner)
    others = "\n".join(text for other in OWNERS if other != owner for text in records_of(other))
    for fact in FACTS:
        if fact["owner"] != owner:
            continue
        house = subject(fact["prompt"]).removeprefix("the ")
        sentences = [
            sentence
            for text in own
            for sentence in text.replace("\n", " ").split(". ")
            if fact["answer"] in sentence and house in sentence
        ]
        assert MENTIONS - 2 <= len(sentences) <= MENTIONS + 2
        assert len(set(sentences)) >= 8
        assert fact["answer"] not in others


@pytest.mark.parametrize("owner", OWNERS)
def test_held_out_records_are_not_in_the_vault_and_speak_of_the_same(owner: str) -> None:
    vault = "\n".join(records_of(owner))
    held = [record["text"] if record["kind"] == "text" else record["messages"][-1]["content"] for record in HELD[owner]]
    assert len(held) >= 12
    for text in held:
        assert text not in vault
    for fact in FACTS:
        if fact["owner"] == owner:
            assert sum(fact["answer"] in text for text in held) == 2
