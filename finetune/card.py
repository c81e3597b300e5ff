"""The model card that ships with an adapter: Hugging Face metadata on top, then what trained it, in words.

Names in it come from recipes and settings, so they are quoted: none can add a field or a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from consent.order import Order
from consent.purposes import purpose_of_hash
from consent.recipe import Recipe
from core.encoding import to_hex

if TYPE_CHECKING:
    from finetune.provenance import Share


def model_card(order: Order, recipe: Recipe, shares: Sequence[Share], losses: Mapping[str, Any]) -> str:
    """README.md of the adapter. Everything in it follows from the statement and is signed with it."""
    purpose = purpose_of_hash(recipe.purpose)
    name = _plain(recipe.base_name)
    lines = [
        "---",
        f"base_model: {json.dumps(name)}",
        "library_name: peft",
        "tags:",
        "- lora",
        "- allod",
        "---",
        "",
        f"# A LoRA adapter for {name}, trained on consented data",
        "",
        f"Job `{to_hex(order.job_id)}` on chain {order.chain_id}.",
        "",
        "Every owner below granted a consent token and is paid through the job's escrow. `provenance.json`, one folder",
        "up, says so under the runner's signature; check it with `allod job verify`. The OpenSSF signature beside it",
        "covers these files (`model_signing verify key`).",
        "",
        "| owner | asset | records | record-epochs | tokens | UNITs |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *(
            f"| `{share.owner}` | `{share.asset}` | {share.records} | {share.record_epochs} | {share.tokens} "
            f"| {share.amount} |"
            for share in shares
        ),
        "",
        "## Training",
        "",
        f"- Purpose: {purpose.label if purpose else to_hex(recipe.purpose)}",
        f"- Base model SHA-256: `{recipe.base_hash.hex()}`",
        f"- LoRA: r = {recipe.lora.r}, alpha = {recipe.lora.alpha}, on {_plain(', '.join(recipe.lora.targets))}",
        f"- {recipe.epochs} epochs, seed {recipe.seed}, peak learning rate {recipe.learning_rate_nano / 1e9:g}",
        f"- {recipe.batch_rows} rows of {recipe.sequence} tokens in a step, documents isolated from each other",
    ]
    if losses:
        lines += [
            "",
            "## Held-out loss (nats per token)",
            "",
            "| records of | before | after |",
            "| --- | ---: | ---: |",
        ]
        lines += [
            f"| {_plain(who)} | {pair['before'] / 1e6:.3f} | {pair['after'] / 1e6:.3f} |"
            for who, pair in sorted(losses.items())
            if isinstance(pair, Mapping) and {"before", "after"} <= set(pair)
        ]
    lines += [
        "",
        "## Limits",
        "",
        "An adapter may repeat what it was trained on. A consent that is revoked later ends future jobs; it does not",
        "recall this adapter. The run was not sandboxed: its operator could see the data of this job while it ran.",
        "",
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """One line of text without what Markdown, HTML or a terminal would take for more than text."""
    return "".join(letter if letter.isprintable() and letter not in "|<>`[]#" else "_" for letter in text)
