"""The memory of a run by component: in training, while pictures are encoded, while samples are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core import registry
from core.anatomy.layers import Layer, tensors_of
from core.anatomy.source import Anatomy
from core.anatomy.trained import Trained, trained_parts
from core.estimate.network import FULL, HALF, Arithmetic
from core.estimate.step import BUNDLE_WEIGHTS, OWN, Work, decoding_peak, encoding_peak, looking_peak, training_peak
from core.estimate.tape import ACTIVATIONS, CASTS, GRADIENTS
from core.settings import Settings
from core.together import decoded_together, drawn_together, encoded_together, measured_together

#: Weights that DeepSpeed exchanges at once (core/engine/zero.py tells it so); its own default takes 1 GB.
ZERO_BUCKET_WEIGHTS = 50_000_000
#: A CUDA context with cuDNN's and cuBLAS' kernels and workspaces; 0.5 to 0.8 GiB by card and driver.
CUDA_CONTEXT_BYTES = 700 << 20
WEIGHTS, TEXTS, VAE, STATES, EMA = "model", "text encoders", "VAE", "optimizer states", "EMA"
BUCKETS, OVERHEAD = "gradient buckets", "overhead"


@dataclass(frozen=True, slots=True)
class Memory:
    """One phase of a run on one GPU (or on the processor).

    Attributes:
        phase: "training", "caching" or "sampling".
        components: Bytes by name, the largest part of the run's life first.
    """

    phase: str
    components: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self.components.values())


def is_cuda(settings: Settings) -> bool:
    """Whether the estimate is for a GPU; "auto" asks for one, for the question is which card would do."""
    return settings.hardware.device != "cpu"


def precision(settings: Settings) -> str:
    """bf16, fp16 or fp32; auto is bf16 on a GPU, and on processors that multiply it in hardware."""
    wish = str(settings.training.precision)
    if wish != "auto":
        return wish
    return "bf16" if is_cuda(settings) or _processor_has_bf16() else "fp32"


def _processor_has_bf16() -> bool:
    """As core.engine.models.cpu_is_fast_at_bf16, from Linux's list of the processor's abilities."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "amx_tile" in flags or "avx512_bf16" in flags


def arithmetic(settings: Settings) -> Arithmetic:
    """How the settings compute."""
    half = precision(settings) != "fp32"
    stored = HALF if settings.training.weights_precision == "bf16" else FULL
    return Arithmetic(half, is_cuda(settings), trained_bytes=stored, frozen_bytes=HALF if half else FULL)


def latent_side(settings: Settings, anatomy: Anatomy) -> int:
    """Side of the square latent with as many pixels as the buckets have at most."""
    return max(1, round(settings.data.resolution / pixels_per_latent(anatomy)))


def pixels_per_latent(anatomy: Anatomy) -> int:
    """Pixels per latent along a side."""
    return int(2 ** (len(anatomy.configs["vae"]["block_out_channels"]) - 1))


def phases(settings: Settings, anatomy: Anatomy) -> list[Memory]:
    """Memory of each phase on one GPU. UserError for what the method cannot do."""
    trained = trained_parts(settings, anatomy)
    found = [_training(settings, anatomy, trained)]
    found.append(_caching(settings, anatomy))
    if settings.sample.prompts:
        found.append(_sampling(settings, anatomy, trained, found[0]))
    if settings.validation.every_steps:
        found.append(_measuring(settings, anatomy, trained, found[0]))
    return found


def peak(settings: Settings, anatomy: Anatomy) -> Memory:
    """The phase that needs most."""
    return max(phases(settings, anatomy), key=lambda memory: memory.total)


