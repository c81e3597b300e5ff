"""The training function: what a step does, and what comes out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput, Unavailable
from finetune.packing import Document, Row, pack
from finetune.recipe_settings import TrainSettings
from finetune.train import Training, check_isolation, train
from tests.train.conftest import VOCABULARY, made_up_documents

pytestmark = [
    pytest.mark.needs_trainer,
    # peft 0.21 asks for what transformers 5.23 renamed
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


KNOWN_LOSSES = [4.5674, 4.5955, 4.554, 4.5752, 4.5779, 4.5808]
KNOWN_TOKENS = [88, 89, 113, 121, 97, 99]


def steps(count: int = 6) -> list[tuple[int, list[Row]]]:
    return [(k, pack(made_up_documents(9, seed=k), 32)) for k in range(count)]


def test_the_same_run_gives_the_same_adapter_byte_for_byte(tiny_settings: TrainSettings) -> None:
    settings = dataclasses.replace(tiny_settings, dropout_ppm=100_000)
    first, second = train(settings, steps()), train(settings, steps())
    assert first == second
    assert train(dataclasses.replace(settings, seed=6), steps())[0] != first[0]


def test_the_losses_of_a_known_run_are_known(tiny_settings: TrainSettings) -> None:
    _, losses = train(tiny_settings, steps())
    assert [round(m.loss, 4) for m in losses] == pytest.approx(KNOWN_LOSSES, abs=5e-4)
    assert [m.tokens for m in losses] == KNOWN_TOKENS


def test_how_many_rows_go_at_once_does_not_change_a_step(tiny_settings: TrainSettings) -> None:
    import torch
    from safetensors.torch import load

    few, few_losses = train(dataclasses.replace(tiny_settings, rows_at_once=1), steps(3))
    all_, all_losses = train(dataclasses.replace(tiny_settings, rows_at_once=64), steps(3))
    assert [m.loss for m in few_losses] == pytest.approx([m.loss for m in all_losses], abs=1e-5)
    one, other = load(few["adapter_model.safetensors"]), load(all_["adapter_model.safetensors"])
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_training_lowers_the_loss_of_what_is_trained_and_leaves_the_base_alone(tiny_settings: TrainSettings) -> None:
    rows = pack(made_up_documents(6), 32)
    training = Training(dataclasses.replace(tiny_settings, total_steps=80))
    before = training.evaluate(rows)
    assert training.evaluate(rows, base=True) == before
    for step in range(80):
        training.step(step, rows)
    assert training.evaluate(rows).loss < before.loss - 0.5
    assert training.evaluate(rows, base=True) == before


def test_a_step_without_loss_moves_nothing(tiny_settings: TrainSettings) -> None:
    training = Training(tiny_settings)
    training.step(0, steps(1)[0][1])
    before = training.adapter_files()
    silent = pack([Document(b"x", 0, [5, 6, 7], [-100, -100, -100])], 32)
    assert training.step(1, silent).tokens == 0
    assert training.step(2, []).tokens == 0
    assert training.adapter_files() == before


def test_dropped_rows_leave_the_learning_rate_of_later_steps(tiny_settings: TrainSettings) -> None:
    training = Training(tiny_settings)
    for step, rows in steps():
        if step not in {1, 2}:
            training.step(step, rows)
            assert training.optimizer.param_groups[0]["lr"] == tiny_settings.learning_rate_at(step)


def test_the_adapter_loads_with_stock_peft_and_speaks_the_same(
    tiny_settings: TrainSettings, tiny_base: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel

    from finetune.model.load import load_model

    training = Training(tiny_settings)
    for step, rows in steps():
        training.step(step, rows)
    for name, data in training.adapter_files().items():
        (tmp_path / name).write_bytes(data)
    loaded = PeftModel.from_pretrained(load_model(tiny_base), str(tmp_path)).eval()
    ids = torch.tensor([[5, 3, 10, 44, 9]])
    training.model.eval()
    with torch.no_grad():
        ours, theirs, base = (m(input_ids=ids).logits for m in (training.model, loaded, load_model(tiny_base)))
    assert torch.equal(ours, theirs)
    assert float((ours - base).abs().max()) > 1e-2


def test_the_adapter_names_the_base_and_no_path_of_this_machine(tiny_settings: TrainSettings, tiny_base: Path) -> None:
    files = train(tiny_settings, steps(1))[0]
    config = json.loads(files["adapter_config.json"])
    assert config["base_model_name_or_path"] == "tiny"
    assert str(tiny_base).encode() not in b"".join(files.values())


def test_a_run_goes_on_from_an_adapter(tiny_settings: TrainSettings) -> None:
    files = train(tiny_settings, steps())[0]
    rows = steps(1)[0][1]
    trained, resumed = Training(tiny_settings), Training(tiny_settings, files)
    for step, step_rows in steps():
        trained.step(step, step_rows)
    assert resumed.evaluate(rows) == trained.evaluate(rows)
    assert resumed.adapter_files() == files


@pytest.mark.parametrize("damage", ["cut", "foreign", "config"])
def test_a_damaged_adapter_is_refused(tiny_settings: TrainSettings, damage: str) -> None:
    files = train(tiny_settings, steps(1))[0]
    if damage == "cut":
        files["adapter_model.safetensors"] = files["adapter_model.safetensors"][:-40]
    elif damage == "config":
        files["adapter_config.json"] = b"{}"
    else:
        import torch
        from safetensors.torch import save

        files["adapter_model.safetensors"] = save({"base_model.model.elsewhere.lora_A.weight": torch.zeros(2, 2)})
    with pytest.raises(InvalidInput):
        Training(tiny_settings, files)


@pytest.mark.parametrize(
    "row",
    [
        Row([5, VOCABULARY], [-100, VOCABULARY], [0, 1]),
        Row([5, -1], [-100, -100], [0, 1]),
        Row([5, 6], [-100, 7], [0, 1]),
        Row([5, 6], [-100], [0, 1]),
        Row([], [], []),
        Row([5] * 33, [5] * 33, list(range(33))),
    ],
)
def test_rows_that_no_packing_makes_are_refused(tiny_settings: TrainSettings, row: Row) -> None:
    training = Training(tiny_settings)
    with pytest.raises(InvalidInput):
        training.step(0, [row])


def test_a_run_that_diverges_says_so(tiny_settings: TrainSettings) -> None:
    import torch

    training = Training(tiny_settings)
    with torch.no_grad():
        training.trained[1].fill_(float("nan"))
    with pytest.raises(InvalidInput, match="diverged"):
        training.step(0, steps(1)[0][1])


def test_greedy_continuations_equal_the_step_by_step_argmax_and_stop(tiny_settings: TrainSettings) -> None:
    import torch

    training = Training(tiny_settings)
    for step, rows in steps():
        training.step(step, rows)
    prompts = [[5, 3], [7, 8, 9], [11, 3]]
    expected = []
    for prompt in prompts:
        ids = list(prompt)
        with torch.no_grad():
            for _ in range(6):
                ids.append(int(training.model.eval()(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        expected.append(ids[len(prompt) :])
    assert training.generate(prompts, 6, []) == expected
    stop = expected[0][2]
    assert training.generate(prompts[:1], 6, [stop]) == [expected[0][: expected[0].index(stop)]]


def test_a_model_that_mixes_packed_documents_is_refused(tiny_base: Path) -> None:
    import torch

    from finetune.model.load import load_model

    class Mixing(torch.nn.Module):
        """Hides the positions from the model, as a recurrent layer would ignore them."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def get_input_embeddings(self) -> Any:
            return self.model.get_input_embeddings()

        def forward(self, input_ids: Any, position_ids: Any, use_cache: bool) -> Any:
            return self.model(input_ids=input_ids, use_cache=use_cache)

    model = load_model(tiny_base)
    check_isolation(model)
    with pytest.raises(Unavailable, match="packed documents apart"):
        check_isolation(Mixing(model))


def test_unknown_layers_and_too_long_rows_are_refused(tiny_settings: TrainSettings) -> None:
    with pytest.raises(InvalidInput, match="no layer"):
        Training(dataclasses.replace(tiny_settings, targets=("nowhere",)))
    with pytest.raises(InvalidInput, match="at most 64"):
        Training(dataclasses.replace(tiny_settings, sequence=65))
