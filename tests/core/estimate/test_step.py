"""Tests of core/estimate: the peak of a step and of the VAE against the real tensors of the same work on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.anatomy.additions import Form
from core.anatomy.encoders import vae_layers
from core.anatomy.layers import tensors_of, weights_of
from core.anatomy.trained import Trained, additions, chosen, everything
from core.anatomy.unet import unet_layers
from core.engine.attention import ProcessorAttention
from core.estimate.forward import Unet, vae_decode, vae_encode
from core.estimate.network import Arithmetic, Network
from core.estimate.tape import Meter, Tape
from tests.core.anatomy.test_anatomy import SMALL_XL
from tests.fixtures.measured_step import _inputs, _make, measure_step
from tests.fixtures.tensor_memory import TensorMemory
from tests.fixtures.tiny_model import UNET, VAE

torch.set_num_threads(1)

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]


def trained_by(method: str, config: dict[str, Any]) -> Trained:
    layers = unet_layers(config)
    if method == "full":
        return everything(layers)
    if method == "lora":
        return additions(layers, ATTENTION, 4)
    if method in ("loha", "lokr"):
        return additions(layers, [*ATTENTION, "conv1", "conv2"], 3, Form(method))
    kinds = ["cross-attention"] if method == "attention" else []
    blocks = [] if method == "attention" else ["mid", "up 0"]
    return Trained(frozenset(tensor.name for tensor in chosen(tensors_of(layers), blocks, kinds)))


def played(config: dict[str, Any], trained: Trained, batch: int, side: int, checkpointing: bool, half: bool) -> int:
    """The estimated peak, weights in 32 bits included."""
    meter = Meter()
    tape = Tape(meter)
    network = Network(tape, unet_layers(config), trained, Arithmetic(half, cuda=False))
    context = tape.new((batch, 77, config["cross_attention_dim"]), 4)
    pooled = tape.new((batch, 16), 4)
    unet = Unet(network, config, checkpointing)
    predicted = unet(tape.new((batch, 4, side, side), 4), context, pooled)
    network.end_autocast()
    tape.backward(predicted)
    layers = unet_layers(config)
    return meter.peak + 4 * (weights_of(layers) + trained.added(layers))


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("method", ["full", "part", "attention", "lora", "loha", "lokr"])
def test_the_peak_of_a_step(method: str, checkpointing: bool, half: bool) -> None:
    for config, batch in ((UNET, 4), (SMALL_XL, 2)):
        trained = trained_by(method, config)
        real = measure_step(config, trained, batch, 8, checkpointing=checkpointing, half=half)
        assert played(config, trained, batch, 8, checkpointing, half) == pytest.approx(real.peak, rel=0.05)


def test_pictures_that_are_not_square() -> None:
    trained = everything(unet_layers(UNET))
    peaks = []
    for shape in ((1, 4, 4, 16), (1, 4, 8, 8)):
        tape = Tape(Meter())
        network = Network(tape, unet_layers(UNET), trained, Arithmetic(False, cuda=False))
        predicted = Unet(network, UNET, False)(tape.new(shape, 4), tape.new((1, 77, 16), 4), None)
        assert predicted.shape == shape
        tape.backward(predicted)
        peaks.append(tape.meter.peak)
    assert peaks[0] == peaks[1], "as many pixels in another shape need as much"


@pytest.mark.parametrize("way", ["encode", "decode"])
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
def test_the_peak_of_the_vae(way: str, half: bool) -> None:
    from diffusers import AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKL(**VAE).eval()
    given = torch.randn(2, 3, 96, 64) if way == "encode" else torch.randn(2, 4, 12, 8)
    memory = TensorMemory()
    memory.count([*vae.parameters(), given])
    before = memory.live
    with memory, torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        vae.encode(given) if way == "encode" else vae.decode(given)
    meter = Meter()
    tape = Tape(meter)
    tape.recording = False
    network = Network(tape, vae_layers(VAE), Trained(), Arithmetic(half, cuda=False))
    start = tape.new(tuple(given.shape), 4)
    (vae_encode if way == "encode" else vae_decode)(network, VAE, start)
    assert meter.peak - start.bytes == pytest.approx(memory.peak - before, rel=0.15)


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_peak_of_a_look(method: str, half: bool) -> None:
    """A forward pass that nothing is learned from: samples, and the stable loss."""
    trained, batch, side = trained_by(method, UNET), 6, 16
    unet = _make(UNET, trained, False)
    if half:
        unet.set_attn_processor(ProcessorAttention())
    memory = TensorMemory()
    memory.count(unet.parameters())
    inputs = _inputs(UNET, batch, side)
    before = memory.live
    with memory, torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        unet(**inputs)
    meter = Meter()
    tape = Tape(meter)
    tape.recording = False
    network = Network(tape, unet_layers(UNET), trained, Arithmetic(half, cuda=False))
    given = tape.new((batch, 4, side, side), 4), tape.new((batch, 77, UNET["cross_attention_dim"]), 4)
    Unet(network, UNET, False)(*given, None)
    assert meter.peak - sum(tensor.bytes for tensor in given) == pytest.approx(memory.peak - before, rel=0.15)


def test_everything_is_freed_at_the_end() -> None:
    meter = Meter()
    tape = Tape(meter)
    network = Network(tape, unet_layers(UNET), everything(unet_layers(UNET)), Arithmetic(True, cuda=True))
    predicted = Unet(network, UNET, True)(tape.new((1, 4, 8, 8), 4), tape.new((1, 77, 16), 4), None)
    network.end_autocast()
    tape.backward(predicted)
    del predicted
    assert meter.live["activations"] == 0 and meter.live["weight copies"] == 0
    assert meter.total == 4 * weights_of(unet_layers(UNET)), "the gradients are left, nothing else"


def test_gradients_are_freed_as_the_weights_move() -> None:
    peaks = {}
    for bundle in (0, 2000):
        meter = Meter()
        tape = Tape(meter, bundle_weights=bundle)
        network = Network(tape, unet_layers(UNET), everything(unet_layers(UNET)), Arithmetic(False, cuda=False))
        predicted = Unet(network, UNET, True)(tape.new((1, 4, 8, 8), 4), tape.new((1, 77, 16), 4), None)
        tape.backward(predicted)
        peaks[bundle] = meter.peak
    assert peaks[2000] < peaks[0] / 2
