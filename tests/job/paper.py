"""A trainer of paper: it takes what the child takes, answers what the child answers, and remembers every row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from finetune.model.tokenizer import decode_tokens, load_tokenizer
from finetune.packing import NO_LOSS, Row
from finetune.recipe_settings import TrainSettings
from finetune.trainer_process import Measured, Ready


class PaperTrainer:
    """Computes nothing; `rows` holds what each step was given."""

    def __init__(self, before_answer: Callable[[int], None] | None = None) -> None:
        self.rows: dict[int, Sequence[Row]] = {}
        self.settings: TrainSettings | None = None
        self.restored: list[bytes] = []
        self._before_answer = before_answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def configure(self, settings: TrainSettings) -> Ready:
        self.settings = settings
        return Ready(1, 1, 32)

    def begin_step(self, step: int, rows: Sequence[Row]) -> None:
        self.rows[step] = list(rows)

    def end_step(self, step: int) -> Measured:
        if self._before_answer is not None:
            self._before_answer(step)
        return self._measured(self.rows[step])

    def evaluate(self, rows: Sequence[Row], *, base: bool = False) -> Measured:
        return self._measured(rows)

    def save(self) -> tuple[int, Iterator[bytes]]:
        state = str(max(self.rows, default=-1)).encode()
        return len(state), iter([state])

    def restore(self, size: int, pieces: Iterable[bytes]) -> None:
        self.restored.append(b"".join(pieces))
        assert len(self.restored[-1]) == size

    def close(self) -> None:
        return

    def finish(self) -> dict[str, bytes]:
        return {"adapter_config.json": b"{}", "adapter_model.safetensors": b"paper"}

    def texts(self, base: Path) -> dict[int, list[str]]:
        """What was written in the rows of each step."""
        tokenizer: Any = load_tokenizer(base)
        return {step: [decode_tokens(tokenizer, row.input_ids) for row in rows] for step, rows in self.rows.items()}

    def _measured(self, rows: Sequence[Row]) -> Measured:
        return Measured(1_500_000, sum(label != NO_LOSS for row in rows for label in row.labels))
