"""The model in memory: its parts, loaded one by one as the job needs them."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from dataclasses import dataclass
from typing import Any

import torch
import xxhash
from accelerate import init_empty_weights

from core.checks import BF16_WEIGHTS
from core.engine.model_files import ModelSource, open_model
from core.engine.safe_files import raw_bytes
from core.errors import UserError
from core.methods._parts import rates as part_rates
from core.paths import resolve
from core.settings import Settings

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def _make(part: str, config: dict[str, Any]) -> torch.nn.Module:
    """An empty (meta) module of a part from its config."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with init_empty_weights(include_buffers=False):
        if part == "unet":
            return UNet2DConditionModel.from_config(config)  # type: ignore[no-any-return]
        if part == "vae":
            return AutoencoderKL.from_config(config)  # type: ignore[no-any-return]
        known = {k: v for k, v in config.items() if k not in ("architectures", "torch_dtype", "dtype", "_name_or_path")}
        projected = "CLIPTextModelWithProjection" in (config.get("architectures") or ())
        return (CLIPTextModelWithProjection if projected else CLIPTextModel)(CLIPTextConfig(**known))


def load_part(source: ModelSource, part: str, dtype: torch.dtype | None = torch.float32) -> torch.nn.Module:
    """A part with its weights, on the CPU, in eval mode and frozen; `dtype` None keeps the file's precision.

    Raises UserError when the weights do not fit the part's config.
    """
    try:
        module = _make(part, source.configs[part])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{source.path}: the config of the {part} cannot be used ({error}).") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    state = source.read(part, list(shapes), shapes)
    # One by one: a tensor in the file's precision goes as soon as its copy is there.
    whole = {name: state.pop(name).to(dtype) if dtype else state.pop(name) for name in list(state)}
    module.load_state_dict(whole, assign=True)
    module.requires_grad_(False)
    return module.eval()


@dataclass
class Models:
    """What a job works with. Parts are None until load() brings them, and after drop().

    Attributes:
        frozen: Precision in which weights that are not trained are kept.
        tiling: Whether the VAE works on large pictures in tiles; its latents then have a fingerprint of their own.
        channels_last: "auto", "on" or "off"; see `layout`.
        prompt_tokens: Tokens of a prompt that are read: 75, 150 or 225 (data.max_tokens).
        unet: diffusers' UNet2DConditionModel; latents (b, 4, h/8, w/8) -> the same.
        vae: diffusers' AutoencoderKL; pixels (b, 3, h, w) in -1 ... 1.
        text_encoder, text_encoder_2: transformers' CLIPTextModel and, for SDXL, CLIPTextModelWithProjection.
        tokenizer: transformers' CLIPTokenizer.
    """

    source: ModelSource
    device: torch.device
    vae_source: ModelSource | None = None
    unet: Any = None
    vae: Any = None
    text_encoder: Any = None
    text_encoder_2: Any = None
    tokenizer: Any = None
    vae_fingerprint: str = ""
    frozen: torch.dtype = torch.float32
    tiling: bool = False
    channels_last: str = "auto"
    prompt_tokens: int = 75

    @property
    def family(self) -> Any:
        """The module of core.families."""
        return self.source.family

    @property
    def layout(self) -> torch.memory_format:
        """The memory layout of pictures and convolutions: "auto" is what the device is fastest with.

        Tensor cores want channels last; on a CPU in bf16 the plain layout is faster.
        """
        last = self.device.type == "cuda" if self.channels_last == "auto" else self.channels_last == "on"
        return torch.channels_last if last else torch.contiguous_format

    def arrange(self, pictures: torch.Tensor) -> torch.Tensor:
        """A batch (b, c, h, w) in that layout."""
        return pictures.contiguous(memory_format=self.layout)

    @property
    def text_parts(self) -> tuple[str, ...]:
        """Names of the family's text encoders."""
        return tuple(self.family.TEXT_ENCODERS)

    @property
    def text_encoders(self) -> dict[str, Any]:
        """The text encoders by name, as the family's encode_tokens wants them."""
        return {name: getattr(self, name) for name in self.text_parts}

    def trains_text(self, settings: Settings) -> bool:
        """Whether one of the family's text encoders has a learning rate."""
        return any(rate > 0 for part, rate in part_rates(settings).items() if part in self.text_parts)

    def part_source(self, part: str) -> ModelSource:
        """Where a part comes from: another VAE may stand in for the model's own."""
        return self.vae_source if part == "vae" and self.vae_source else self.source

    @property
    def vae_factor(self) -> int:
        """Pixels per latent along a side."""
        config = self.part_source("vae").configs["vae"]
        return int(2 ** (len(config["block_out_channels"]) - 1))

    @property
    def scaling_factor(self) -> float:
        """What latents are multiplied by before the UNet sees them."""
        return float(self.part_source("vae").configs["vae"].get("scaling_factor", 0.18215))

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.part_source("vae").configs["vae"].get("latent_channels", 4))

    def load(self, *parts: str, as_stored: bool = False) -> None:
        """Bring parts into memory and onto the device; those already there stay.

        `as_stored` keeps the file's precision, for parts that settle() brings into theirs. Otherwise the VAE, whose
        range fp16 does not hold, comes in 32 bits, and the others in `frozen`.
        """
        for part in parts:
            if part == "tokenizer" and self.tokenizer is None:
                self.tokenizer = _tokenizer(self.source)
            elif part != "tokenizer" and getattr(self, part) is None:
                dtype = None if as_stored else torch.float32 if part == "vae" else self.frozen
                module: Any = load_part(self.part_source(part), part, dtype)
                if part == "vae":
                    self.vae_fingerprint = fingerprint(module) + ("-tiled" if self.tiling else "")
                    if self.tiling:
                        module.enable_tiling()
                setattr(self, part, module.to(self.device, memory_format=self.layout))

    def drop(self, *parts: str) -> None:
        """Free parts' memory."""
        for part in parts:
            setattr(self, part, None)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _return_memory()


