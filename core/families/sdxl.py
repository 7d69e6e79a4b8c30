"""Stable Diffusion XL (Podell et al. 2023): two text encoders, pooled states, and sizes told to the UNet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from core.families import _ldm, _openclip, _tokens
from core.families._layout import Place

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models

LABEL = "Stable Diffusion XL"
HELP = "The 2.6-billion-weight UNet at 1024 pixels and everything built on it."
ORDER = 20

#: Where each part's tensors are in a single file.
PREFIXES = {
    "unet": _ldm.UNET_PREFIX,
    "vae": _ldm.VAE_PREFIX,
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
#: What each encoder's tokenizer pads with in a diffusers folder; "" leaves it as it is.
PADS = ("", "!")
#: Folder below resources/models with the configs for files that bring none.
CONFIGS = "sdxl"
#: "modelspec.architecture" of checkpoints.
ARCHITECTURE = "stable-diffusion-xl-v1-base"
#: "ss_base_model_version" and "ss_v2" of LoRA files.
KOHYA_VERSION, KOHYA_V2 = "sdxl_base_v1-0", False
#: Prefixes of LoRA names for each trained part.
LORA_PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
#: Whether LoRA names of the UNet follow the original layout (else diffusers').
LORA_ORIGINAL_NAMES = True
#: The class that a diffusers folder's model_index.json names.
PIPELINE = "StableDiffusionXLPipeline"

#: What SDXL pads its second encoder's tokens with ("!").
_PAD_2 = 0


def recognises(keys: Collection[str]) -> bool:
    """Whether the names of a single file's tensors are those of an SDXL base model (the refiner has one encoder)."""
    return (
        "model.diffusion_model.label_emb.0.0.weight" in keys
        and "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight" in keys
        and "conditioner.embedders.1.model.token_embedding.weight" in keys
    )


def recognises_folder(model_index: Mapping[str, Any], text_config: Mapping[str, Any]) -> bool:
    """Whether a diffusers folder is an SDXL pipeline with both text encoders."""
    names = (model_index.get("text_encoder") or [None], model_index.get("text_encoder_2") or [None])
    return str(model_index.get("_class_name", "")).startswith("StableDiffusionXL") and all(name[0] for name in names)


def place(part: str, key: str, config: Mapping[str, Any]) -> Place:
    """Place in a single file of a tensor of one of our parts; KeyError for one that the layout lacks."""
    if part == "unet":
        return _ldm.unet_place(key, config)
    if part == "vae":
        return _ldm.vae_place(key, config)
    if part == "text_encoder_2":
        return _openclip.place(key, PREFIXES[part])
    return _ldm.clip_place(key, PREFIXES[part])


def legacy_name(name: str) -> str:
    """SDXL files have one layout only."""
    return ""


def fixed_tensors() -> dict[str, torch.Tensor]:
    """What a single file holds besides the parts' tensors, for a model that comes from a folder.

    OpenCLIP's logit scale ends its training at ln 100; nothing that draws pictures reads it.
    """
    import torch

    return {
        f"{PREFIXES['text_encoder']}text_model.embeddings.position_ids": torch.arange(77).unsqueeze(0),
        f"{PREFIXES['text_encoder_2']}logit_scale": torch.tensor(4.6052),
    }


def tokenize(models: Models, prompts: list[str]) -> torch.Tensor:
    """Token numbers (batch, 2, pieces, 77), int64: for each encoder its own padding (the end token; "!")."""
    import torch

    return torch.stack([_tokens.tokenize(models, prompts), _tokens.tokenize(models, prompts, _PAD_2)], dim=1)


def encode_tokens(
    encoders: Mapping[str, torch.nn.Module], tokens: torch.Tensor, clip_skip: int = 1
) -> dict[str, torch.Tensor]:
    """The conditioning of tokens (batch, 2, pieces, 77).

    {"encoder_hidden_states": (batch, 75 * pieces + 2, 2048), "pooled": (batch, 1280)}: both encoders' layers before
    the last, side by side and without the final norm, and the second one's projected state of the end token of the
    first piece, as in sd-scripts. `clip_skip` 1 and 2 are both that layer, which SDXL was trained with; 3 is one
    before it, and so on.
    """
    import torch

    states, pooled = [], None
    for number, name in enumerate(TEXT_ENCODERS):
        encoder: Any = encoders[name]
        output = encoder(tokens[:, number].flatten(0, 1), output_hidden_states=True)
        layers = output.hidden_states
        states.append(_tokens.joined(layers[-min(max(2, clip_skip), len(layers))], len(tokens)))
        pooled = output[0][:: tokens.shape[2]]
    if pooled is None:
        raise AssertionError("SDXL has two text encoders")
    return {"encoder_hidden_states": torch.cat(states, dim=-1), "pooled": pooled}


def unread(part: str, config: Mapping[str, Any], clip_skip: int) -> tuple[str, ...]:
    """Beginnings of the names of a text encoder's weights that the conditioning does not depend on.

    The second encoder is read to its end, for the pooled state.
    """
    if part == "text_encoder_2":
        return ()
    layers = int(config["num_hidden_layers"])
    skipped = range(layers - min(max(2, clip_skip), layers) + 1, layers)
    return (*(f"encoder.layers.{n}." for n in skipped), "final_layer_norm.")


def unet_arguments(conditioning: Mapping[str, torch.Tensor], sizes: torch.Tensor) -> dict[str, Any]:
    """Keyword arguments of the UNet for a conditioning.

    `sizes` (batch, 6): original height and width, top and left of the crop, target height and width, in pixels.
    """
    pooled = conditioning["pooled"]
    return {
        "encoder_hidden_states": conditioning["encoder_hidden_states"],
        "added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes.float()},
    }
