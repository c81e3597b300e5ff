"""The recipe: everything about a fine-tune that a consent may limit and a repetition needs, as declared data.

Promises: integers only, one canonical JSON form (RFC 8785), its sha256 is the `recipe_hash` that the job commits to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Self

from consent.fields import UINT16_MAX, constant, exact_list, exact_map, hex_octets, integer, octets, text
from core.encoding import MAX_SAFE_INT, decode_json, encode_json, to_hex
from core.errors import InvalidInput

MAX_EPOCHS = 1000


@dataclass(frozen=True)
class Lora:
    """LoRA's settings: rank, alpha, dropout in millionths, and the names of the modules it adapts."""

    r: int
    alpha: int
    dropout_ppm: int
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        integer(self.r, "The recipe's lora.r", at_least=1, at_most=4096)
        integer(self.alpha, "The recipe's lora.alpha", at_least=1, at_most=65536)
        integer(self.dropout_ppm, "The recipe's lora.dropout_ppm", at_most=999_999)
        if not isinstance(self.targets, tuple) or not 1 <= len(self.targets) <= 64:
            raise InvalidInput("A recipe's lora.targets names 1 to 64 modules.")
        for target in self.targets:
            text(target, "A target of the recipe", at_most=128)
        if list(self.targets) != sorted(set(self.targets)):
            raise InvalidInput("A recipe's lora.targets are sorted and named once.")


@dataclass(frozen=True)
class Recipe:
    """One fine-tune. `base_hash` is the base model's hash, `purpose` the 32 bytes that consents carry.

    `learning_rate_nano` is the peak learning rate × 10⁹, `batch_rows` the packed rows of one optimizer step and
    `sequence` the tokens of one row.
    """

    base_name: str
    base_hash: bytes
    lora: Lora
    epochs: int
    seed: int
    purpose: bytes
    learning_rate_nano: int
    warmup_steps: int
    batch_rows: int
    sequence: int

    def __post_init__(self) -> None:
        text(self.base_name, "The recipe's base model name", at_most=200)
        octets(self.base_hash, "The recipe's base model hash", 32)
        octets(self.purpose, "The recipe's purpose", 32)
        integer(self.epochs, "The recipe's epochs", at_least=1, at_most=MAX_EPOCHS)
        integer(self.seed, "The recipe's seed", at_most=MAX_SAFE_INT)
        integer(self.learning_rate_nano, "The recipe's learning_rate_nano", at_least=1, at_most=10**9)
        integer(self.warmup_steps, "The recipe's warmup_steps", at_most=10**9)
        integer(self.batch_rows, "The recipe's batch_rows", at_least=1, at_most=UINT16_MAX)
        integer(self.sequence, "The recipe's sequence", at_least=8, at_most=2**20)

    @property
    def document(self) -> dict[str, Any]:
        """The recipe as JSON values."""
        return {
            "v": 1,
            "type": "allod/recipe",
            "base_model": {"name": self.base_name, "hash": to_hex(self.base_hash)},
            "method": "lora",
            "lora": {
                "r": self.lora.r,
                "alpha": self.lora.alpha,
                "dropout_ppm": self.lora.dropout_ppm,
                "targets": list(self.lora.targets),
            },
            "epochs": self.epochs,
            "seed": self.seed,
            "purpose": to_hex(self.purpose),
            "learning_rate_nano": self.learning_rate_nano,
            "warmup_steps": self.warmup_steps,
            "batch_rows": self.batch_rows,
            "sequence": self.sequence,
        }

    def encode(self) -> bytes:
        """Its canonical JSON bytes."""
        return encode_json(self.document)

    @cached_property
    def hash(self) -> bytes:
        """The recipe_hash: sha256 of the canonical bytes."""
        return sha256(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse exactly what `encode` writes, else `InvalidInput`."""
        keys = (
            "v", "type", "base_model", "method", "lora", "epochs", "seed", "purpose", "learning_rate_nano",
            "warmup_steps", "batch_rows", "sequence",
        )  # fmt: skip
        fields = exact_map(decode_json(data, limit=64 << 10), keys, "The recipe")
        constant(fields["v"], 1, "The recipe's version")
        constant(fields["type"], "allod/recipe", "The recipe's type")
        constant(fields["method"], "lora", "The recipe's method")
        base = exact_map(fields["base_model"], ("name", "hash"), "The recipe's base_model")
        lora = exact_map(fields["lora"], ("r", "alpha", "dropout_ppm", "targets"), "The recipe's lora")
        targets = exact_list(lora["targets"], "The recipe's lora.targets", at_least=1, at_most=64)
        return cls(
            base_name=base["name"],
            base_hash=hex_octets(base["hash"], "The recipe's base model hash", 32),
            lora=Lora(lora["r"], lora["alpha"], lora["dropout_ppm"], tuple(targets)),
            epochs=fields["epochs"],
            seed=fields["seed"],
            purpose=hex_octets(fields["purpose"], "The recipe's purpose", 32),
            learning_rate_nano=fields["learning_rate_nano"],
            warmup_steps=fields["warmup_steps"],
            batch_rows=fields["batch_rows"],
            sequence=fields["sequence"],
        )


def recipe_hash(data: bytes) -> bytes:
    """sha256 of a recipe document, after checking that it is one."""
    return Recipe.decode(data).hash