def _training(settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained]) -> Memory:
    how = arithmetic(settings)
    side = latent_side(settings, anatomy)
    training = settings.training
    work = Work(
        batch=training.batch_size,
        height=side,
        width=side,
        checkpointing=training.activation_checkpointing,
        accumulating=training.accumulation > 1,
        fused=training.fused_backward_pass,
        how=how,
        passes=int(settings.data.max_tokens) // OWN,
    )
    moving = Counter(training_peak(anatomy, trained, work))
    gradients = sum(_trained_bytes(anatomy.parts[part], what, how) for part, what in trained.items())
    if work.accumulating:
        moving[GRADIENTS] += gradients
    moment = _while_weights_move(settings, anatomy, trained, gradients)
    if work.fused:
        moving[CASTS] += moment[CASTS]
    elif sum(moment.values()) > sum(moving.values()):
        moving = moment
    parts = _resident(settings, anatomy, trained, how)
    if not settings.hardware.offload_states:
        parts[STATES] = optimizer_bytes(settings, anatomy, trained)
    parts[EMA] = _ema_bytes(settings, gradients * FULL // how.trained_bytes)
    parts.update(moving)
    _share_out(parts, settings, gradients)
    return _with_overhead("training", parts, how)


def _while_weights_move(
    settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained], gradients: int
) -> Counter[str]:
    """What the optimizer's step needs besides weights and states: all gradients, and copies (core/engine/weights.py).

    bf16 weights and their gradients are in 32 bits meanwhile: a bundle of them, or all at once for an optimizer that
    looks at all, which also gets all states that lie in RAM.
    """
    moment: Counter[str] = Counter({GRADIENTS: gradients})
    narrow = settings.training.weights_precision == "bf16"
    if getattr(registry.component("optimizers", settings.training.optimizer), "FUSED", True):
        if narrow:
            largest = max((t.count for part in trained for t in tensors_of(anatomy.parts[part])), default=0)
            moment[CASTS] = 2 * FULL * min(gradients // HALF, BUNDLE_WEIGHTS + largest)
        return moment
    if narrow:
        moment = Counter({GRADIENTS: 2 * gradients, CASTS: 2 * gradients})
    if settings.hardware.offload_states:
        moment[STATES] = optimizer_bytes(settings, anatomy, trained)
    return moment


def _resident(settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained], how: Arithmetic) -> Counter[str]:
    """Weights in memory while training."""
    parts: Counter[str] = Counter({WEIGHTS: part_bytes(anatomy.parts["unet"], trained.get("unet"), how)})
    texts = [part for part in anatomy.text_encoders if part in trained]
    if texts or settings.data.shuffle_tags or settings.data.tag_dropout > 0:
        parts[TEXTS] = sum(part_bytes(anatomy.parts[p], trained.get(p), how) for p in anatomy.text_encoders)
    if settings.sample.prompts:
        parts[VAE] = _vae_bytes(anatomy)
    return parts


def _vae_bytes(anatomy: Anatomy) -> int:
    """The VAE is kept in 32 bits: larger ones overflow in 16."""
    return FULL * anatomy.weights("vae")


def part_bytes(layers: tuple[Layer, ...], what: Trained | None, how: Arithmetic) -> int:
    """Bytes of a part's stored weights, additions included."""
    whole = sum(layer.count for layer in layers)
    if what is None:
        return whole * how.frozen_bytes
    own = _own_weights(layers, what)
    return (whole - own) * how.frozen_bytes + _trained_bytes(layers, what, how)


def _own_weights(layers: tuple[Layer, ...], what: Trained) -> int:
    return sum(tensor.count for tensor in tensors_of(layers) if tensor.name in what.names)


def _trained_bytes(layers: tuple[Layer, ...], what: Trained, how: Arithmetic) -> int:
    """Bytes of the trained weights, which is also that of all their gradients."""
    return (_own_weights(layers, what) + what.added(layers)) * how.trained_bytes


def optimizer_bytes(settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained]) -> int:
    """Bytes of all states of the optimizer."""
    return sum(_state_bytes(settings, anatomy.parts[part], what) for part, what in trained.items())


def _state_bytes(settings: Settings, layers: tuple[Layer, ...], what: Trained) -> int:
    """Bytes of the optimizer's states, tensor by tensor, as the optimizer says."""
    module = registry.component("optimizers", settings.training.optimizer)
    options = getattr(settings, settings.training.optimizer, None)
    shapes: Counter[tuple[int, ...]] = Counter()
    shapes.update(tensor.shape for tensor in tensors_of(layers) if tensor.name in what.names)
    for layer in layers:
        shapes.update(what.beside(layer))
    return sum(count * int(module.state_bytes(shape, options)) for shape, count in shapes.items())


def _ema_bytes(settings: Settings, full_bytes: int) -> int:
    return full_bytes if settings.training.ema and not settings.training.ema_on_cpu else 0


