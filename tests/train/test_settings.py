"""The numbers of a run."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from consent.recipe import Lora, Recipe
from core.errors import InvalidInput
from finetune.recipe_settings import TrainSettings

GOOD = TrainSettings(base="/models/base", total_steps=10)


def test_settings_survive_as_a_document() -> None:
    assert TrainSettings.parse(GOOD.document()) == GOOD


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 0},
        {"rank": True},
        {"rank": "16"},
        {"learning_rate_nano": 0},
        {"learning_rate_nano": 10**9 + 1},
        {"dropout_ppm": 10**6},
        {"sequence": 7},
        {"rows_at_once": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"total_steps": 0},
        {"precision": "fp16"},
        {"device": "tpu"},
        {"base": ""},
        {"targets": []},
        {"targets": ["q_proj; import os"]},
        {"targets": "q_proj"},
        {"extra": 1},
    ],
)
def test_an_odd_setting_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        TrainSettings.parse({**GOOD.document(), **change})


@pytest.mark.parametrize("name", sorted(GOOD.document()))
def test_a_missing_setting_is_refused(name: str) -> None:
    document = GOOD.document()
    del document[name]
    with pytest.raises(InvalidInput):
        TrainSettings.parse(document)


def test_the_learning_rate_climbs_then_falls_to_zero_whatever_was_skipped() -> None:
    settings = TrainSettings(base="b", total_steps=10, warmup_steps=4, learning_rate_nano=1_000_000_000)
    rates = [settings.learning_rate_at(step) for step in range(11)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[10] == 0.0
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[4:]))


def test_a_recipe_decides_all_that_a_consent_may_limit() -> None:
    recipe = Recipe(
        "demo-base", bytes(32), Lora(8, 16, 50_000, ("k_proj", "q_proj")), 3, 77, bytes(32), 5_000, 2, 4, 128
    )
    settings = TrainSettings.of_recipe(recipe, base="/b", total_steps=9, rows_at_once=2)
    assert settings.document() == {
        **TrainSettings(base="/b", total_steps=9).document(),
        "base_name": "demo-base",
        "rank": 8,
        "alpha": 16,
        "dropout_ppm": 50_000,
        "targets": ["k_proj", "q_proj"],
        "learning_rate_nano": 5_000,
        "warmup_steps": 2,
        "sequence": 128,
        "seed": 77,
        "rows_at_once": 2,
    }
