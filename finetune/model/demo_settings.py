"""The recipe numbers with which the demo's base model learns the example owners' facts, in the recipe's own units."""

from __future__ import annotations

from typing import Final

RANK: Final = 16
ALPHA: Final = 64
DROPOUT_PPM: Final = 0
TARGETS: Final = ("all-linear",)
LEARNING_RATE_NANO: Final = 5_000_000  # 5e-3
WARMUP_STEPS: Final = 5
EPOCHS: Final = 14
ROWS_PER_STEP: Final = 4  # a recipe's batch_rows
SEQUENCE: Final = 192
SEED: Final = 1
MAX_NEW: Final = 40  # tokens; enough for every answer in examples/facts.json


def recalls(output: str, answer: str) -> bool:
    """Whether a completion gives the answer of an entry of examples/facts.json."""
    return answer in output
