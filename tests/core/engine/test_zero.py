"""Tests of core/engine/zero.py at the border of DeepSpeed; tests/end_to_end runs it for real where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.engine import zero
from core.engine.zero import Zero, require_deepspeed, zero_config
from core.errors import UserError
from core.settings import Settings

Make = Callable[..., Settings]


def test_what_deepspeed_is_told(make_settings: Make) -> None:
    plain = zero_config(make_settings(training__batch_size=3, hardware__zero_stage=1), "fp32", 4)
    assert plain["train_micro_batch_size_per_gpu"] == 3 and plain["train_batch_size"] == 12
    assert plain["gradient_accumulation_steps"] == 1, "micro-batches are added up, not averaged, as everywhere here"
    assert plain["zero_optimization"]["stage"] == 1 and "offload_optimizer" not in plain["zero_optimization"]
    assert not plain["bf16"]["enabled"]
    other = zero_config(make_settings(hardware__offload_states=True, training__clip_norm=0.5), "bf16", 2)
    assert other["zero_optimization"]["offload_optimizer"] == {"device": "cpu"}
    assert other["bf16"]["enabled"] and other["gradient_clipping"] == 0.5
    assert other["zero_force_ds_cpu_optimizer"] is False, "or its own Adam would take the place of the chosen optimizer"


def test_a_lacking_or_broken_deepspeed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(UserError, match=r"DeepSpeed is not installed.*pip install deepspeed.*fsdp"):
        require_deepspeed(torch.device("cpu"))


class _Engine:
    """In the place of DeepSpeed's engine: of two processes the one that has the first half of each group."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: dict[str, Any]) -> None:
        for group in optimizer.param_groups:
            whole = torch.cat([parameter.detach().flatten() for parameter in group["params"]])
            flat = torch.nn.Parameter(whole[: -(-len(whole) // 2)].clone().float())
            at = 0
            for parameter in group["params"]:
                count = max(0, min(parameter.numel(), len(flat) - at))
                there = SimpleNamespace(start=at, numel=count)
                mine = SimpleNamespace(start=0, numel=count)
                parameter._hp_mapping = (
                    SimpleNamespace(lp_fragment_address=mine, hp_fragment_address=there) if count else None
                )
                at += parameter.numel()
            group["params"] = [flat]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> tuple[Zero, torch.optim.Optimizer, list[torch.nn.Parameter]]:
    """Two groups whose parameters stand in another order than in a training state."""
    library = SimpleNamespace(initialize=lambda model, optimizer, config: (_Engine(model, optimizer, config),))
    monkeypatch.setattr(zero, "require_deepspeed", lambda device: library)
    monkeypatch.setattr(zero, "all_reduce", lambda tensor: None)
    monkeypatch.setattr(zero, "get_rank", lambda: 0)
    module = torch.nn.ParameterList([torch.nn.Parameter(torch.randn(shape)) for shape in ((3, 4), (5,), (2, 2, 2))])
    first, second, third = module
    optimizer = torch.optim.AdamW([{"params": [third, first], "lr": 1e-2}, {"params": [second], "lr": 1e-3}])
    return Zero(module, optimizer, [first, second, third], {}), optimizer, [first, second, third]


def test_weights_go_into_the_model_and_into_the_share(held: Any) -> None:
    kept, optimizer, parameters = held
    weights = [torch.full(parameter.shape, float(number)) for number, parameter in enumerate(parameters, 1)]
    kept.take_weights(weights)
    assert all(torch.equal(parameter.data, weight) for parameter, weight in zip(parameters, weights, strict=True))
    (share,), (other,) = (group["params"] for group in optimizer.param_groups)
    assert share.tolist() == [3.0] * 8 + [1.0] * 2 and other.tolist() == [2.0] * 3
    found = kept.whole_weights()
    assert [tuple(tensor.shape) for tensor in found] == [(3, 4), (5,), (2, 2, 2)]
    assert found[2].eq(3).all() and found[0].flatten().tolist() == [1.0] * 2 + [0.0] * 10, "the rest has the other one"
    with kept.gathered():
        assert parameters[0].flatten().tolist() == [1.0] * 2 + [0.0] * 10
    assert parameters[0].eq(1).all()


def test_a_whole_state_is_cut_and_joined(held: Any) -> None:
    kept, optimizer, _ = held
    shapes = [(2, 2, 2), (3, 4), (5,)]
    state = {
        number: {
            "step": torch.tensor(7.0),
            "exp_avg": torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape),
            "exp_avg_sq": torch.ones(shape),
        }
        for number, shape in enumerate(shapes)
    }
    options = [{**group, "params": []} for group in optimizer.state_dict()["param_groups"]]
    options[0]["lr"] = 0.5
    kept.take_state({"state": state, "param_groups": options})
    share = optimizer.param_groups[0]["params"][0]
    assert optimizer.state[share]["exp_avg"].tolist() == [*range(1, 9), 1, 2]
    assert optimizer.param_groups[0]["lr"] == 0.5
    found = kept.whole_state()
    assert [group["params"] for group in found["param_groups"]] == [[0, 1], [2]]
    assert found["state"][0]["exp_avg"].equal(state[0]["exp_avg"]) and float(found["state"][2]["step"]) == 7
    assert found["state"][1]["exp_avg"].flatten().tolist() == [1, 2] + [0] * 10
