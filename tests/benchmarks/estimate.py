"""The estimate of memory against the real tensors of training steps on the CPU: starter model and full-size UNets."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import torch

from core import registry
from core.anatomy.layers import tensors_of, weights_of
from core.anatomy.trained import Trained, additions, chosen, everything
from core.anatomy.unet import unet_layers
from core.estimate.forward import Unet
from core.estimate.network import FULL, HALF, Arithmetic, Network
from core.estimate.tape import Meter, Tape
from core.paths import RESOURCES
from core.settings import default_settings
from tests.benchmarks.common import Figure
from tests.fixtures.measured_step import measure_step

_GOAL = 0.1
_LORA = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
#: Free memory that the largest case wants.
_WANTED_BYTES = 13 << 30


def run() -> dict[str, Figure]:
    """Estimated over measured peak of each case; SDXL is left out where there is too little free memory."""
    figures: dict[str, Figure] = {}
    starter = _config(RESOURCES / "starter" / "model" / "unet")
    for method in ("full", "part", "lora"):
        for batch in (1, 4, 8):
            for checkpointing in (False, True):
                name = f"starter {method} b{batch}{' recomputed' if checkpointing else ''}"
                figures[name] = _compare(starter, method, batch, 16, checkpointing, optimizer="adamw")
    for family, methods in (("sd15", ("full", "lora")), ("sdxl", ("full", "part"))):
        config = _config(RESOURCES / "models" / family / "unet")
        for method in methods:
            if psutil.virtual_memory().available > _WANTED_BYTES:
                figures[f"{family} {method} 512 px"] = _compare(config, method, 1, 64, True, half=True)
                gc.collect()
    figures["time of one estimate, SDXL"] = _time_of(_config(RESOURCES / "models" / "sdxl" / "unet"))
    return figures


def _config(folder: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _trained(config: dict[str, Any], method: str) -> Trained:
    layers = unet_layers(config)
    if method == "lora":
        return additions(layers, _LORA, 16)
    if method == "part":
        return Trained(frozenset(tensor.name for tensor in chosen(tensors_of(layers), ["mid", "up 0"], [])))
    return everything(layers)


def _compare(
    config: dict[str, Any],
    method: str,
    batch: int,
    side: int,
    checkpointing: bool,
    *,
    half: bool = False,
    optimizer: str = "",
) -> Figure:
    """Estimate over measurement; `half` computes and stores in bf16, and `optimizer` takes two whole steps."""
    trained = _trained(config, method)
    make: Callable[[Any], Any] | None = None
    if optimizer:
        build = registry.component("optimizers", optimizer).build
        options = getattr(default_settings(), optimizer)
        make = partial(_make_optimizer, build, options)
    real = measure_step(
        config, trained, batch, side, checkpointing=checkpointing, half=half, stored_half=half, make_optimizer=make
    )
    ratio = _estimated(config, trained, batch, side, checkpointing, half, optimizer) / real.peak
    return Figure(ratio, "x", "0.9 to 1.1", abs(ratio - 1) <= _GOAL)


def _make_optimizer(build: Any, options: Any, weights: list[torch.nn.Parameter]) -> Any:
    return build([{"params": weights, "lr": 1e-6}], options)


def _estimated(
    config: dict[str, Any], trained: Trained, batch: int, side: int, checkpointing: bool, half: bool, optimizer: str
) -> int:
    layers = unet_layers(config)
    size = HALF if half else FULL
    tape = _play(config, trained, batch, side, checkpointing, half)
    added = trained.added(layers)
    own = sum(tensor.count for tensor in tensors_of(layers) if tensor.name in trained.names)
    # PEFT keeps its additions in 32 bits, whatever the model is kept in.
    total = tape.meter.peak + size * weights_of(layers) + FULL * added
    return total + (8 * (own + added) if optimizer else 0)


def _play(config: dict[str, Any], trained: Trained, batch: int, side: int, checkpointing: bool, half: bool) -> Tape:
    stored = HALF if half and not trained.ranks else FULL
    how = Arithmetic(half, cuda=False, trained_bytes=stored, frozen_bytes=HALF if half else FULL)
    tape = Tape(Meter())
    network = Network(tape, unet_layers(config), trained, how)
    context = tape.new((batch, 77, config["cross_attention_dim"]), FULL)
    pooled = tape.new((batch, 1280), FULL)
    predicted = Unet(network, config, checkpointing)(tape.new((batch, 4, side, side), FULL), context, pooled)
    network.end_autocast()
    tape.backward(predicted)
    return tape


def _time_of(config: dict[str, Any]) -> Figure:
    began = time.perf_counter()
    _play(config, everything(unet_layers(config)), 1, 128, True, True)
    taken = 1000 * (time.perf_counter() - began)
    return Figure(taken, "ms", "< 200", taken < 200)
