"""What each of two processes (torchrun) finds when a small model is split over them; test_sharding.py judges it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from core.engine.distributed import require_same
from core.engine.sharding import Shares
from core.errors import UserError


class ResnetBlock2D(torch.nn.Module):
    """Called as diffusers' class is, so that its weights are a group. 3 rows are 2 and 1, one row is 1 and none."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = torch.nn.Linear(5, 3)
        self.narrow = torch.nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, 5) -> (b, 1)"""
        result: torch.Tensor = self.narrow(torch.tanh(self.wide(x)))
        return result


class Model(torch.nn.Module):
    """A frozen layer in bf16 and a trained block."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.nn.Linear(5, 5, dtype=torch.bfloat16).requires_grad_(False)
        self.block = ResnetBlock2D()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, 5) -> (b, 1)"""
        result: torch.Tensor = self.block(self.frozen(x.to(torch.bfloat16)).float())
        return result


def build() -> tuple[Model, torch.Tensor]:
    """The same model and pictures in every process."""
    torch.manual_seed(0)
    return Model(), torch.randn(4, 5)


def steps(model: Model, inputs: torch.Tensor, optimizer: torch.optim.Optimizer, shares: Shares | None) -> float:
    """Two steps; length of the last gradient."""
    norm = torch.zeros(())
    for _ in range(2):
        model(inputs).square().mean().backward()
        if shares:
            shares.take_gradients()
            norm = shares.norm()
        else:
            norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        optimizer.step()
        optimizer.zero_grad()
    return float(norm)


def trained(model: Model) -> list[torch.nn.Parameter]:
    """Parameters that move."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def worst(first: Any, second: Any) -> float:
    """Largest difference between the tensors of two optimizer states, or infinity for other keys or shapes."""
    if first.keys() != second.keys():
        return float("inf")
    pairs = [(first[n][key], second[n][key]) for n in first for key in first[n] | second[n]]
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float((a - b).abs().max()) for a, b in pairs)


def main(folder: Path) -> None:
    """Train alone and split, save and load; write what was found."""
    accelerator = Accelerator(cpu=True)
    model, inputs = build()
    reference = torch.optim.AdamW(trained(model), lr=0.1)
    alone_norm = steps(model, inputs, reference, None)
    alone = {name: p.detach().clone() for name, p in model.named_parameters()}

    split, inputs = build()
    before = trained(split)
    shares = Shares({"part": split}, {"part": before}, "cpu")
    own = shares.for_optimizer([before])[0]
    optimizer = torch.optim.AdamW(own, lr=0.1)
    found: dict[str, Any] = {"rows": [p.shape[0] for p in shares.groups["part"]], "in_optimizer": len(own)}
    mine = inputs[accelerator.process_index * 2 : accelerator.process_index * 2 + 2]
    found["norm"] = abs(steps(split, mine, optimizer, shares) - alone_norm)
    state = shares.whole_state(optimizer)
    with shares.gathered():
        weights = {name: p.detach().clone() for name, p in split.named_parameters() if p.requires_grad}
    if accelerator.is_main_process:
        found["state"] = worst(state["state"], reference.state_dict()["state"])
        found["numbers"] = state["param_groups"][0]["params"]
        found["weights"] = max(float((weights[name] - alone[name]).abs().max()) for name in weights)
    found["split_again"] = all(hasattr(p, "to_local") for p in split.parameters())
    fresh = torch.optim.AdamW(own, lr=0.5)
    fresh.load_state_dict(shares.local_state(fresh, reference.state_dict()))
    found["loaded"] = worst(fresh.state_dict()["state"], optimizer.state_dict()["state"])
    found["rate"] = fresh.param_groups[0]["lr"]
    require_same(accelerator, "same", "must not be said")
    try:
        require_same(accelerator, str(accelerator.process_index), "not the same")
    except UserError as error:
        found["complaint"] = str(error)
    (folder / f"{accelerator.process_index}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
