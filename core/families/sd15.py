"""Stable Diffusion 1.x: CLIP ViT-L text encoder, UNet, 4-channel VAE; also small models of the same architecture."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from core.families import _clip, _ldm, _tokens
from core.families._layout import Place

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models

LABEL = "Stable Diffusion 1.5"
HELP = "The 860-million-weight UNet at 512 pixels and everything built on it."
ORDER = 10

#: Where each part's tensors are in a single file.
PREFIXES = {
    "unet": _ldm.UNET_PREFIX,
    "vae": _ldm.VAE_PREFIX,
    "text_encoder": "cond_stage_model.transformer.",
}
TEXT_ENCODERS = ("text_encoder",)
#: What each encoder's tokenizer pads with in a diffusers folder; "" leaves it as it is.
PADS = ("",)
#: Folder below resources/models with the configs for files that bring none.
CONFIGS = "sd15"
#: "modelspec.architecture" of checkpoints.
ARCHITECTURE = "stable-diffusion-v1"
#: "ss_base_model_version" and "ss_v2" of LoRA files.
KOHYA_VERSION, KOHYA_V2 = "sd_v1", False
#: Prefixes of LoRA names for each trained part.
LORA_PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}
#: Whether LoRA names of the UNet follow the original layout (else diffusers').
LORA_ORIGINAL_NAMES = False
#: The class that a diffusers folder's model_index.json names.
PIPELINE = "StableDiffusionPipeline"

_UNET_KEY = "model.diffusion_model.input_blocks.0.0.weight"
_TEXT_KEYS = (
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    "cond_stage_model.transformer.embeddings.token_embedding.weight",
)


def recognises(keys: Collection[str]) -> bool:
    """Whether the names of a single file's tensors are those of an SD 1.x model."""
    return _UNET_KEY in keys and any(key in keys for key in _TEXT_KEYS)


def recognises_folder(model_index: Mapping[str, Any], text_config: Mapping[str, Any]) -> bool:
    """Whether a diffusers folder is an SD 1.x pipeline: one text encoder, and OpenAI's CLIP (quick GELU)."""
    name = str(model_index.get("_class_name", ""))
    one = "text_encoder_2" not in model_index and name.startswith("StableDiffusionP")
    return one and text_config.get("hidden_act", "quick_gelu") == "quick_gelu"


def place(part: str, key: str, config: Mapping[str, Any]) -> Place:
    """Place in a single file of a tensor of one of our parts; KeyError for one that the layout lacks."""
    if part == "unet":
        return _ldm.unet_place(key, config)
    if part == "vae":
        return _ldm.vae_place(key, config)
    return _ldm.clip_place(key, PREFIXES[part])


def legacy_name(name: str) -> str:
    """Another name under which older files keep a tensor, "" when there is none."""
    marker = "cond_stage_model.transformer.text_model."
    return name.replace(marker, "cond_stage_model.transformer.") if name.startswith(marker) else ""


def fixed_tensors() -> dict[str, torch.Tensor]:
    """What a single file holds besides the parts' tensors, for a model that comes from a folder."""
    import torch

    return {f"{PREFIXES['text_encoder']}text_model.embeddings.position_ids": torch.arange(77).unsqueeze(0)}


def tokenize(models: Models, prompts: list[str]) -> torch.Tensor:
    """Token numbers (batch, pieces, 77), int64, padded with the end token as SD 1.5 expects."""
    return _tokens.tokenize(models, prompts)


def encode_tokens(
    encoders: Mapping[str, torch.nn.Module], tokens: torch.Tensor, clip_skip: int = 1
) -> dict[str, torch.Tensor]:
    """The conditioning of tokens (batch, pieces, 77): {"encoder_hidden_states": (batch, 75 * pieces + 2, width)}.

    `clip_skip` counts from the end as A1111 does: 1 is the last layer, 2 the one before it; the final norm is applied.
    """
    states = _clip.states(encoders["text_encoder"], tokens.flatten(0, 1), clip_skip)
    return {"encoder_hidden_states": _tokens.joined(states, len(tokens))}


def unread(part: str, config: Mapping[str, Any], clip_skip: int) -> tuple[str, ...]:
    """Beginnings of the names of a text encoder's weights that the conditioning does not depend on."""
    return _clip.unread(config, clip_skip)


def unet_arguments(conditioning: Mapping[str, torch.Tensor], sizes: torch.Tensor) -> dict[str, Any]:
    """Keyword arguments of the UNet for a conditioning; SD 1.x is not told the pictures' sizes."""
    return dict(conditioning)
