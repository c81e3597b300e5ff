"""Packing: documents share rows, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from finetune.packing import NO_LOSS, Document, pack, plan_steps


def document(length: int, name: int = 0) -> Document:
    ids = [name * 1000 + i for i in range(length)]
    return Document(name.to_bytes(2, "big"), name % 3, ids, ids)


lengths = st.lists(st.integers(1, 70), min_size=1, max_size=40)


@given(lengths)
def test_every_token_is_packed_once_in_its_document_order(sizes: list[int]) -> None:
    documents = [document(size, name) for name, size in enumerate(sizes)]
    rows = pack(documents, 32)
    pieces: dict[bytes, list[list[int]]] = {}
    for row in rows:
        assert 0 < len(row.input_ids) <= 32
        assert len(row.input_ids) == len(row.labels) == len(row.position_ids) == sum(p.tokens for p in row.parts)
        at = 0
        for part in row.parts:
            pieces.setdefault(part.record, []).append(row.input_ids[at : at + part.tokens])
            assert row.position_ids[at : at + part.tokens] == list(range(part.tokens))
            at += part.tokens
    for original in documents:
        assert sorted(t for piece in pieces[original.record] for t in piece) == list(original.ids)


@given(lengths)
def test_the_first_token_behind_a_stranger_bears_no_loss_and_counts_add_up(sizes: list[int]) -> None:
    for row in pack([document(size, name) for name, size in enumerate(sizes)], 32):
        at = 0
        for part in row.parts:
            assert row.labels[at] == NO_LOSS
            assert sum(label != NO_LOSS for label in row.labels[at : at + part.tokens]) == part.loss_tokens
            at += part.tokens
        assert row.loss_tokens == sum(part.loss_tokens for part in row.parts)


@given(lengths, st.integers(1, 5))
def test_a_plan_covers_each_record_in_exactly_one_step_within_its_rows(sizes: list[int], rows_per_step: int) -> None:
    steps = plan_steps(sizes, 32, rows_per_step)
    assert [position for step in steps for position in step] == list(range(len(sizes)))
    for step in steps:
        rows = pack([document(sizes[i], i) for i in step], 32)
        assert len(rows) <= rows_per_step or len(step) == 1


def test_best_fit_fills_the_tightest_row() -> None:
    rows = pack([document(20, 1), document(25, 2), document(6, 3), document(12, 4)], 32)
    assert [[int.from_bytes(p.record, "big") for p in row.parts] for row in rows] == [[1, 4], [2, 3]]


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(InvalidInput):
        Document(b"x", 0, [1, 2], [1])


@pytest.mark.needs_trainer
class TestWithAModel:
    def test_packed_logits_equal_each_document_alone_and_a_mask_of_ones_breaks_it(self, tiny_base: Path) -> None:
        import torch

        from finetune.model.load import load_model

        model = load_model(tiny_base).eval()
        documents = [
            Document(bytes([i]), i, ids, ids) for i, ids in enumerate(([9, 8, 7, 6, 5], [4, 3, 2, 1], [50, 51]))
        ]
        (row,) = pack(documents, 32)
        ids, positions = torch.tensor([row.input_ids]), torch.tensor([row.position_ids])
        with torch.no_grad():
            packed = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
            mixed = model(
                input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids), use_cache=False
            ).logits[0]
            alone = torch.cat([model(input_ids=torch.tensor([d.ids]), use_cache=False).logits[0] for d in documents])
        assert float((packed - alone).abs().max()) <= 1e-4
        assert float((mixed - alone).abs().max()) > 1e-2
