"""Muon, the optimizer that lets the demo's base model learn in under a minute (K. Jordan, 2024).

Each weight matrix moves along its momentum with all singular values brought near one, by five rounds of a
Newton–Schulz iteration. In 32-bit floats, and with matrices of one shape in one batch, since a CPU without bfloat16
units would otherwise spend its time here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_ROUNDS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315  # the published quintic: steep at 0, which is what few rounds need


class Muon:
    """Steps for two-dimensional weights; embeddings and norms belong to another optimizer."""

    def __init__(self, weights: list[torch.nn.Parameter], *, momentum: float = 0.95) -> None:
        import torch

        self._momentum = momentum
        by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
        for weight in weights:
            by_shape.setdefault(weight.shape, []).append(weight)
        self._groups = [(group, torch.zeros(len(group), *shape)) for shape, group in by_shape.items()]

    def step(self, rate: float) -> None:
        """Move every weight by `rate` along its orthogonalised momentum, and forget the gradients."""
        import torch

        with torch.no_grad():
            for weights, speed in self._groups:
                gradient = torch.stack([_gradient(weight) for weight in weights])
                speed.lerp_(gradient, 1 - self._momentum)
                rows, columns = speed.shape[-2:]
                moves = orthogonalise(gradient.lerp(speed, self._momentum)) * (rate * max(1, rows / columns) ** 0.5)
                for weight, move in zip(weights, moves, strict=True):
                    weight.sub_(move)
                    weight.grad = None


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """A batch of matrices with their singular vectors kept and their singular values brought near one."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = _A * x + (_B * square + _C * square @ square) @ x
    result: torch.Tensor = x.mT if tall else x
    return result


def _gradient(weight: torch.nn.Parameter) -> torch.Tensor:
    assert weight.grad is not None
    return weight.grad
