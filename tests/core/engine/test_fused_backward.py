"""Tests of core/engine/fused_backward.py: the weights of plain steps, whatever comes in what order."""

from __future__ import annotations

import math

import pytest
import torch

from core.engine import weights
from core.engine.fused_backward import FusedBackward
from core.engine.weights import Mover


def _layers() -> list[torch.nn.Linear]:
    torch.manual_seed(0)
    return [torch.nn.Linear(6, 6) for _ in range(4)]


def _optimizer(layers: list[torch.nn.Linear]) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for layer in layers for p in layer.parameters()], lr=0.1, fused=True)


def _loss(layers: list[torch.nn.Linear], order: list[int]) -> torch.Tensor:
    value = torch.linspace(-1, 1, 12).reshape(2, 6)
    for number in order:
        value = layers[number](value).tanh()
    return value.square().sum()


#: What each step uses, in its order: the same, turned round, a part, all again.
ORDERS = [[0, 1, 2, 3], [0, 1, 2, 3], [3, 2, 1, 0], [1, 2], [2, 0, 3, 1], [0, 1, 2, 3]]


@pytest.mark.parametrize("together", [30, 90, 10_000])
def test_any_order_gives_the_weights_of_plain_steps(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "GROUP_WEIGHTS", together)
    plain, fused = _layers(), _layers()
    optimizer, other = _optimizer(plain), _optimizer(fused)
    backward = FusedBackward(other, Mover(other, 0))
    for order in ORDERS:
        _loss(plain, order).backward()
        length = math.sqrt(
            sum(float(p.grad.square().sum()) for layer in plain for p in layer.parameters() if p.grad is not None)
        )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _loss(fused, order).backward()
        assert float(backward.finish()) == pytest.approx(length, rel=1e-6)
        assert all(p.grad is None for layer in fused for p in layer.parameters())
        for one, two in zip(plain, fused, strict=True):
            assert torch.equal(one.weight, two.weight) and torch.equal(one.bias, two.bias)


def test_gradients_are_gone_before_the_backward_pass_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "GROUP_WEIGHTS", 30)
    layers = _layers()
    optimizer = _optimizer(layers)
    backward = FusedBackward(optimizer, Mover(optimizer, 0))
    for _ in range(3):
        _loss(layers, [0, 1, 2, 3]).backward()
        assert [p.grad for layer in layers for p in layer.parameters()] == [None] * 8
        backward.finish()
