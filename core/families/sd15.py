"""Stable Diffusion 1.x: CLIP ViT-L text encoder, UNet, 4-channel VAE; also small models of the same architecture."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from core.families import _ldm

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models

LABEL = "Stable Diffusion 1.5"
HELP = "The 860-million-weight UNet at 512 pixels and everything built on it."
ORDER = 10

#: Where each part's tensors are in a single file.
PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.",
}
#: Folder below resources/models with the configs for files that bring none.
CONFIGS = "sd15"
#: "modelspec.architecture" of checkpoints.
ARCHITECTURE = "stable-diffusion-v1"
#: Prefixes of LoRA names for each trained part.
LORA_PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}

_UNET_KEY = "model.diffusion_model.input_blocks.0.0.weight"
_TEXT_KEYS = (
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    "cond_stage_model.transformer.embeddings.token_embedding.weight",
)


def recognises(keys: Collection[str]) -> bool:
    """Whether the names of a single file's tensors are those of an SD 1.x model."""
    return _UNET_KEY in keys and any(key in keys for key in _TEXT_KEYS)


def recognises_folder(model_index: Mapping[str, Any]) -> bool:
    """Whether a diffusers folder's model_index.json describes an SD 1.x pipeline (2.x has another text encoder)."""
    return "text_encoder_2" not in model_index and str(model_index.get("_class_name", "")).startswith("StableDiffusion")


def original_name(part: str, key: str, config: Mapping[str, Any]) -> str:
    """Full name in a single file of a tensor of one of our parts."""
    if part == "unet":
        return PREFIXES[part] + _ldm.unet_name(key, config)
    if part == "vae":
        return PREFIXES[part] + _ldm.vae_name(key, config)
    return PREFIXES[part] + (key if key.startswith("text_model.") else f"text_model.{key}")


def original_shape(part: str, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape in a single file of a tensor of one of our parts."""
    if part == "vae" and len(shape) == 2 and _ldm.is_vae_attention_matrix(key):
        return (*shape, 1, 1)
    return shape


def legacy_name(name: str) -> str:
    """Another name under which older files keep a tensor, "" when there is none."""
    marker = "cond_stage_model.transformer.text_model."
    return name.replace(marker, "cond_stage_model.transformer.") if name.startswith(marker) else ""


def tokenize(models: Models, prompts: list[str]) -> torch.Tensor:
    """Token numbers (batch, 77), int64, cut at 77 and padded with the end token as SD 1.5 expects."""
    tokens = models.tokenizer(
        prompts,
        padding="max_length",
        max_length=models.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: torch.Tensor = tokens.input_ids
    return ids


def encode_tokens(text_encoder: torch.nn.Module, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """The UNet's conditioning from token numbers: {"encoder_hidden_states": (batch, 77, width)}."""
    return {"encoder_hidden_states": text_encoder(tokens)[0]}
