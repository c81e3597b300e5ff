"""The numbers that fix a training run: what the broker tells the trainer child before the first record.

Everything here is declared data, whole numbers in the units of the recipe. A settings document names each key exactly
once; a missing, extra or odd one is `InvalidInput`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from core.errors import InvalidInput

if TYPE_CHECKING:
    from consent.recipe import Recipe

ALL_LINEAR = "all-linear"
PRECISIONS = ("fp32", "bf16", "auto")
DEVICES = ("auto", "cpu", "cuda")
_MODULE = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_LIMITS = {
    "rank": (1, 4096),
    "alpha": (1, 65536),
    "dropout_ppm": (0, 999_999),
    "learning_rate_nano": (1, 10**9),
    "warmup_steps": (0, 10**9),
    "total_steps": (1, 10**9),
    "max_grad_norm_milli": (1, 10**9),
    "sequence": (8, 1 << 20),
    "rows_at_once": (1, 4096),
    "seed": (0, 2**32 - 1),
    "threads": (0, 1024),
}


@dataclass(frozen=True)
class TrainSettings:
    """One LoRA run.

    `base` is a local folder; `base_name` is what the adapter's configuration calls it. `rows_at_once` rows go through
    the model at once: it bounds memory and leaves alone what one optimizer step means. The learning rate (× 10⁹)
    climbs over `warmup_steps`, then falls linearly to zero at `total_steps`, whichever rows a step carries.
    `precision` "auto" takes bfloat16 only where a probe of this model shows that it pays. `threads` 0 means all
    allowed cores. `dropout_ppm` is in millionths, `max_grad_norm_milli` in thousandths.
    """

    base: str
    total_steps: int
    base_name: str = "base"
    rank: int = 16
    alpha: int = 32
    dropout_ppm: int = 0
    targets: tuple[str, ...] = (ALL_LINEAR,)
    learning_rate_nano: int = 200_000
    warmup_steps: int = 0
    max_grad_norm_milli: int = 1000
    sequence: int = 512
    rows_at_once: int = 8
    seed: int = 0
    precision: str = "fp32"
    device: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidInput(f"The training setting {name} must be a whole number from {low} to {high}.")
        if self.precision not in PRECISIONS or self.device not in DEVICES:
            raise InvalidInput(f"precision is one of {PRECISIONS}, device one of {DEVICES}.")
        if not isinstance(self.base, str) or not self.base or not isinstance(self.base_name, str):
            raise InvalidInput("The base model's folder and name are text.")
        if not self.targets or not all(isinstance(t, str) and _MODULE.fullmatch(t) for t in self.targets):
            raise InvalidInput(f"targets is a list of module names, or one entry {ALL_LINEAR!r}.")

    def document(self) -> dict[str, Any]:
        """This run as plain data, for a frame or a JSON document."""
        return {**dataclasses.asdict(self), "targets": list(self.targets)}

    @classmethod
    def parse(cls, document: object) -> Self:
        """The settings in `document`, which names every key and no other."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(document, dict) or set(document) != names or not isinstance(document["targets"], list):
            raise InvalidInput("The training settings do not name exactly the keys they must.")
        return cls(**{**document, "targets": tuple(document["targets"])})

    @classmethod
    def of_recipe(cls, recipe: Recipe, *, base: str, total_steps: int, rows_at_once: int = 8, threads: int = 0) -> Self:
        """What `recipe` says, and what it leaves to the machine. `total_steps` is the plan's, all epochs together."""
        return cls(
            base=base,
            total_steps=total_steps,
            base_name=recipe.base_name,
            rank=recipe.lora.r,
            alpha=recipe.lora.alpha,
            dropout_ppm=recipe.lora.dropout_ppm,
            targets=recipe.lora.targets,
            learning_rate_nano=recipe.learning_rate_nano,
            warmup_steps=recipe.warmup_steps,
            sequence=recipe.sequence,
            seed=recipe.seed % 2**32,
            rows_at_once=rows_at_once,
            threads=threads,
        )

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimizer step `step` (from 0); skipped steps do not shift it."""
        full = self.learning_rate_nano / 1e9
        if step < self.warmup_steps:
            return full * (step + 1) / self.warmup_steps
        rest = max(1, self.total_steps - self.warmup_steps)
        return full * max(0.0, 1 - (step - self.warmup_steps) / rest)
