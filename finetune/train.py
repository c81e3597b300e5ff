"""LoRA training of a causal language model: load, step, measure, hand over the adapter. Read it top to bottom.

This module runs in the trainer child. It sees token ids and nothing else: no text, no keys, no network, and it writes
no file. Same settings and rows on the same machine give the same adapter, byte for byte.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import InvalidInput, Unavailable
from finetune.packing import NO_LOSS, Row
from finetune.recipe_settings import ALL_LINEAR, TrainSettings

if TYPE_CHECKING:
    import torch

BF16_PAYS_FROM = 1.2  # bfloat16 must be this much faster before "auto" takes it
ISOLATED_WITHIN = 1e-3  # largest relative difference of logits, packed against alone


@dataclass(frozen=True)
class Measured:
    """Mean loss over `tokens` loss-bearing tokens, in nats."""

    loss: float
    tokens: int


class Training:
    """A base model with a fresh (or given) LoRA adapter, ready for optimizer steps."""

    def __init__(self, settings: TrainSettings, adapter: dict[str, bytes] | None = None) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        from finetune.model.load import load_model

        self.settings = settings
        torch.set_num_threads(settings.threads or len(os.sched_getaffinity(0)))
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.manual_seed(settings.seed)
        self.device = _choose_device(settings.device)
        base = load_model(settings.base).to(self.device)
        base.name_or_path = (
            settings.base_name
        )  # what peft writes into the adapter: a name, never a path of this machine
        self.vocabulary = int(base.get_input_embeddings().num_embeddings)
        _check_length(base, settings.sequence)
        check_isolation(base)
        if adapter is None:
            targets: str | list[str] = list(settings.targets)
            if settings.targets == (ALL_LINEAR,):
                targets = ALL_LINEAR
            config = LoraConfig(
                task_type="CAUSAL_LM",
                r=settings.rank,
                lora_alpha=settings.alpha,
                lora_dropout=settings.dropout_ppm / 1e6,
                target_modules=targets,
            )
            try:
                self.model = get_peft_model(base, config)
            except ValueError:
                raise InvalidInput(
                    "The base model has no layer of the names that the recipe wants to adapt.",
                    hint=f"Set targets to {ALL_LINEAR!r}, or to names of linear layers of this model.",
                ) from None
        else:
            self.model = _with_adapter(base, adapter)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=settings.learning_rate_nano / 1e9, weight_decay=0.0)
        self.half = settings.precision == "bf16" or (settings.precision == "auto" and self._bf16_pays())

    def step(self, step: int, rows: Sequence[Row]) -> Measured:
        """One optimizer step over `rows`; its loss is the mean over all their loss-bearing tokens.

        Without a loss-bearing token nothing moves, not even the optimizer's momentum.
        """
        import torch

        self._check(rows)
        tokens = sum(row.loss_tokens for row in rows)
        if tokens == 0:
            return Measured(0.0, 0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(step)
        self.model.train()
        total = 0.0
        for batch in self._batches(rows):
            loss = self._loss_sum(batch) / tokens
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        _check_finite(total)
        torch.nn.utils.clip_grad_norm_(self.trained, self.settings.max_grad_norm_milli / 1e3)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Measured(total, tokens)

    def evaluate(self, rows: Sequence[Row], *, base: bool = False) -> Measured:
        """Loss of the tuned model (or of the base alone) on `rows`; nothing moves."""
        import torch

        self._check(rows)
        tokens = sum(row.loss_tokens for row in rows)
        with torch.no_grad(), self._resting(base):
            total = sum(float(self._loss_sum(batch)) for batch in self._batches(rows))
        _check_finite(total)
        return Measured(total / tokens if tokens else 0.0, tokens)

    def generate(
        self, prompts: Sequence[Sequence[int]], most: int, stops: Sequence[int], *, base: bool = False
    ) -> list[list[int]]:
        """Greedy continuations of at most `most` tokens, ended in front of the first of `stops`."""
        import torch

        if any(not prompt or not all(0 <= i < self.vocabulary for i in prompt) for prompt in prompts):
            raise InvalidInput("A prompt is empty, or holds a token that the model does not know.")
        outputs: list[list[int]] = [[] for _ in prompts]
        by_length: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(index)
        with torch.no_grad(), self._resting(base):
            for indices in by_length.values():
                feed = torch.tensor([list(prompts[i]) for i in indices], device=self.device)
                cache, ended = None, set[int]()
                for _ in range(most):
                    answer = self.model(input_ids=feed, past_key_values=cache, use_cache=True)
                    feed, cache = answer.logits[:, -1:].argmax(-1), answer.past_key_values
                    for index, token in zip(indices, feed[:, 0].tolist(), strict=True):
                        if token in stops:
                            ended.add(index)
                        elif index not in ended:
                            outputs[index].append(token)
                    if len(ended) == len(indices):
                        break
        return outputs

    def adapter_files(self) -> dict[str, bytes]:
        """The adapter in PEFT's own format, made in memory: `PeftModel.from_pretrained` reads these two files."""
        from peft import get_peft_model_state_dict
        from safetensors.torch import save

        state = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in get_peft_model_state_dict(self.model, save_embedding_layers=False).items()
        }
        config = self.model.peft_config["default"].to_dict()
        config["inference_mode"] = True
        text = json.dumps(config, indent=2, sort_keys=True, default=_plain)
        return {"adapter_config.json": text.encode(), "adapter_model.safetensors": save(state, {"format": "pt"})}

    def _loss_sum(self, batch: Sequence[Row]) -> torch.Tensor:
        import torch
        from torch.nn.functional import cross_entropy

        width = max(len(row.input_ids) for row in batch)

        def tensor(lists: Iterable[list[int]], filler: int) -> torch.Tensor:
            padded = [values + [filler] * (width - len(values)) for values in lists]
            return torch.tensor(padded, device=self.device)

        # A filler's position 0 makes it a document of its own, so it needs no mask either.
        ids = tensor((row.input_ids for row in batch), 0)
        positions = tensor((row.position_ids for row in batch), 0)
        labels = tensor((row.labels for row in batch), NO_LOSS)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = self.model(input_ids=ids, position_ids=positions, use_cache=False).logits
        return cross_entropy(
            logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=NO_LOSS, reduction="sum"
        )

    def _batches(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        size = self.settings.rows_at_once
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def _check(self, rows: Sequence[Row]) -> None:
        for row in rows:
            same = len(row.input_ids) == len(row.labels) == len(row.position_ids)
            if not same or not 0 < len(row.input_ids) <= self.settings.sequence:
                raise InvalidInput("A row of tokens is empty, too long, or its three lists differ in length.")
            for token, label in zip(row.input_ids, row.labels, strict=True):
                if not 0 <= token < self.vocabulary or label not in (NO_LOSS, token):
                    raise InvalidInput(
                        "A row holds a token that the model does not know, or a label that is not its token."
                    )

    def _resting(self, base: bool) -> Any:
        import contextlib

        self.model.eval()
        return self.model.disable_adapter() if base else contextlib.nullcontext()

    def _bf16_pays(self) -> bool:
        import torch

        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported())
        width = min(self.settings.sequence, 256)
        row = Row([i % self.vocabulary for i in range(width)], list(range(width)), list(range(width)))
        row.labels = list(row.input_ids)
        seconds = {}
        for self.half in (False, True, False, True):
            start = time.perf_counter()
            self._loss_sum([row] * min(4, self.settings.rows_at_once)).backward()  # type: ignore[no-untyped-call]
            seconds[self.half] = time.perf_counter() - start  # the second pass of each overwrites its warm-up
        self.optimizer.zero_grad(set_to_none=True)
        torch.manual_seed(self.settings.seed)
        return seconds[False] / seconds[True] >= BF16_PAYS_FROM


