"""Peak memory of a real step of full fine-tuning at full size: bf16 weights, 8-bit states, fused backward pass.

The UNets have random weights and their real configs. Batch 1 at 512 pixels, activation checkpointing. Each model has a
process of its own, whose peak (resident set, libraries and all) is what counts; text encoders and VAE are not in
memory, as in a run whose latents and text states are cached. Takes some minutes, and 13 GiB for SDXL.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from core.launch import worker_environment
from core.paths import ROOT
from tests.benchmarks.common import Figure, apart

#: By family: most GiB of the process, and the weights' count that is published.
GOALS = {"sd15": (5.5, 859_520_964), "sdxl": (13.0, 2_567_463_684)}
#: Most bytes for each weight that stay between two steps.
BYTES_PER_WEIGHT = 4.2


def run() -> dict[str, Figure]:
    """Peak GiB, and persistent bytes of each weight, of SD 1.5 and SDXL."""
    figures = {}
    for family, (most, count) in GOALS.items():
        row = apart(["-m", "tests.benchmarks.memory", family], worker_environment())
        if row["weights"] != count:
            raise RuntimeError(f"{family} has {row['weights']} weights, not {count}")
        peak, kept = row["peak_gib"], row["bytes_per_weight"]
        figures[f"{family}_peak"] = Figure(peak, "GiB", f"<= {most}", peak <= most)
        figures[f"{family}_kept"] = Figure(kept, "B/weight", f"<= {BYTES_PER_WEIGHT}", kept <= BYTES_PER_WEIGHT)
        figures[f"{family}_step"] = Figure(row["seconds"], "s", "-", True)
    return figures


def _random_unet(config: dict[str, Any]) -> Any:
    """The UNet of a config with random bf16 weights, made tensor by tensor."""
    import torch
    from accelerate import init_empty_weights
    from diffusers import UNet2DConditionModel

    with init_empty_weights(include_buffers=False):
        unet = UNet2DConditionModel.from_config(config)
    state = {}
    for name, tensor in unet.state_dict().items():
        fresh = torch.empty(tensor.shape, dtype=torch.bfloat16)
        state[name] = fresh.normal_(0, 0.02) if tensor.ndim > 1 else fresh.fill_(float(name.endswith("weight")))
    unet.load_state_dict(state, assign=True)
    return unet.requires_grad_(False)


def _step(family: str) -> dict[str, Any]:
    """Two steps (the second with states) of the real trainer; what they took."""
    import time

    import torch
    from accelerate import Accelerator

    from core import presets, registry
    from core.anatomy.source import shipped_configs
    from core.engine.loader import Batch
    from core.engine.model_files import ModelSource
    from core.engine.models import Models
    from core.engine.trainer import Trainer

    settings = presets.build(
        {
            "model.base": "random",
            "training.method": "full",
            "training.optimizer": "adamw8bit",
            "training.weights_precision": "bf16",
            "training.precision": "bf16",
            "training.activation_checkpointing": True,
            "training.fused_backward_pass": True,
            "training.clip_norm": 0.0,
            "training.learning_rate": 1e-6,
        },
        "benchmark",
    )
    module = registry.component("families", family)
    configs = shipped_configs(module)
    models = Models(ModelSource(ROOT, module, False, configs), torch.device("cpu"), frozen=torch.bfloat16)
    models.unet = _random_unet(configs["unet"])
    trainer = Trainer(models, settings, Accelerator(cpu=True, mixed_precision="bf16"), "bf16")
    width = configs["unet"]["cross_attention_dim"]
    states = {"encoder_hidden_states": torch.randn(1, 77, width), "pooled": torch.randn(1, 1280)}
    if family == "sd15":
        del states["pooled"]
    trainer.texts = _Texts(states)  # type: ignore[assignment]
    shape = (1, 4, 64, 64)
    sizes = torch.tensor([[512.0, 512, 0, 0, 512, 512]])
    began = time.monotonic()
    for number in range(2):
        batch = Batch(
            latents=torch.randn(shape),
            noise=torch.randn(shape),
            timesteps=torch.tensor([500]),
            captions=["a"],
            sizes=sizes,
            weights=torch.ones(1),
            count=1,
            number=number,
            epoch=0,
        )
        result = trainer.step(number + 1, [batch], 1.0)
        if not bool(torch.isfinite(result.loss)):
            raise RuntimeError("the loss is no number")
    seconds = (time.monotonic() - began) / 2
    weights = trainer.groups["unet"]
    kept = sum(p.numel() * p.element_size() for p in weights) + _state_bytes(trainer.optimizer.state)
    count = sum(p.numel() for p in weights)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"weights": count, "bytes_per_weight": kept / count, "peak_gib": peak, "seconds": seconds}


class _Texts:
    """Text states that are there already, as TextStates gives them."""

    def __init__(self, states: Any) -> None:
        self._states = states

    def get(self, captions: list[str]) -> Any:
        return self._states


def _state_bytes(state: Any) -> int:
    """Bytes of an optimizer's tensors; a table that many states share counts once."""
    import torch

    seen: dict[int, int] = {}
    for kept in state.values():
        for value in kept.values():
            if isinstance(value, torch.Tensor):
                seen[value.data_ptr()] = value.numel() * value.element_size()
    return sum(seen.values())


if __name__ == "__main__":
    print(json.dumps(_step(sys.argv[1])))
