"""The peak of one training step and of the work around it, played on the tape; equal questions are answered once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from core.anatomy.source import Anatomy
from core.anatomy.trained import Trained
from core.estimate.forward import Unet, clip, vae_decode, vae_encode
from core.estimate.network import FULL, Arithmetic, Network
from core.estimate.tape import GRADIENTS, Meter, Tape, Tensor

#: Weights that the fused backward pass moves together (core/engine/fused_backward.py).
BUNDLE_WEIGHTS = 500_000

#: Tokens that a text encoder reads in one pass, and those among them that are the caption's own.
PASS, OWN = 77, 75

Parts = tuple[tuple[str, Trained], ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What decides the memory of a step besides the weights.

    Attributes:
        passes: Passes of the text encoder that one caption takes: 1 to 3.
        height, width: Of the latents.
        accumulating: Whether gradients of an earlier batch are there already.
        fused: Whether gradients are freed as the weights move.
    """

    batch: int
    height: int
    width: int
    checkpointing: bool
    accumulating: bool
    fused: bool
    how: Arithmetic
    passes: int = 1


def training_peak(anatomy: Anatomy, trained: Mapping[str, Trained], work: Work) -> dict[str, int]:
    """Bytes by name at the worst moment of a step, weights and states left out."""
    return dict(_training_peak(anatomy, tuple(sorted(trained.items(), key=lambda item: item[0])), work))


class _ByIdentity:
    """A key of a cache that does not look into what it holds."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._key = tuple((name, what.names, tuple(sorted(what.ranks.items())), what.form) for name, what in parts)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self._key == other._key


def _training_peak(anatomy: Anatomy, parts: Parts, work: Work) -> dict[str, int]:
    return _play(anatomy, _ByIdentity(parts), work)


@lru_cache(maxsize=256)
def _play(anatomy: Anatomy, key: _ByIdentity, work: Work) -> dict[str, int]:
    trained = dict(key.parts)
    meter = Meter()
    tape = Tape(meter, gradients_stay=not work.accumulating, bundle_weights=BUNDLE_WEIGHTS if work.fused else 0)
    networks = {
        part: Network(tape, anatomy.parts[part], trained.get(part, Trained()), work.how)
        for part in ("unet", *anatomy.text_encoders)
    }
    context, pooled = _conditioning(anatomy, networks, trained, work)
    latents = tape.new((work.batch, 4, work.height, work.width), FULL)
    unet = Unet(networks["unet"], anatomy.configs["unet"], work.checkpointing)
    predicted = unet(latents, context, pooled)
    del context, pooled
    for network in networks.values():
        network.end_autocast()
    tape.backward(predicted)
    return meter.at_peak


def _conditioning(
    anatomy: Anatomy, networks: Mapping[str, Network], trained: Mapping[str, Trained], work: Work
) -> tuple[Tensor, Tensor]:
    """(text states, pooled ones): by the text encoders where one is trained, else from the cache."""
    tape = networks["unet"].tape
    width = int(anatomy.configs["unet"].get("cross_attention_dim") or 1280)
    shape = (work.batch, work.passes * OWN + PASS - OWN, width)
    pooled = tape.new((work.batch, width), FULL)
    texts = [part for part in anatomy.text_encoders if part in trained]
    if not texts:
        return tape.new(shape, FULL), pooled
    rows = work.batch * work.passes
    states = [clip(networks[part], anatomy.configs[part], rows, PASS, work.checkpointing) for part in texts]
    node = tape.node([(state.node, state.bytes) for state in states])
    joined = tape.new(shape, states[0].size)
    joined.node = node
    return joined, pooled


def looking_peak(anatomy: Anatomy, trained: Mapping[str, Trained], work: Work) -> dict[str, int]:
    """Bytes by name at the worst moment of the UNet's forward pass that nothing is learned from."""
    return dict(_look(anatomy, _ByIdentity(tuple(sorted(trained.items(), key=lambda item: item[0]))), work))


@lru_cache(maxsize=256)
def _look(anatomy: Anatomy, key: _ByIdentity, work: Work) -> dict[str, int]:
    meter = Meter()
    tape = Tape(meter)
    tape.recording = False
    network = Network(tape, anatomy.parts["unet"], dict(key.parts).get("unet", Trained()), work.how)
    width = int(anatomy.configs["unet"].get("cross_attention_dim") or 1280)
    context = tape.new((work.batch, work.passes * OWN + PASS - OWN, width), FULL)
    pooled = tape.new((work.batch, width), FULL)
    latents = tape.new((work.batch, 4, work.height, work.width), FULL)
    Unet(network, anatomy.configs["unet"], False)(latents, context, pooled)
    network.end_autocast()
    return meter.at_peak


@lru_cache(maxsize=64)
def encoding_peak(anatomy: Anatomy, batch: int, height: int, width: int, how: Arithmetic) -> int:
    """Bytes of the VAE's inner results while pictures (pixels) are encoded."""
    meter = Meter()
    tape = Tape(meter)
    tape.recording = False
    network = Network(tape, anatomy.parts["vae"], Trained(), how)
    vae_encode(network, anatomy.configs["vae"], tape.new((batch, 3, height, width), FULL))
    return meter.peak


@lru_cache(maxsize=64)
def decoding_peak(anatomy: Anatomy, batch: int, height: int, width: int, how: Arithmetic) -> int:
    """Bytes of the VAE's inner results while latents of that size are decoded."""
    meter = Meter()
    tape = Tape(meter)
    tape.recording = False
    network = Network(tape, anatomy.parts["vae"], Trained(), how)
    vae_decode(network, anatomy.configs["vae"], tape.new((batch, 4, height, width), FULL))
    return meter.peak


def gradient_bytes(peak: Mapping[str, int]) -> int:
    """The gradients' part of a peak."""
    return peak.get(GRADIENTS, 0)
