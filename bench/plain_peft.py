"""The plainest fast LoRA script for bench/training.py: rows packed beforehand from plain files, one loop, one process.

    python -m bench.plain_peft SETTINGS ROWS

It says "ready", then trains as many steps as each line of stdin says and answers the seconds they took.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import cycle
from pathlib import Path


def main() -> None:
    """Load, pack nothing, train on demand."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.functional import cross_entropy
    from transformers import AutoModelForCausalLM

    settings = json.loads(Path(sys.argv[1]).read_text())
    steps = json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    base = AutoModelForCausalLM.from_pretrained(settings["base"], dtype=torch.float32)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=settings["rank"], lora_alpha=settings["alpha"], target_modules="all-linear"
    )
    model = get_peft_model(base, lora).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings["learning_rate_nano"] / 1e9, weight_decay=0.0)
    batches = []
    for rows in steps:
        width = max(len(row["input_ids"]) for row in rows)
        batches.append(
            [
                torch.tensor([row[name] + [filler] * (width - len(row[name])) for row in rows])
                for name, filler in (("input_ids", 0), ("labels", -100), ("position_ids", 0))
            ]
        )
    feed = cycle(batches)
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            ids, labels, positions = next(feed)
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
            loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
