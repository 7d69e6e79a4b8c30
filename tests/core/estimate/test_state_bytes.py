"""Tests of state_bytes() in core/optimizers: against the states that the real optimizers keep."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core import registry
from core.settings import default_settings

SHAPES = [(320, 4, 3, 3), (640, 320), (2560,), (64, 8), (96, 64, 1, 1)]


def kept(value: Any, known: set[int]) -> int:
    """Bytes of the tensors in an optimizer's state, each storage once; tables that all tensors share do not count."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        if storage.data_ptr() in known or value.numel() <= 1:
            return 0
        known.add(storage.data_ptr())
        return storage.nbytes()
    if isinstance(value, dict):
        return sum(kept(item, known) for key, item in value.items() if not str(key).startswith("qmap"))
    return sum(kept(item, known) for item in value) if isinstance(value, list | tuple) else 0


@pytest.mark.parametrize("name", registry.names("optimizers"))
def test_the_states_are_as_large_as_said(name: str) -> None:
    module = registry.component("optimizers", name)
    options = getattr(default_settings(), name, None)
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    optimizer = module.build([{"params": weights, "lr": 1e-3}], options)
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    for weight, shape in zip(weights, SHAPES, strict=True):
        assert kept(optimizer.state[weight], known) == pytest.approx(module.state_bytes(shape, options), abs=64), shape


def test_sgd_without_momentum_keeps_nothing() -> None:
    module = registry.component("optimizers", "sgd")
    assert module.state_bytes((10, 10), module.Options(momentum=0.0)) == 0
    assert module.state_bytes((10, 10), module.Options(momentum=0.9)) == 400
