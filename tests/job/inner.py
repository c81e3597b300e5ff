"""A trainer in this process: the very training function without a child, whose imports would take seconds each time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from finetune.packing import Row
from finetune.recipe_settings import TrainSettings
from finetune.train import Training
from finetune.trainer_process import Measured, Ready, TrainerLost
from finetune.training_state import load_state, save_state


class InnerTrainer:
    """Computes what the child computes (tests/train holds the two against each other); `kill` makes it a lost one."""

    def __init__(self) -> None:
        self.killed = False
        self._training: Training | None = None
        self._stepped: dict[int, Measured] = {}

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    @property
    def training(self) -> Training:
        if self.killed:
            raise TrainerLost("The trainer ended by itself (exit status -9).")
        assert self._training is not None
        return self._training

    def configure(self, settings: TrainSettings) -> Ready:
        self._training = Training(settings)
        return Ready(1, 1, 32)

    def begin_step(self, step: int, rows: Sequence[Row]) -> None:
        measured = self.training.step(step, rows)
        self._stepped[step] = Measured(round(measured.loss * 1e6), measured.tokens)

    def end_step(self, step: int) -> Measured:
        assert self.training
        return self._stepped.pop(step)

    def evaluate(self, rows: Sequence[Row], *, base: bool = False) -> Measured:
        measured = self.training.evaluate(rows, base=base)
        return Measured(round(measured.loss * 1e6), measured.tokens)

    def save(self) -> tuple[int, Iterator[bytes]]:
        state = save_state(self.training)
        return len(state), (state[start : start + 5000] for start in range(0, len(state), 5000))

    def restore(self, size: int, pieces: Iterable[bytes]) -> None:
        state = b"".join(pieces)
        assert len(state) == size
        load_state(self.training, state)

    def finish(self) -> dict[str, bytes]:
        return self.training.adapter_files()
