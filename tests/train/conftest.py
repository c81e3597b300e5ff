"""A two-layer model built on the spot, and rows for it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from finetune.packing import Document
from finetune.recipe_settings import TrainSettings

VOCABULARY = 97


def made_up_documents(count: int, *, seed: int = 1, longest: int = 20) -> list[Document]:
    """Documents of random tokens: each owner has a word of their own that follows token 3."""
    source = random.Random(seed)
    documents = []
    for index in range(count):
        owner = index % 3
        ids = [source.randrange(5, VOCABULARY) for _ in range(source.randrange(4, longest))]
        ids[1:3] = [3, 10 + owner]
        documents.append(Document(index.to_bytes(4, "big"), owner, ids, ids))
    return documents


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained two-layer Llama and a tokenizer file."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-base")
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def tiny_settings(tiny_base: Path) -> TrainSettings:
    return TrainSettings(
        base=str(tiny_base),
        base_name="tiny",
        total_steps=6,
        rank=4,
        alpha=8,
        learning_rate_nano=10_000_000,
        sequence=32,
        rows_at_once=2,
        seed=5,
        device="cpu",
        threads=1,
    )