def _return_memory() -> None:
    """Give freed memory back to the system: glibc keeps it otherwise, and a run would carry the VAE's to its end."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def _tokenizer(source: ModelSource) -> Any:
    """The CLIP tokenizer, from files only."""
    from transformers import CLIPTokenizer

    folder = source.tokenizer_folder()
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"The tokenizer in {folder} cannot be read ({error}).") from None


def fingerprint(module: torch.nn.Module) -> str:
    """A hash of a module's weights: the same weights give the same text, whatever file they came from."""
    digest = xxhash.xxh3_128()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def pick_device(wish: str) -> torch.device:
    """The device that a setting means; UserError when CUDA is asked for and not there."""
    if wish == "cuda" or (wish == "auto" and torch.cuda.is_available()):
        if not torch.cuda.is_available():
            raise UserError(
                "hardware.device = 'cuda', but torch finds no NVIDIA GPU here. See 'python3 main.py doctor'."
            )
        return torch.device("cuda")
    return torch.device("cpu")


def pick_precision(wish: str, device: torch.device, weights: str = "fp32") -> str:
    """One of bf16, fp16, fp32 for a setting; auto takes what the hardware is fast at. UserError where impossible.

    Trained weights that are kept in bf16 want bf16 arithmetic.
    """
    if weights == "bf16":
        if wish not in ("auto", "bf16"):
            raise UserError(BF16_WEIGHTS)
        wish = "bf16"
    if device.type == "cuda":
        modern = torch.cuda.get_device_capability()[0] >= 8
        if wish == "bf16" and not torch.cuda.is_bf16_supported():
            raise UserError("training.precision = 'bf16', but this GPU has no bf16. Choose fp16.")
        return wish if wish != "auto" else ("bf16" if modern else "fp16")
    if wish == "fp16":
        raise UserError("training.precision = 'fp16' needs an NVIDIA GPU. On the processor choose bf16 or fp32.")
    return wish if wish != "auto" else ("bf16" if cpu_is_fast_at_bf16() else "fp32")


def cpu_is_fast_at_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware (AMX or AVX-512 BF16)."""
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        with contextlib.suppress(Exception):
            if getattr(torch.cpu, name)():
                return True
    return False


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """The context in which forward passes run in a precision."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def open_models(settings: Settings, device: torch.device) -> Models:
    """The base model of the settings, nothing loaded yet."""
    source = open_model(resolve(settings.model.base), settings.model.family)
    vae_source = open_vae(settings.model.vae, source) if settings.model.vae else None
    hardware = settings.hardware
    return Models(
        source,
        device,
        vae_source,
        tiling=hardware.vae_tiling,
        channels_last=hardware.channels_last,
        prompt_tokens=int(settings.data.max_tokens),
    )


def open_vae(text: str, base: ModelSource) -> ModelSource:
    """A VAE from a whole model, a diffusers VAE folder or a lone VAE file."""
    from core.engine.vae_files import open_lone_vae

    path = resolve(text)
    lone = open_lone_vae(path, base)
    return lone or open_model(path)
