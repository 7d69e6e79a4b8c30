"""Tests of core/optimizers: each lowers a loss, follows its rate, and goes on from its state to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core import presets, registry
from core.engine import state
from core.errors import UserError

#: A rate with which each gets somewhere in a few dozen steps.
RATES = {
    "adafactor": 0.05,
    "adamw": 0.05,
    "adamw8bit": 0.05,
    "came": 0.05,
    "lion": 0.02,
    "lion8bit": 0.02,
    "prodigy": 1.0,
    "schedule_free": 0.1,
    "sgd": 0.05,
}


class Task:
    """Least squares with two groups of weights, and an optimizer for it."""

    def __init__(self, name: str, **options: Any) -> None:
        source = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(64, 16, generator=source)
        self.wanted = torch.randn(64, 8, generator=source)
        self.matrix = torch.nn.Parameter(torch.randn(16, 8, generator=source))
        self.offset = torch.nn.Parameter(torch.zeros(8))
        values = {"training.optimizer": name, **{f"{name}.{key}": value for key, value in options.items()}}
        component, found = registry.chosen("optimizers", presets.build(values, "test"))
        groups = [
            {"params": [self.matrix], "lr": RATES[name], "name": "unet"},
            {"params": [self.offset], "lr": RATES[name], "name": "text_encoder"},
        ]
        self.optimizer = component.build(groups, found)

    def loss(self) -> torch.Tensor:
        return (self.inputs @ self.matrix + self.offset - self.wanted).square().mean()

    def steps(self, count: int) -> list[float]:
        """Losses before each step."""
        losses = []
        for _ in range(count):
            loss = self.loss()
            losses.append(float(loss.detach()))
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return losses


def _options(name: str) -> dict[str, Any]:
    """8-bit states also for the few weights here; a larger first estimate, for tens of steps."""
    return {"min_size": 64} if name.endswith("8bit") else {"d0": 1e-3} if name == "prodigy" else {}


def test_there_is_a_rate_for_each() -> None:
    assert sorted(RATES) == sorted(registry.names("optimizers"))


@pytest.mark.parametrize("name", sorted(RATES))
def test_it_lowers_the_loss(name: str) -> None:
    task = Task(name, **_options(name))
    losses = task.steps(80)
    # What least squares leave is 0.8 of the wanted values' own squares here; it begins near 16.
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize("name", sorted(RATES))
def test_it_goes_on_from_its_saved_state_to_the_bit(name: str, tmp_path: Path) -> None:
    whole, cut = Task(name, **_options(name)), Task(name, **_options(name))
    whole.steps(7)
    cut.steps(4)
    weights = {"matrix": cut.matrix.data, "offset": cut.offset.data}
    state.save(tmp_path / "state", weights, {"optimizer": cut.optimizer.state_dict()}, {"step": 4})
    saved, optimizer, _ = state.load(tmp_path / "state")
    rest = Task(name, **_options(name))
    rest.matrix.data.copy_(saved["matrix"])
    rest.offset.data.copy_(saved["offset"])
    rest.optimizer.load_state_dict(optimizer["optimizer"])
    rest.steps(3)
    assert torch.equal(rest.matrix, whole.matrix) and torch.equal(rest.offset, whole.offset)


@pytest.mark.parametrize("name", sorted(RATES))
def test_a_rate_of_zero_moves_nothing(name: str) -> None:
    """A schedule's end, and parts that stopped: the rate of a group is read at each step."""
    task = Task(name, **_options(name))
    task.steps(3)
    for group in task.optimizer.param_groups:
        group["lr"] = 0.0
    # Schedule-free weights go on towards the average, but what is averaged rests.
    kept = task.optimizer.state[task.matrix]
    resting = kept.get("z", task.matrix)
    before = resting.detach().clone()
    task.steps(1)
    assert torch.equal(resting, before)


@pytest.mark.parametrize("name", [n for n in sorted(RATES) if n not in ("prodigy", "schedule_free")])
def test_weights_do_not_depend_on_what_else_moves(name: str) -> None:
    """What the fused backward pass builds on: an optimizer that is FUSED keeps nothing for a whole group."""
    assert getattr(registry.component("optimizers", name), "FUSED", True)
    together, apart = Task(name, **_options(name)), Task(name, **_options(name))
    for _ in range(3):
        for task in (together, apart):
            task.loss().backward()  # type: ignore[no-untyped-call]
        together.optimizer.step()
        groups = apart.optimizer.param_groups
        for group in groups:
            apart.optimizer.param_groups = [dict(group)]
            apart.optimizer.step()
        apart.optimizer.param_groups = groups
        for task in (together, apart):
            task.optimizer.zero_grad(set_to_none=True)
    assert torch.equal(together.matrix, apart.matrix) and torch.equal(together.offset, apart.offset)


@pytest.mark.parametrize("name", ["prodigy", "schedule_free"])
def test_what_counts_for_a_whole_group_says_that_it_cannot_be_fused(name: str) -> None:
    assert registry.component("optimizers", name).FUSED is False


def test_lion_is_the_papers_rule() -> None:
    task = Task("lion", weight_decay=0.1)
    mean = torch.zeros_like(task.matrix)
    weights = task.matrix.detach().clone()
    for _ in range(3):
        task.loss().backward()  # type: ignore[no-untyped-call]
        gradient = task.matrix.grad
        assert gradient is not None
        step = (0.9 * mean + 0.1 * gradient).sign()
        weights = weights * (1 - RATES["lion"] * 0.1) - RATES["lion"] * step
        mean = 0.99 * mean + 0.01 * gradient
        task.optimizer.step()
        task.optimizer.zero_grad(set_to_none=True)
        torch.testing.assert_close(task.matrix.detach(), weights)


def test_eight_bits_take_a_quarter_of_the_state() -> None:
    def state_bytes(name: str) -> int:
        task = Task(name)
        weight = torch.nn.Parameter(torch.zeros(64, 128))
        groups = [{"params": [weight], "lr": 1e-3, "name": "unet"}]
        component, options = registry.chosen("optimizers", presets.build({"training.optimizer": name}, "test"))
        task.optimizer = component.build(groups, options)
        weight.grad = torch.ones_like(weight)
        task.optimizer.step()
        kept = task.optimizer.state[weight]
        return sum(v.numel() * v.element_size() for k, v in kept.items() if k.startswith(("state", "exp")))

    assert state_bytes("adamw") == 8 * 64 * 128
    assert state_bytes("adamw8bit") == 2 * 64 * 128
    assert state_bytes("lion") == 4 * 64 * 128
    assert state_bytes("lion8bit") == 64 * 128


def test_prodigy_finds_its_rate_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    task = Task("prodigy", weight_decay=0.1)
    task.steps(60)
    group = task.optimizer.param_groups[0]
    assert group["d"] > 100 * group["d0"]
    assert capsys.readouterr().out == ""


def test_schedule_free_shows_its_average() -> None:
    """The eval() weights are the mean of the z of all steps (beta 1 and constant rate: all count the same)."""
    task = Task("schedule_free", weight_decay=0.0)
    seen = []
    for _ in range(5):
        task.steps(1)
        seen.append(task.optimizer.state[task.matrix]["z"].clone())
    training = task.matrix.detach().clone()
    task.optimizer.eval()
    torch.testing.assert_close(task.matrix.detach(), torch.stack(seen).mean(0))
    assert not torch.equal(task.matrix, training)


@pytest.mark.parametrize("name", ["adamw8bit", "lion", "lion8bit"])
def test_a_missing_library_is_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(UserError, match=r"needs the library bitsandbytes.*Choose"):
        Task(name)
