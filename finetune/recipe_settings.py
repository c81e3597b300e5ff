"""The numbers that fix a training run: what the broker tells the trainer child before the first record.

Everything here is declared data. Fractions travel as decimal text, because Allod documents hold no floats.
A settings document names each key exactly once; a missing, extra or odd one is `InvalidInput`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from core.errors import InvalidInput

ALL_LINEAR = "all-linear"
PRECISIONS = ("fp32", "bf16", "auto")
DEVICES = ("auto", "cpu", "cuda")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,9})?")
_MODULE = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_LIMITS = {
    "rank": (1, 512),
    "alpha": (1, 4096),
    "warmup_steps": (0, 10**7),
    "total_steps": (1, 10**7),
    "max_length": (8, 1 << 20),
    "batch_rows": (1, 4096),
    "seed": (0, 2**32 - 1),
    "threads": (0, 1024),
}


@dataclass(frozen=True)
class TrainSettings:
    """One LoRA run.

    `base` is a local folder; `base_name` is what the adapter's configuration calls it. `batch_rows` rows go through
    the model at once: it bounds memory and does not change what one optimizer step means. The learning rate climbs
    over `warmup_steps`, then falls linearly to zero at `total_steps`, whichever rows a step carries. `precision`
    "auto" takes bfloat16 only where a probe of this model shows that it pays. `threads` 0 means all allowed cores.
    """

    base: str
    total_steps: int
    base_name: str = "base"
    rank: int = 16
    alpha: int = 32
    dropout: str = "0"
    targets: tuple[str, ...] = (ALL_LINEAR,)
    learning_rate: str = "0.0002"
    warmup_steps: int = 0
    max_grad_norm: str = "1"
    max_length: int = 512
    batch_rows: int = 8
    seed: int = 0
    precision: str = "fp32"
    device: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidInput(f"The training setting {name} must be a whole number from {low} to {high}.")
        for name in ("learning_rate", "dropout", "max_grad_norm"):
            value = getattr(self, name)
            if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
                raise InvalidInput(f"The training setting {name} must be a decimal number written as text.")
        if not 0 < Decimal(self.learning_rate) <= 1:
            raise InvalidInput("The learning rate must be above 0 and at most 1.")
        if Decimal(self.dropout) >= 1:
            raise InvalidInput("The dropout must be below 1.")
        if Decimal(self.max_grad_norm) == 0:
            raise InvalidInput("The largest gradient norm must be above 0.")
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

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimizer step `step` (from 0); skipped steps do not shift it."""
        full = float(self.learning_rate)
        if step < self.warmup_steps:
            return full * (step + 1) / self.warmup_steps
        rest = max(1, self.total_steps - self.warmup_steps)
        return full * max(0.0, 1 - (step - self.warmup_steps) / rest)