def train(
    settings: TrainSettings, steps: Iterable[tuple[int, Sequence[Row]]]
) -> tuple[dict[str, bytes], list[Measured]]:
    """The whole of a run in one process: the adapter's files, and the loss of each step that had rows."""
    training = Training(settings)
    losses = [training.step(step, rows) for step, rows in steps if rows]
    return training.adapter_files(), losses


def check_isolation(model: Any) -> None:
    """Refuse a model in which a document's logits depend on what is packed in front of it.

    Two made-up documents are run packed and alone. A model whose layers ignore positions (recurrent ones, say)
    cannot keep owners apart in one row, and no setting here may hide that.
    """
    import torch

    vocabulary = int(model.get_input_embeddings().num_embeddings)
    first = [(7 * i + 3) % vocabulary for i in range(9)]
    second = [(11 * i + 5) % vocabulary for i in range(7)]
    device = next(model.parameters()).device

    def logits(ids: list[int], positions: list[int]) -> torch.Tensor:
        feed = {
            "input_ids": torch.tensor([ids], device=device),
            "position_ids": torch.tensor([positions], device=device),
        }
        result: torch.Tensor = model(**feed, use_cache=False).logits[0].float()
        return result

    model.eval()
    with torch.no_grad():
        packed = logits(first + second, [*range(len(first)), *range(len(second))])[len(first) :]
        alone = logits(second, list(range(len(second))))
    if float((packed - alone).abs().max()) > ISOLATED_WITHIN * max(1.0, float(alone.abs().max())):
        raise Unavailable(
            "This base model does not keep packed documents apart, so one owner's text could reach another's context.",
            hint="Choose a base model whose attention honours position ids (Llama, Qwen, Mistral and their like).",
        )


def _check_finite(loss: float) -> None:
    if not math.isfinite(loss):
        raise InvalidInput(
            "The training diverged: its loss is no longer a number.",
            hint="Take a lower learning rate, or more warm-up steps.",
        )


def _check_length(base: Any, sequence: int) -> None:
    most = getattr(base.config, "max_position_embeddings", None)
    if isinstance(most, int) and sequence > most:
        raise InvalidInput(f"The base model reads at most {most} tokens in a row, the recipe asks for {sequence}.")


def _choose_device(wanted: str) -> torch.device:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise Unavailable("The recipe asks for a GPU and this machine offers none.", hint="Set device to cpu or auto.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def _with_adapter(base: Any, files: dict[str, bytes]) -> Any:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load

    try:
        config = json.loads(files["adapter_config.json"])
        state = load(files["adapter_model.safetensors"])
        model = get_peft_model(
            base, LoraConfig(**{**config, "inference_mode": False, "base_model_name_or_path": base.name_or_path})
        )
        unread = set_peft_model_state_dict(model, state)
    except Exception:
        raise InvalidInput("The adapter's files are damaged, or belong to another base model.") from None
    missing = [name for name in unread.missing_keys if "lora_" in name]
    if missing or unread.unexpected_keys:
        raise InvalidInput("The adapter's files are damaged, or belong to another base model.")
    return model


def _plain(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    raise TypeError(type(value).__name__)
