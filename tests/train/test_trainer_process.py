"""The trainer child over its pipe."""

from __future__ import annotations

import pytest

from finetune.packing import pack
from finetune.recipe_settings import TrainSettings
from finetune.train import train
from finetune.trainer_process import TrainerProcess
from tests.train.conftest import made_up_documents

pytestmark = [
    pytest.mark.needs_trainer,
    pytest.mark.filterwarnings(
        "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
    ),  # peft 0.21 asks for it
]


def test_the_child_trains_exactly_what_the_function_trains(tiny_settings: TrainSettings) -> None:
    steps = [(k, pack(made_up_documents(9, seed=k), 32)) for k in range(6)]
    here, losses = train(tiny_settings, steps)
    with TrainerProcess() as child:
        ready = child.configure(tiny_settings)
        assert 0 < ready.trainable < ready.parameters
        told = [child.step(k, rows) for k, rows in steps]
        there = child.finish()
    assert [(m.loss_micro, m.tokens) for m in told] == [(round(m.loss * 1e6), m.tokens) for m in losses]
    assert there == here