def _share_out(parts: Counter[str], settings: Settings, gradients: int) -> None:
    """What several GPUs add or share: DDP copies all gradients into buckets; FSDP and ZeRO split what is kept.

    FSDP splits the weights, frozen ones too, their gradients, the optimizer's states and the EMA; activations are each
    GPU's own. DeepSpeed splits the states, to which its own 32-bit weights belong, and in stage 2 the gradients; with
    bf16 the model's trained weights and their gradients have 16 bits.
    """
    hardware, processes = settings.hardware, settings.hardware.processes
    if processes < 2:
        return
    if hardware.parallel == "ddp":
        parts[BUCKETS] = gradients
        return
    split: tuple[str, ...] = (STATES, GRADIENTS, WEIGHTS, EMA)
    if hardware.parallel == "deepspeed":
        split = (STATES, GRADIENTS) if hardware.zero_stage > 1 else (STATES,)
        held = HALF if precision(settings) == "bf16" else FULL
        parts[BUCKETS] = 2 * held * min(ZERO_BUCKET_WEIGHTS, gradients // FULL)
        if not hardware.offload_states:
            parts[STATES] += gradients
        parts[WEIGHTS] -= gradients - gradients * held // FULL
        parts[GRADIENTS] = parts[GRADIENTS] * held // FULL
    for name in split:
        parts[name] = -(-parts[name] // processes)


def _caching(settings: Settings, anatomy: Anatomy) -> Memory:
    """The VAE encodes; neither UNet nor text encoders are there yet."""
    how = _vae_arithmetic(settings)
    side = _tile(settings, anatomy, settings.data.resolution)
    parts = Counter({VAE: _vae_bytes(anatomy)})
    together = encoded_together(settings.hardware.encode_batch, not is_cuda(settings))
    parts[ACTIVATIONS] = encoding_peak(anatomy, together, side, side, how)
    return _with_overhead("caching", parts, how)


def _sampling(settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained], training: Memory) -> Memory:
    """Samples are denoised, with and without their prompts, and decoded beside everything that training keeps."""
    sample, full, factor = settings.sample, settings.data.resolution, pixels_per_latent(anatomy)
    height, width = sample.height or full, sample.width or full
    drawn = min(drawn_together(width, height), len(sample.prompts))
    rows = drawn * (2 if sample.cfg > 1 else 1)
    tile = (_tile(settings, anatomy, height) // factor, _tile(settings, anatomy, width) // factor)
    decoded = min(decoded_together(width, height), drawn)
    decoding = Counter({ACTIVATIONS: decoding_peak(anatomy, decoded, *tile, _vae_arithmetic(settings))})
    denoising = _looking(settings, anatomy, trained, (rows, height // factor, width // factor))
    parts = _kept(training) + max(decoding, denoising, key=lambda moment: sum(moment.values()))
    return _with_overhead("sampling", parts, arithmetic(settings))


def _measuring(settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained], training: Memory) -> Memory:
    """The stable loss is measured beside everything that training keeps, without gradients and saved results."""
    side = latent_side(settings, anatomy)
    parts = _kept(training)
    parts.update(_looking(settings, anatomy, trained, (measured_together(settings.data.resolution), side, side)))
    return _with_overhead("measuring", parts, arithmetic(settings))


def _kept(training: Memory) -> Counter[str]:
    """What stays in memory while the training stands still."""
    kept = (WEIGHTS, TEXTS, VAE, STATES, EMA, BUCKETS)
    return Counter({name: count for name, count in training.components.items() if name in kept})


def _looking(
    settings: Settings, anatomy: Anatomy, trained: Mapping[str, Trained], shape: tuple[int, int, int]
) -> Counter[str]:
    """Bytes by name of a forward pass for (rows, height, width) latents that nothing is learned from."""
    passes = int(settings.data.max_tokens) // OWN
    work = Work(*shape, False, False, False, arithmetic(settings), passes)
    return Counter(looking_peak(anatomy, trained, work))


def _vae_arithmetic(settings: Settings) -> Arithmetic:
    """The VAE computes in bf16 or fp32, never in fp16."""
    return Arithmetic(precision(settings) == "bf16", is_cuda(settings))


def _tile(settings: Settings, anatomy: Anatomy, side: int) -> int:
    """Side in pixels of what the VAE sees at once."""
    if not settings.hardware.vae_tiling:
        return side
    return min(side, int(anatomy.configs["vae"].get("sample_size", 512)))


def _with_overhead(phase: str, parts: Counter[str], how: Arithmetic) -> Memory:
    if how.cuda:
        parts[OVERHEAD] = CUDA_CONTEXT_BYTES
    return Memory(phase, {name: int(count) for name, count in parts.most_common() if count > 0})
