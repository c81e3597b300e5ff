"""`python -m finetune.model.pretrain FOLDER STEPS`: make the demo's base model from nothing in under a minute.

A byte-level BPE tokenizer and a Llama of about a million parameters, both learned from `corpus.base_text`. It knows
the valley's words and manners and none of its owners' facts, and it can spell anything. Runs in a process of its own,
so that whoever asks for the model does not keep torch in memory; prints one JSON line for each bit of progress.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.corpus.base_text import base_records
from finetune.model.muon import Muon
from finetune.model.tokenizer import RecordTokenizer, encode_record, load_tokenizer
from finetune.packing import Document, Row, pack

SPECIAL = {"pad_token": "<|pad|>", "eos_token": "<|end|>"}
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY = 1536
HIDDEN, LAYERS, HEADS = 128, 4, 4
ROW, ROWS_PER_STEP, STEPS = 192, 6, 400
MATRIX_RATE, OTHER_RATE, WARMUP, FALL = 0.015, 3e-3, 20, 0.4
POSITIONS = 1024
SEED = 20261123


def make_tokenizer(folder: Path) -> RecordTokenizer:
    """Learn the tokenizer and save it as transformers reads it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(t, special=True, normalized=False) for t in (*SPECIAL.values(), *ROLES)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        **SPECIAL,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": POSITIONS,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    return load_tokenizer(folder)


def pretrain(folder: Path, *, steps: int = STEPS) -> None:
    """Fill `folder` with the model; the same machine makes the same bytes each time."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(folder)
    torch.set_num_threads(min(2, len(os.sched_getaffinity(0))))
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.vocabulary,
            hidden_size=HIDDEN,
            intermediate_size=3 * HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=POSITIONS,
            initializer_range=0.08,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_id,
            bos_token_id=None,
            pad_token_id=0,
        )
    )
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_id, pad_token_id=0)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    muon = Muon(matrices)
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    adam = torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0)
    average = math.log(tokenizer.vocabulary)
    model.train()
    for step, rows in zip(range(steps), _steps(tokenizer), strict=False):
        part = min((step + 1) / WARMUP, (1 - step / steps) / FALL, 1.0)
        adam.param_groups[0]["lr"] = OTHER_RATE * part
        ids, labels, positions = (torch.tensor(lists) for lists in _padded(rows))
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        muon.step(MATRIX_RATE * part)
        average += 0.1 * (loss.item() - average)
        if step % 10 == 9 or step + 1 == steps:
            print(json.dumps({"step": step + 1, "steps": steps, "loss": round(average, 3)}), flush=True)
    model.save_pretrained(folder, safe_serialization=True)


def _texts() -> Iterator[str]:
    for record in base_records(8000, seed=SEED):
        yield record["text"] if record["kind"] == "text" else "\n".join(m["content"] for m in record["messages"])


def _steps(tokenizer: RecordTokenizer) -> Iterator[list[Row]]:
    """Packed rows without end. In pretraining every token bears loss, the questions of a chat too."""
    held: list[Document] = []
    tokens = 0
    for record in base_records(1 << 40, seed=SEED + 1):
        ids, _ = encode_record(tokenizer, record)
        held.append(Document(b"", 0, ids, ids))
        tokens += len(ids)
        if tokens >= ROW * ROWS_PER_STEP * 0.95:
            yield pack(held, ROW)
            held, tokens = [], 0


def _padded(rows: list[Row]) -> Iterator[list[list[int]]]:
    width = max(len(row.input_ids) for row in rows)
    for name, filler in (("input_ids", 0), ("labels", -100), ("position_ids", 0)):
        lists: list[Any] = [getattr(row, name) for row in rows]
        yield [values + [filler] * (width - len(values)) for values in lists]


if __name__ == "__main__":
    pretrain(Path(sys.argv[1]), steps=int(sys.argv[2]))
