"""Stable Diffusion 2.x: OpenCLIP ViT-H text encoder, UNet with linear projections, the VAE of SD 1.x."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from core.families import _clip, _ldm, _openclip, _tokens
from core.families._layout import Place

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models

LABEL = "Stable Diffusion 2.x"
HELP = (
    "The 866-million-weight UNet of 2.0 and 2.1. Their 768-pixel models predict v, the 512-pixel base predicts the "
    "noise, and a single file does not say which it is: v is taken unless model.prediction says epsilon."
)
ORDER = 15

#: Where each part's tensors are in a single file.
PREFIXES = {
    "unet": _ldm.UNET_PREFIX,
    "vae": _ldm.VAE_PREFIX,
    "text_encoder": "cond_stage_model.model.",
}
TEXT_ENCODERS = ("text_encoder",)
#: What each encoder's tokenizer pads with in a diffusers folder; "" leaves it as it is.
PADS = ("!",)
#: Folder below resources/models with the configs for files that bring none.
CONFIGS = "sd2"
#: "modelspec.architecture" of checkpoints that predict the noise, and of those that predict v.
ARCHITECTURE, ARCHITECTURE_V = "stable-diffusion-v2-512", "stable-diffusion-v2-768-v"
#: "ss_base_model_version" and "ss_v2" of LoRA files.
KOHYA_VERSION, KOHYA_V2 = "sd_v2", True
#: Prefixes of LoRA names for each trained part.
LORA_PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}
#: Whether LoRA names of the UNet follow the original layout (else diffusers').
LORA_ORIGINAL_NAMES = False
#: The class that a diffusers folder's model_index.json names.
PIPELINE = "StableDiffusionPipeline"

#: What OpenCLIP pads with ("!").
_PAD = 0


def recognises(keys: Collection[str]) -> bool:
    """Whether the names of a single file's tensors are those of an SD 2.x model (unCLIP has a label embedding)."""
    return (
        "model.diffusion_model.input_blocks.0.0.weight" in keys
        and "cond_stage_model.model.token_embedding.weight" in keys
        and "model.diffusion_model.label_emb.0.0.weight" not in keys
    )


def recognises_folder(model_index: Mapping[str, Any], text_config: Mapping[str, Any]) -> bool:
    """Whether a diffusers folder is an SD 2.x pipeline: one text encoder, and OpenCLIP's (plain GELU)."""
    name = str(model_index.get("_class_name", ""))
    one = "text_encoder_2" not in model_index and name.startswith("StableDiffusionP")
    return one and text_config.get("hidden_act") == "gelu"


def place(part: str, key: str, config: Mapping[str, Any]) -> Place:
    """Place in a single file of a tensor of one of our parts; KeyError for one that the layout lacks."""
    if part == "unet":
        return _ldm.unet_place(key, config)
    if part == "vae":
        return _ldm.vae_place(key, config)
    return _openclip.place(key, PREFIXES[part])


def legacy_name(name: str) -> str:
    """SD 2.x files have one layout only."""
    return ""


def fixed_tensors() -> dict[str, torch.Tensor]:
    """What a single file holds besides the parts' tensors, for a model that comes from a folder.

    A folder has 23 of the encoder's 24 layers, for the last one and the projection behind it are never read; programs
    that load single files do without them. OpenCLIP's logit scale ends its training at ln 100.
    """
    import torch

    return {f"{PREFIXES['text_encoder']}logit_scale": torch.tensor(4.6052)}


def tokenize(models: Models, prompts: list[str]) -> torch.Tensor:
    """Token numbers (batch, pieces, 77), int64, padded with "!" (0), as OpenCLIP pads."""
    return _tokens.tokenize(models, prompts, _PAD)


def encode_tokens(
    encoders: Mapping[str, torch.nn.Module], tokens: torch.Tensor, clip_skip: int = 1
) -> dict[str, torch.Tensor]:
    """The conditioning of tokens (batch, pieces, 77): {"encoder_hidden_states": (batch, 75 * pieces + 2, width)}.

    `clip_skip` 1 is the 23rd layer of OpenCLIP's 24, which SD 2.x was trained with; the final norm is applied.
    """
    states = _clip.states(encoders["text_encoder"], tokens.flatten(0, 1), clip_skip)
    return {"encoder_hidden_states": _tokens.joined(states, len(tokens))}


def unread(part: str, config: Mapping[str, Any], clip_skip: int) -> tuple[str, ...]:
    """Beginnings of the names of a text encoder's weights that the conditioning does not depend on."""
    return _clip.unread(config, clip_skip)


def unet_arguments(conditioning: Mapping[str, torch.Tensor], sizes: torch.Tensor) -> dict[str, Any]:
    """Keyword arguments of the UNet for a conditioning; SD 2.x is not told the pictures' sizes."""
    return dict(conditioning)
