"""The training settings that follow from a recipe: nothing a trainer runs on is chosen outside it but the machine."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from consent.recipe import Recipe
from finetune.recipe_settings import TrainSettings


def settings_for(recipe: Recipe, base: Path, total_steps: int, *, threads: int = 0) -> TrainSettings:
    """What the trainer child is told; `base` is the folder whose hash the recipe names."""
    return TrainSettings(
        base=str(base),
        base_name=recipe.base_name,
        total_steps=max(1, total_steps),
        rank=recipe.lora.r,
        alpha=recipe.lora.alpha,
        dropout=_decimal(recipe.lora.dropout_ppm, 6),
        targets=recipe.lora.targets,
        learning_rate=_decimal(recipe.learning_rate_nano, 9),
        warmup_steps=recipe.warmup_steps,
        max_length=recipe.sequence,
        batch_rows=min(recipe.batch_rows, 8),
        seed=recipe.seed % 2**32,
        threads=threads,
    )


def _decimal(number: int, places: int) -> str:
    return format(Decimal(number).scaleb(-places).normalize(), "f")
