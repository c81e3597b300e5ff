"""A run that goes on from its saved state is the run that never stopped, bit for bit."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from core.errors import Corrupted
from finetune.packing import Row, pack
from finetune.recipe_settings import TrainSettings
from finetune.train import Measured, Training
from finetune.trainer_process import TrainerLost, TrainerProcess
from finetune.training_state import load_state, save_state
from tests.train.conftest import made_up_documents
from tests.train.test_trainer_process import WATCHED, liar

pytestmark = [
    pytest.mark.needs_trainer,
    # peft 0.21 asks for what transformers 5.23 renamed
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

STEPS: list[tuple[int, list[Row]]] = [(k, pack(made_up_documents(9, seed=k), 32)) for k in range(6)]


@pytest.fixture
def settings(tiny_settings: TrainSettings) -> TrainSettings:
    """With dropout, so that every step draws random numbers."""
    return dataclasses.replace(tiny_settings, dropout_ppm=200_000)


def walk(training: Training, start: int = 0, end: int = len(STEPS)) -> list[Measured]:
    return [training.step(k, rows) for k, rows in STEPS[start:end]]


@pytest.mark.parametrize("stop", [0, 1, 3, 5, 6])
def test_a_run_goes_on_bit_for_bit_from_any_step(settings: TrainSettings, stop: int) -> None:
    unbroken = Training(settings)
    losses = walk(unbroken)
    first = Training(settings)
    walk(first, 0, stop)
    state = save_state(first)
    second = Training(settings)
    walk(second, 0, 2)  # whatever it did before is gone
    load_state(second, state)
    assert walk(second, stop) == losses[stop:]
    assert second.adapter_files() == unbroken.adapter_files()
    assert save_state(second) == save_state(unbroken)


def test_measuring_in_between_changes_nothing(settings: TrainSettings) -> None:
    losses = walk(Training(settings))
    other = Training(settings)  # the random generators are the process's: one run after another
    state = save_state(other)
    for _ in range(3):
        other.evaluate(STEPS[0][1])
    assert save_state(other) == state
    assert walk(other) == losses


def test_precision_is_part_of_the_state(settings: TrainSettings) -> None:
    one, other = Training(dataclasses.replace(settings, precision="bf16")), Training(settings)
    load_state(other, save_state(one))
    assert other.half


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "other model", "lacking", "too much"])
def test_a_state_that_does_not_fit_is_refused_and_moves_nothing(settings: TrainSettings, damage: str) -> None:
    from safetensors.torch import load, save

    training = Training(settings)
    walk(training, 0, 2)
    state = save_state(training)
    tensors = load(state)
    one = next(name for name in tensors if name.startswith("exp_avg/"))
    bad = {
        "empty": lambda: b"",
        "cut": lambda: state[:-9],
        "noise": lambda: b"\xff" * 4096,
        "other model": lambda: save_state(Training(dataclasses.replace(settings, rank=2))),
        "lacking": lambda: save({n: t for n, t in tensors.items() if n != one}, {"half": "0"}),
        "too much": lambda: save({**tensors, "parameter/elsewhere": tensors[one].clone()}, {"half": "0"}),
    }[damage]()
    with pytest.raises(Corrupted):
        load_state(training, bad)
    if damage != "other model":  # that one drew random numbers of its own to be made
        assert save_state(training) == state


def test_a_state_travels_from_one_child_to_another_and_no_file_is_written(settings: TrainSettings) -> None:
    here = Training(settings)
    losses = walk(here)
    with TrainerProcess(command=[sys.executable, "-P", "-s", "-c", WATCHED]) as child:
        child.configure(settings)
        for k, rows in STEPS[:4]:
            child.step(k, rows)
        size, pieces = child.save()
        state = b"".join(pieces)
        assert len(state) == size
        child.step(*STEPS[4])  # it goes on itself
        child.close()
        written = [line for line in child.stderr.splitlines() if line.startswith("WROTE")]
    assert [line for line in written if "/dev/null" not in line] == []
    with TrainerProcess() as child:
        child.configure(settings)
        child.restore(size, [state[start : start + 1000] for start in range(0, size, 1000)])
        told = [child.step(k, rows).loss_micro for k, rows in STEPS[4:]]
        assert child.finish() == here.adapter_files()
    assert told == [round(measured.loss * 1e6) for measured in losses[4:]]


def test_a_child_refuses_a_state_that_does_not_fit(settings: TrainSettings) -> None:
    with TrainerProcess() as child:
        child.configure(settings)
        with pytest.raises(Corrupted, match="does not fit"):
            child.restore(3, [b"abc"])


@pytest.mark.parametrize(
    "code",
    [
        "write_frame(out, {'kind': 'state', 'size': 3 * 10**9})",
        "write_frame(out, {'kind': 'state', 'size': -1})",
        "write_frame(out, {'kind': 'state', 'size': 3}); write_frame(out, {'kind': 'piece', 'data': b'four'})",
        "write_frame(out, {'kind': 'state', 'size': 3}); write_frame(out, {'kind': 'piece', 'data': b''})",
        "write_frame(out, {'kind': 'state', 'size': 3}); write_frame(out, {'kind': 'done'})",
        "write_frame(out, {'kind': 'state', 'size': 3}); write_frame(out, {'kind': 'piece', 'data': 'abc'})",
    ],
)
def test_a_state_is_of_the_announced_size_or_nothing(code: str) -> None:
    with liar(code) as child, pytest.raises(Corrupted):
        b"".join(child.save()[1])


def test_a_child_that_dies_while_it_hands_over_its_state_is_lost(settings: TrainSettings) -> None:
    code = "write_frame(out, {'kind': 'state', 'size': 9}); out.write(b'\\0\\0'); out.flush()"
    with liar(code) as child, pytest.raises(TrainerLost):
        b"".join(child.save()[1])
