"""All that a training run remembers between two steps, as bytes: with it, it goes on bit for bit.

That is the trained parameters, the optimizer's own tensors for each, the random generators (dropout draws from them)
and whether it computes in bfloat16. The learning rate follows from a step's number alone. The format is safetensors,
which holds numbers only: reading it runs no code. These bytes memorise what was trained on: the broker seals them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import Corrupted

if TYPE_CHECKING:
    import torch

    from finetune.train import Training

_HALF = "half"
_RANDOM = "random"


def save_state(training: Training) -> bytes:
    """The state after the last step, as `load_state` takes it."""
    from safetensors.torch import save

    tensors = {f"{_RANDOM}/{name}": state for name, state in _generators(training).items()}
    for name, parameter in _trained(training).items():
        tensors[f"parameter/{name}"] = parameter.detach()
        for key, tensor in training.optimizer.state.get(parameter, {}).items():
            tensors[f"{key}/{name}"] = tensor
    flat = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    return save(flat, {_HALF: "1" if training.half else "0"})


def load_state(training: Training, data: bytes) -> None:
    """Put a run of the same settings where `save_state` found it; `Corrupted`, and nothing moved, for any other."""
    import torch
    from safetensors.torch import load

    try:
        tensors, half = load(data), _half(data)
        random = {name: tensors.pop(f"{_RANDOM}/{name}") for name in _generators(training)}
        if any(random[name].shape != now.shape for name, now in _generators(training).items()):
            raise ValueError
        trained = _trained(training)
        parameters = {name: tensors.pop(f"parameter/{name}") for name in trained}
        states: dict[str, dict[str, torch.Tensor]] = {name: {} for name in trained}
        for label, tensor in tensors.items():
            key, _, name = label.partition("/")
            states[name][key] = tensor
        for name, parameter in trained.items():
            like = {key: tensor for key, tensor in states[name].items() if key != "step"}
            whole = set(states[name]) in (set(), {"step", "exp_avg", "exp_avg_sq"})
            same = all(
                (one.shape, one.dtype) == (parameter.shape, parameter.dtype)
                for one in (parameters[name], *like.values())
            )
            if not whole or not same:
                raise ValueError
    except Exception:
        raise Corrupted("This state of a training run does not fit the job's model.") from None
    # Copied into memory that torch aligned itself: a view into `data` could take another path through its kernels.
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(parameters[name])
            training.optimizer.state.pop(parameter, None)
            if states[name]:
                moments = {k: torch.empty_like(parameter).copy_(t) for k, t in states[name].items() if k != "step"}
                training.optimizer.state[parameter] = {"step": states[name]["step"].clone(), **moments}
    training.half = half
    torch.set_rng_state(random["cpu"].clone())
    if "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"].clone(), training.device)


def _generators(training: Training) -> dict[str, torch.Tensor]:
    """The present state of each random generator that a step may draw from."""
    import torch

    cuda = {"cuda": torch.cuda.get_rng_state(training.device)} if training.device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def _trained(training: Training) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in training.model.named_parameters() if parameter.requires_grad}


def _half(data: bytes) -> bool:
    import json

    size = int.from_bytes(data[:8], "little")  # safetensors: a JSON header behind its own length
    return {"0": False, "1": True}[json.loads(data[8 : 8 + size])["__metadata__"][_HALF]]
